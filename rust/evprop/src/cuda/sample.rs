//! Samples of a record in the device's memory: all spikes, and which are whose.
use super::driver::{Buffer, Device};
use super::tables::{Loaded, NetworkTable, Number, Own, Train, Trains};
use crate::error::Result;
use crate::network::{Kind, Network};
use crate::record::Record;
use crate::spikes::SpikeBatch;

/// Samples `range` of a record; slot 0 is the first of them.
#[derive(Debug)]
pub struct Samples<T> {
    pub slots: usize,
    trains: Vec<Train<T>>,
    table: Buffer<Trains>,
    start: Buffer<i64>,
    index: Buffer<i32>,
}

impl<T: Number> Samples<T> {
    pub fn new(
        device: &Device,
        network: &Network,
        loaded: &Loaded<T>,
        inputs: &[SpikeBatch<'_>],
        record: &Record<T>,
        range: std::ops::Range<usize>,
    ) -> Result<Self> {
        let mut given = inputs.iter();
        let mut trains = Vec::new();
        for (population, record) in network.populations().iter().zip(&record.populations) {
            let input = if population.kind == Kind::Input { given.next() } else { None };
            trains.push(match input {
                Some(input) => Train::known(device, range.clone().map(|b| input.sample(b)), &[], &[])?,
                None => {
                    let part = record.offsets[range.start] as usize..record.offsets[range.end] as usize;
                    let release = if record.release.is_empty() { &[][..] } else { &record.release[part.clone()] };
                    let own = range.clone().map(|b| record.train(b));
                    Train::known(device, own, &record.current[part], release)?
                }
            });
        }
        let (start, index) = own_spikes(network, loaded, record, range.clone());
        let tables: Vec<_> = trains.iter().map(Train::table).collect();
        Ok(Self {
            slots: range.len(),
            table: device.upload(&tables)?,
            trains,
            start: device.upload(&start)?,
            index: device.upload(&index)?,
        })
    }

    pub fn own(&self) -> Own {
        Own { start: self.start.at(), index: self.index.at() }
    }

    pub fn network(&self, network: &Network, loaded: &Loaded<T>, duration: f64) -> NetworkTable {
        debug_assert_eq!(self.trains.len(), network.populations().len());
        loaded.table(network, &self.table, duration)
    }
}

/// By slot and neuron: the numbers of its own spikes among its population's.
fn own_spikes<T: Number>(
    network: &Network,
    loaded: &Loaded<T>,
    record: &Record<T>,
    range: std::ops::Range<usize>,
) -> (Vec<i64>, Vec<i32>) {
    let (mut start, mut index) = (Vec::new(), Vec::new());
    let all = network.populations();
    for b in range {
        let mut own = vec![Vec::new(); loaded.n_lif];
        for p in (0..all.len()).filter(|&p| all[p].kind == Kind::Lif) {
            for (k, &unit) in record.populations[p].train(b).units.iter().enumerate() {
                own[loaded.first[p] + unit as usize].push(k as i32);
            }
        }
        for spikes in own {
            start.push(index.len() as i64);
            index.extend(spikes);
        }
        start.push(index.len() as i64);
    }
    (start, index)
}
