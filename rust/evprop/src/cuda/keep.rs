//! The spikes of samples that ended well, moved together without gaps: first those of one launch, then all.
use super::lane::{Lane, Plain};
use super::tables::{Number, Train};
use crate::error::Result;
use crate::network::{Kind, Network};

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Move {
    from: i64,
    to: i64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct KeepArgs {
    from: u64,
    to: u64,
    moves: u64,
    n_trains: i64,
}

// SAFETY: repr(C), numbers alone.
unsafe impl Plain for Move {}
// SAFETY: as above.
unsafe impl Plain for KeepArgs {}

/// Some samples of the batch, and the spikes of every LIF population in them.
#[derive(Debug)]
pub struct Piece<T> {
    samples: Vec<usize>,
    trains: Vec<(usize, Train<T>)>,
    /// By LIF population.
    offsets: Vec<Vec<i64>>,
}

impl<T: Number> Piece<T> {
    /// From some slots of a launch that the lane has been waited for.
    pub fn new(lane: &Lane, from: &[(usize, Train<T>)], slots: &[usize], samples: Vec<usize>) -> Result<Self> {
        let counted = |(_, train): &(usize, Train<T>)| {
            let counts = lane.download(&train.count, train.count.len())?;
            Ok(offsets(slots.iter().map(|&slot| counts[slot])))
        };
        let offsets = from.iter().map(counted).collect::<Result<Vec<_>>>()?;
        let room = |((p, _), offsets): (&(usize, Train<T>), &Vec<i64>)| Ok((*p, Train::packed(lane, offsets, true)?));
        let trains = from.iter().zip(&offsets).map(room).collect::<Result<Vec<_>>>()?;
        keep(lane, from, &trains, slots.iter().enumerate().map(|(to, &from)| (from, to)))?;
        Ok(Self { samples, trains, offsets })
    }
}

fn offsets(counts: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut all = vec![0];
    for count in counts {
        all.push(all[all.len() - 1] + count);
    }
    all
}

/// By population: spikes, and where each sample's begin.
pub type Spikes<T> = (Vec<Train<T>>, Vec<Vec<i64>>);

/// All spikes of a batch by population, and where each sample's begin. Populations without spikes of their own are empty.
pub fn merge<T: Number>(
    lanes: &[Lane],
    network: &Network,
    batch: usize,
    mut pieces: Vec<Piece<T>>,
) -> Result<Spikes<T>> {
    lanes.iter().try_for_each(Lane::wait)?;
    let lane = &lanes[0];
    let own: Vec<_> =
        (0..network.populations().len()).filter(|&p| network.populations()[p].kind == Kind::Lif).collect();
    let mut all_offsets = vec![vec![0; batch + 1]; network.populations().len()];
    for (k, &p) in own.iter().enumerate() {
        let mut counts = vec![0; batch];
        for piece in &pieces {
            for (&sample, pair) in piece.samples.iter().zip(piece.offsets[k].windows(2)) {
                counts[sample] = pair[1] - pair[0];
            }
        }
        all_offsets[p] = offsets(counts.into_iter());
    }
    // One piece holds all samples, in their order.
    let whole = if pieces.len() == 1 { pieces.pop() } else { None };
    let mut whole = whole.map_or(Vec::new(), |piece| piece.trains).into_iter();
    let mut trains = Vec::new();
    for (p, offsets) in all_offsets.iter().enumerate() {
        let is_own = own.contains(&p);
        let kept = if is_own { whole.next() } else { None };
        trains.push(match kept {
            Some(train) => train,
            None => (p, Train::packed(lane, offsets, is_own)?),
        });
    }
    let to: Vec<_> = own.iter().map(|&p| &trains[p]).collect();
    for piece in &pieces {
        keep(lane, &piece.trains, &to, piece.samples.iter().copied().enumerate())?;
    }
    lane.wait()?; // pieces belong to other lanes
    Ok((trains.into_iter().map(|(_, train)| train).collect(), all_offsets))
}

/// Moves the spikes of slots, `(from, to)`.
fn keep<T: Number, X: std::borrow::Borrow<(usize, Train<T>)>>(
    lane: &Lane,
    from: &[(usize, Train<T>)],
    to: &[X],
    moves: impl Iterator<Item = (usize, usize)>,
) -> Result<()> {
    let moves: Vec<_> = moves.map(|(from, to)| Move { from: from as i64, to: to as i64 }).collect();
    let sources = lane.upload(&from.iter().map(|(_, train)| train.table()).collect::<Vec<_>>())?;
    let targets = lane.upload(&to.iter().map(|train| train.borrow().1.table()).collect::<Vec<_>>())?;
    let table = lane.upload(&moves)?;
    let args = KeepArgs { from: sources.at(), to: targets.at(), moves: table.at(), n_trains: from.len() as i64 };
    // SAFETY: the targets have room for the spikes of the sources; buffers are given back in the order of the lane.
    unsafe { lane.launch(&format!("evprop_keep_{}", T::KERNELS), moves.len(), 256, &args) }
}
