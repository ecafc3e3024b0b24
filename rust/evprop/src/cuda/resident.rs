//! A record that stays in the device's memory: what the backward pass reads, fetched where it is asked for.
use std::ops::Range;
use std::sync::Arc;

use super::driver::Device;
use super::keep::Spikes;
use super::lane::{Buffer, Lane, Plain};
use super::tables::{Loaded, NetworkTable, Number, Own, Train, Trains};
use crate::error::{Error, Result};
use crate::network::{Kind, Network};
use crate::record::{Peak, PopulationRecord, Readout, ReadoutRequest, ReadoutValues, Record};

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct OwnArgs {
    net: NetworkTable,
    before: u64,
    start: u64,
    index: u64,
}

// SAFETY: repr(C), numbers alone.
unsafe impl Plain for OwnArgs {}

/// Values of a readout and, of a maximum, when it was reached and dV/dt there.
#[derive(Debug)]
pub struct Values {
    pub values: Buffer<f64>,
    pub peaks: Buffer<f64>,
}

/// The forward pass over a batch, in the device's memory.
#[derive(Debug)]
pub struct Resident<T> {
    pub(super) device: Arc<Device>,
    pub(super) loaded: Arc<Loaded<T>>,
    /// How often the parameters had changed.
    changes: u64,
    trains: Vec<Train<T>>,
    start: Buffer<i64>,
    index: Buffer<i32>,
    pub(super) values: Vec<Values>,
    batch: usize,
    duration: f64,
    /// By population: whether the network emits its spikes.
    emits: Vec<bool>,
    offsets: Vec<Vec<i64>>,
    requests: Vec<ReadoutRequest>,
}

impl<T: Number> Resident<T> {
    /// `trains` and `offsets`: the spikes of every population, inputs too, and where each sample's begin.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        device: &Arc<Device>,
        lane: &Lane,
        network: &Network,
        loaded: Arc<Loaded<T>>,
        (trains, offsets): Spikes<T>,
        duration: f64,
        requests: &[ReadoutRequest],
    ) -> Result<Self> {
        let batch = offsets.first().map_or(1, |offsets| offsets.len() - 1);
        let emits: Vec<_> = network.populations().iter().map(|population| population.kind == Kind::Lif).collect();
        let emitted = |b: usize| offsets.iter().zip(&emits).filter(|x| *x.1).map(|x| x.0[b]).sum();
        let before: Vec<i64> = (0..=batch).map(emitted).collect();
        let record = Self {
            device: device.clone(),
            start: lane.alloc(batch * (loaded.n_lif + 1))?,
            index: lane.alloc(before[batch] as usize)?,
            changes: loaded.changes(),
            loaded,
            trains,
            values: Vec::new(),
            batch,
            duration,
            emits,
            offsets,
            requests: requests.to_vec(),
        };
        let (table, before) = (record.table(lane, 0)?, lane.upload(&before)?);
        let Own { start, index } = record.own(0);
        let args = OwnArgs { net: record.network(network, &table), before: before.at(), start, index };
        // SAFETY: the tables hold addresses of live buffers, of the sizes that they tell.
        unsafe { lane.launch(&format!("evprop_own_{}", T::KERNELS), batch, 256, &args)? };
        Ok(record)
    }

    /// Number of samples.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Trial length, ms.
    pub fn duration(&self) -> f64 {
        self.duration
    }

    /// What was read.
    pub fn requests(&self) -> &[ReadoutRequest] {
        &self.requests
    }

    /// Number of populations.
    pub fn n_populations(&self) -> usize {
        self.emits.len()
    }

    /// How many spikes population `p` has.
    pub(super) fn n_spikes(&self, p: usize) -> usize {
        self.offsets[p][self.batch] as usize
    }

    /// How many spikes the network emitted in sample `b`.
    pub(super) fn emitted(&self, b: usize) -> i64 {
        let own = self.offsets.iter().zip(&self.emits).filter(|x| *x.1);
        own.map(|(offsets, _)| offsets[b + 1] - offsets[b]).sum()
    }

    /// Refuses a network that this is no record of, and parameters that changed since.
    pub(super) fn check(&self, network: &Network) -> Result<()> {
        if !self.loaded.fits(network) {
            return Err(Error::Argument("the record on the GPU belongs to another network".into()));
        }
        if self.loaded.changes() != self.changes {
            return Err(Error::Argument("the parameters on the GPU changed since this record was made".into()));
        }
        Ok(())
    }

    /// Addresses of the spikes of samples `first..`, slot 0 being the first of them.
    pub(super) fn table(&self, lane: &Lane, first: usize) -> Result<Buffer<Trains>> {
        lane.upload(&self.trains.iter().map(|train| train.table_from(first)).collect::<Vec<_>>())
    }

    /// Whose spikes are which, for samples `first..`.
    pub(super) fn own(&self, first: usize) -> Own {
        Own { start: self.start.at_element(first * (self.loaded.n_lif + 1)), index: self.index.at() }
    }

    pub(super) fn network(&self, network: &Network, table: &Buffer<Trains>) -> NetworkTable {
        self.loaded.table(network, table, self.duration)
    }

    /// The spikes of a population that the network emitted; others have none here.
    pub fn population(&self, p: usize) -> Result<PopulationRecord<T>> {
        if !self.emits[p] {
            return Ok(PopulationRecord { offsets: vec![0; self.batch + 1], ..PopulationRecord::default() });
        }
        let (lane, train, n) = (Lane::new(&self.device)?, &self.trains[p], self.n_spikes(p));
        Ok(PopulationRecord {
            offsets: self.offsets[p].clone(),
            times: lane.download(&train.times, n)?,
            units: lane.download(&train.units, n)?,
            current: lane.download(&train.current, n)?,
            release: if self.loaded.constants()[p].holds { lane.download(&train.release, n)? } else { Vec::new() },
        })
    }

    /// The values of readout `k`.
    pub fn readout(&self, k: usize) -> Result<ReadoutValues<T>> {
        let (lane, found) = (Lane::new(&self.device)?, &self.values[k]);
        let values = lane.download(&found.values, found.values.len())?.into_iter().map(T::of).collect();
        Ok(ReadoutValues { values, peaks: self.peaks(&lane, k)? })
    }

    /// The maxima of readout `k`; none of another readout.
    pub(super) fn peaks(&self, lane: &Lane, k: usize) -> Result<Vec<Peak>> {
        if self.requests[k].readout != Readout::Max {
            return Ok(Vec::new());
        }
        let found = &self.values[k].peaks;
        let flat = lane.download(found, found.len())?;
        Ok(flat.chunks_exact(2).map(|x| Peak { time: x[0], slope: x[1] }).collect())
    }

    /// All of it.
    pub fn fetch(&self) -> Result<Record<T>> {
        Ok(Record {
            batch: self.batch,
            duration: self.duration,
            populations: (0..self.emits.len()).map(|p| self.population(p)).collect::<Result<_>>()?,
            requests: self.requests.clone(),
            readouts: (0..self.requests.len()).map(|k| self.readout(k)).collect::<Result<_>>()?,
        })
    }

    /// The batch in parts of at most `most` samples.
    pub(super) fn ranges(&self, most: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        (0..self.batch).step_by(most).map(move |first| first..(first + most).min(self.batch))
    }
}
