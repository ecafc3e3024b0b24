//! Loihi 2 in its own integers: bit for bit the fixed-point models of Lava (lava-nc 0.10.0).
//!
//! Once per connection, with `B` = num_weight_bits and `E` = weight_exp (`weights.rs`):
//!
//! ```text
//! mode = excitatory if min(w) >= 0, else inhibitory if max(w) <= 0, else mixed          (unless given)
//! inhibitory: w = -w;   w = clip(w, mixed ? -256 : 0, 255);   k = 8 - B + (mixed ? 1 : 0);   w = (w >> k) << k
//! inhibitory: w = -w
//! ```
//!
//! Each step, rows counted from 0 (`neuron.rs`, `run.rs`); `>>` is arithmetic, towards minus infinity:
//!
//! ```text
//! a = sum over connections of what arrives now
//! if (row + 1) % interval == offset % interval: u = v = 0                                (populations with a reset)
//! u = decay(u, du + 1) + (a << 6);    u > 2^23: u -= 2^24;    u <= -2^23: u += 2^24      (once)
//! v = clip(decay(v, dv) + u + bias, -(2^23 - 1), 2^23 - 1);    bias = mant << exp        (exp < 0: mant >> -exp)
//! s = v > (vth << 6);   where s: v = 0
//! decay(x, d) = sign(x) ((|x| (4096 - d)) >> 12)
//! ```
//!
//! A spike of row `r` (of an input or a population) arrives in row `r + 1 + delay`. The sum over the spikes of one
//! connection, one row and one delay is shifted by `E` as a whole.
//!
//! Source: lava/proc/lif/models.py (`PyLifModelBitAcc`, `PyLifResetModelBitAcc`), lava/proc/dense/models.py
//! (`PyDenseModelBitAcc`, `PyDelayDenseModelBitAcc`), lava/utils/weightutils.py. The chip itself may differ where those
//! models leave its ranges; [`Alarm`] says where that happens.
mod connection;
mod neuron;
mod program;
mod run;
mod weights;

pub use connection::{Connection, Source, Synapses};
pub use neuron::{Population, Reset};
pub use program::Program;
pub use run::{Alarm, AlarmKind, Input, Outcome, Request, Spikes, Trace, run};
pub use weights::SignMode;

/// The longest delay, in steps: 6 bits.
pub const MAX_DELAY: u32 = 63;
