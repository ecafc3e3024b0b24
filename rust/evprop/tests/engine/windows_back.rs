//! Backwards in windows against one spike at a time: the same gradients; and the same bits at every vector width.
//!
//! Which way is taken is not to be chosen from outside; but an integral of a voltage is only found one spike at a time, so
//! asking for one, with a cotangent of zero, takes everything that way.
use super::common::close;
use super::recurrent_paths::{DURATION, inputs, network, parameters};
use evprop::adjoint::{Gradients, Request, backward};
use evprop::math::{Lines, Real, Simd};
use evprop::network::{Network, Params};
use evprop::parallel::CancelFlag;
use evprop::projection::DelayKind;
use evprop::record::{Readout, ReadoutRequest, Record};
use evprop::simulate::{Settings, simulate};
use evprop::spikes::SpikeBatch;
use evprop::test_problems::Draw;

struct Case<'a, T> {
    network: &'a Network,
    params: Params<'a, T>,
    input: SpikeBatch<'a>,
    record: Record<T>,
}

impl<T: Real> Case<'_, T> {
    fn back(&self, plainly: bool, max_dw_norm: Option<f64>, simd: Simd) -> (Gradients<T>, Vec<Vec<f64>>) {
        let mut draw = Draw(99);
        let mut cotangents = |p: usize| -> Vec<f64> {
            self.record.populations[p].times.iter().map(|_| draw.uniform(-1.0, 1.0)).collect()
        };
        let (a, b) = (cotangents(1), cotangents(2));
        let zeros: Vec<Vec<f64>> =
            self.record.requests.iter().map(|r| vec![0.0; self.network.populations()[r.population].size]).collect();
        let readouts: Vec<_> = zeros.iter().map(|zeros| plainly.then_some(zeros.as_slice())).collect();
        let request = Request {
            spike_times: &[None, Some(&a), Some(&b)],
            readouts: &readouts,
            wrt: &vec![true; self.network.layout().len()],
            input_times: true,
            scale: 1.0,
            max_dw_norm,
            min_vdot: None,
        };
        let (network, params) = (self.network, &self.params);
        backward(&CancelFlag::new(), simd, network, params, &[self.input], &self.record, &request).expect("sound")
    }
}

fn with_case<T: Real>(number: usize, check: impl Fn(&Case<'_, T>)) {
    let mut draw = Draw(2_000 + number as u64);
    let kinds = [DelayKind::Synaptic, DelayKind::Dendritic, DelayKind::None, DelayKind::Axonal];
    let network = network(number, &kinds, &mut draw);
    let slots: Vec<Vec<T>> =
        parameters(&network, number, &mut draw).into_iter().map(|slot| slot.into_iter().map(T::of).collect()).collect();
    let (times, units, offsets) = inputs(number, &mut draw);
    let input = SpikeBatch::new(&times, &units, &offsets).expect("sound spikes");
    let params = Params::new(&network, slots.iter().map(Vec::as_slice).collect()).expect("sound parameters");
    let requests =
        [1, 2].map(|population| ReadoutRequest { population, readout: Readout::Integral { normalise: false } });
    let simd = Simd::Baseline;
    let settings =
        Settings { duration: DURATION, max_spikes: 200_000, eventwise_only: false, simd, stop_when_fired: None };
    let record = simulate(&CancelFlag::new(), &network, &params, &[input], &requests, &settings).expect("no runaway");
    check(&Case { network: &network, params, input, record });
}

#[test]
fn windows_give_the_gradients_of_single_spikes() {
    for number in 0..60 {
        with_case::<f64>(number, |case| {
            for max_dw_norm in [None, Some(0.5)] {
                let (plain, plain_times) = case.back(true, max_dw_norm, Simd::Baseline);
                let (fast, fast_times) = case.back(false, max_dw_norm, Simd::detect());
                assert_eq!(plain.dropped, fast.dropped, "case {number}");
                for (slot, (a, b)) in case.network.layout().iter().zip(plain.slots.iter().zip(&fast.slots)) {
                    close(a, b, 1e-10, &format!("case {number}, {}", slot.name));
                }
                close(&plain_times[0], &fast_times[0], 1e-10, &format!("case {number}, input times"));
            }
        });
    }
}

#[test]
fn same_bits_at_every_vector_width() {
    fn bits<T: Real>() {
        for number in (0..60).step_by(3) {
            with_case::<T>(number, |case| {
                let of = |(gradients, times): (Gradients<T>, Vec<Vec<f64>>)| {
                    let slots: Vec<_> = gradients.slots.into_iter().map(Lines::into_vec).collect();
                    format!("{slots:?} {times:?}")
                };
                let narrow = of(case.back(false, None, Simd::Baseline));
                for simd in Simd::available() {
                    assert!(
                        of(case.back(false, None, simd)) == narrow,
                        "case {number}: other bits with {}",
                        simd.name()
                    );
                }
            });
        }
    }
    bits::<f32>();
    bits::<f64>();
}
