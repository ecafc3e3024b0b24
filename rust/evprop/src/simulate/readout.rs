//! Readouts of the voltage in closed form: linear in the start of each span and in each arrival, so nothing is stepped.
//! Only the maximum walks from arrival to arrival.
use crate::math::{Real, Simd};
use crate::neuron::Constants;
use crate::neuron::constants::Neuron;
use crate::neuron::kernels;
use crate::neuron::reach::{Reaches, Weighting};
use crate::record::arrivals::{Afferent, Arrival, Sorted};
use crate::record::spans::{Span, Spans};
use crate::record::{Peak, Readout};

/// What one population looks like in one sample.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T> {
    /// Constants of the population.
    pub constants: &'a Constants<T>,
    /// Its life between its own spikes.
    pub spans: &'a Spans<T>,
    /// What reaches it.
    pub afferents: &'a [Afferent<'a, T>],
    /// Trial length, ms.
    pub duration: f64,
    /// Vector width.
    pub simd: Simd,
}

/// The last value asked for: rows of one instant ask for the same many times.
struct Memo {
    key: (f64, f64, f64, f64),
    value: f64,
}

impl Memo {
    fn new() -> Self {
        Self { key: (f64::NAN, 0.0, 0.0, 0.0), value: 0.0 }
    }

    fn get<T: Real>(&mut self, c: &Neuron<T>, t: f64, d: f64, make: impl Fn() -> f64) -> f64 {
        let key = (c.tau_mem.f64(), c.tau_syn.f64(), t, d);
        if self.key != key {
            self.value = make();
            self.key = key;
        }
        self.value
    }
}

impl<T: Real> View<'_, T> {
    /// Values of a readout, `(width, n)`, appended to `values`; `peaks` receives one entry a neuron for `Max`.
    pub fn read(&self, readout: &Readout, sorted: &mut Sorted<T>, values: &mut Vec<T>, peaks: &mut Vec<Peak>) {
        let n = self.constants.n;
        let mut y = vec![0.0f64; readout.width() * n];
        match readout {
            Readout::Final => self.sample(&[self.duration], &mut y),
            Readout::Sampled(times) => self.sample(times, &mut y),
            Readout::Max => self.maximum(sorted, &mut y, peaks),
            integral => {
                if let Some((weighting, scale)) = integral.weighting(self.duration) {
                    self.integrate(weighting, scale, &mut y);
                }
            }
        }
        values.extend(y.iter().map(|&v| T::of(v)));
    }

    fn integrate(&self, weighting: Weighting, scale: f64, y: &mut [f64]) {
        let c = self.constants;
        for (i, y) in y.iter_mut().enumerate() {
            let neuron = c.neuron(i);
            let bias = neuron.bias.f64();
            for span in self.spans.of(i) {
                let reach = weighting.reach(neuron, span.start, span.end - span.start);
                let u = span.u.f64();
                *y += if span.held {
                    (u + bias) * reach.one
                } else {
                    u * reach.u + span.i.f64() * reach.i + bias * reach.one
                };
            }
        }
        if c.homogeneous && self.spans.whole() && self.afferents.iter().all(|a| a.synapses.comes_in_rows()) {
            self.integrate_rows(weighting, y);
            y.iter_mut().for_each(|v| *v *= scale);
            return;
        }
        let mut memo = Memo::new();
        self.each_arrival(|i, s, w| {
            let span = self.spans.at_arrival(i, s);
            if !span.held {
                let (neuron, d) = (c.neuron(i), span.end - s);
                y[i] += w.f64() * memo.get(neuron, s, d, || weighting.reach(neuron, s, d).i);
            }
        });
        y.iter_mut().for_each(|v| *v *= scale);
    }

    /// What arrivals add where all neurons feel a row alike, up to the trial's end.
    fn integrate_rows(&self, weighting: Weighting, y: &mut [f64]) {
        let mut reaches = Reaches::default();
        for a in self.afferents {
            reaches.from.clear();
            reaches.from.extend((0..a.train.len()).map(|k| a.row_arrival(k).min(self.duration)));
            reaches.fill(self.simd, weighting, self.constants.neuron(0), self.duration);
            for (&sender, &reach) in a.train.units.iter().zip(&reaches.i) {
                for (y, &w) in y.iter_mut().zip(a.synapses.row(sender as usize).weight) {
                    *y += w.f64() * reach;
                }
            }
        }
    }

    /// Instants are looked at in turn, and of each neuron's span that reaches over several of them only the first look begins
    /// at its start: an arrival is added at the next look alone, and `(u, i)` flows from there to the one after it.
    fn sample(&self, times: &[f64], y: &mut [f64]) {
        let c = self.constants;
        let n = c.n;
        let mut currents = vec![0.0f64; times.len() * n];
        let mut memo = [Memo::new(), Memo::new()];
        self.each_arrival(|i, s, w| {
            let span = self.spans.at_arrival(i, s);
            let j = times.partition_point(|&t| t <= s);
            if span.held || times.get(j).is_none_or(|&t| t > span.end) {
                return;
            }
            let (neuron, d) = (c.neuron(i), times[j] - s);
            let (tm, ts) = (neuron.tau_mem.f64(), neuron.tau_syn.f64());
            y[j * n + i] += w.f64() * memo[0].get(neuron, s, d, || kernels::kappa(d, tm, ts));
            currents[j * n + i] += w.f64() * memo[1].get(neuron, s, d, || kernels::decay(d, ts));
        });
        for i in 0..n {
            let neuron = c.neuron(i);
            let (tm, ts) = (neuron.tau_mem.f64(), neuron.tau_syn.f64());
            // A span, an instant in it, and the state then.
            let mut last: Option<(&Span<T>, f64, f64, f64)> = None;
            for (j, &t) in times.iter().enumerate() {
                let span = self.spans.seen_at(i, t);
                if span.held {
                    y[j * n + i] = span.u.f64() + neuron.bias.f64();
                    continue;
                }
                let (from, u, current) = match last {
                    Some((seen, from, u, current)) if std::ptr::eq(seen, span) => (from, u, current),
                    _ => (span.start, span.u.f64(), span.i.f64()),
                };
                let d = (t - from).max(0.0);
                let at = j * n + i;
                y[at] += u * kernels::decay(d, tm) + current * kernels::kappa(d, tm, ts);
                currents[at] += current * kernels::decay(d, ts);
                last = Some((span, t, y[at], currents[at]));
                y[at] += neuron.bias.f64();
            }
        }
    }

    /// The largest voltage and when; a neuron that spiked has reached its threshold.
    fn maximum(&self, sorted: &mut Sorted<T>, y: &mut [f64], peaks: &mut Vec<Peak>) {
        let c = self.constants;
        sorted.fill(self.afferents, 0, c.n, self.duration);
        for (i, y) in y.iter_mut().enumerate() {
            let neuron = c.neuron(i);
            let (top, peak) = if self.spans.of(i).len() > 1 {
                (neuron.theta, Peak { time: f64::NAN, slope: 0.0 })
            } else {
                highest(neuron, sorted.of(i), self.duration)
            };
            *y = top.f64() + neuron.bias.f64();
            peaks.push(peak);
        }
    }

    fn each_arrival(&self, mut visit: impl FnMut(usize, f64, T)) {
        for a in self.afferents {
            for (&t, &sender) in a.train.times.iter().zip(a.train.units) {
                let row = a.synapses.row(sender as usize);
                for k in 0..row.weight.len() {
                    let s = t + row.delay_of(k);
                    if s < self.duration {
                        visit(row.target(k), s, row.weight[k]);
                    }
                }
            }
        }
    }
}

/// The largest `u` of a neuron that does not spike, and where it is first reached.
fn highest<T: Real>(c: &Neuron<T>, arrivals: &[Arrival<T>], duration: f64) -> (T, Peak) {
    let (mut u, mut i, mut now) = (c.u_init, T::ZERO, 0.0);
    let mut best = (u, Peak { time: 0.0, slope: 0.0 });
    let mut look = |u: T, time: f64, slope: f64| {
        if u > best.0 {
            best = (u, Peak { time, slope });
        }
    };
    for k in 0..=arrivals.len() {
        let until = arrivals.get(k).map_or(duration, |a| a.time);
        if until > now {
            let d = T::of(until - now);
            if let Some(peak) = c.time_to_peak(u, i).filter(|&peak| peak < d) {
                let p = c.propagator(peak);
                look(u * p.mem + i * p.kappa, now + peak.f64(), 0.0);
            }
            let p = c.propagator(d);
            u = u * p.mem + i * p.kappa;
            i *= p.syn;
            now = until;
            // The trial's end does not move; an arrival does, and a rise that it ends moves with it.
            let slope = if k < arrivals.len() { ((i - u) * c.inv_mem).larger(T::ZERO) } else { T::ZERO };
            look(u, now, slope.f64());
        }
        if let Some(a) = arrivals.get(k) {
            i += a.weight;
        }
    }
    best
}
