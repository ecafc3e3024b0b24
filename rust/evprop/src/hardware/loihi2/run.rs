//! A batch through a program: step by step, samples over threads.
//!
//! Spikes are events: a step costs the neurons of the populations that are not at rest, and the synapses of those
//! that fire. What is on its way to a population lies in a ring of rows, one row per step ahead.
use super::connection::{Connection, Rows, Source};
use super::neuron::State;
use super::program::Program;
use crate::error::{Error, Result};
use crate::parallel::{CancelFlag, map_chunks};
use std::ops::Range;

/// Spikes of an input over a batch, sorted by row and unit within each sample, none twice.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Row (step, from 0) of each spike.
    pub steps: &'a [u32],
    /// Unit of each spike.
    pub units: &'a [u32],
    /// Spikes of sample `b`: `offsets[b]..offsets[b + 1]`.
    pub offsets: &'a [i64],
    /// Payload of each spike; none: 1.
    pub payloads: Option<&'a [i32]>,
}

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Number of steps.
    pub n_steps: usize,
    /// For each population, whether u and v of every step are kept.
    pub traced: Vec<bool>,
    /// Strict: note where the chip may differ, and keep up to so many places.
    pub strict: Option<usize>,
}

/// Where the chip, or another model of it, may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// What arrives in one step does not fit 16 bits.
    Accumulator,
    /// u left its 24 bits and was wrapped.
    CurrentWrap,
    /// v left its 24 bits and was clipped.
    VoltageClip,
}

/// One such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// What happened.
    pub kind: AlarmKind,
    /// Sample.
    pub sample: usize,
    /// Population.
    pub population: usize,
    /// Neuron.
    pub neuron: usize,
    /// Row.
    pub step: usize,
    /// The value that did not fit.
    pub value: i64,
}

/// Spikes of a population over the batch, by sample, row and neuron.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spikes {
    /// Row of each spike.
    pub steps: Vec<u32>,
    /// Neuron of each spike.
    pub units: Vec<u32>,
    /// u of that neuron in that row.
    pub currents: Vec<i64>,
    /// By sample.
    pub offsets: Vec<i64>,
}

/// u and v after every step: (sample, step, neuron).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Currents.
    pub u: Vec<i64>,
    /// Voltages, after a spike's reset.
    pub v: Vec<i32>,
}

/// What a run leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For each population.
    pub spikes: Vec<Spikes>,
    /// For each population; empty unless asked for.
    pub traces: Vec<Trace>,
    /// The first alarms, by sample and step.
    pub alarms: Vec<Alarm>,
    /// How many there were: accumulator, current wrap, voltage clip.
    pub counts: [u64; 3],
}

/// Notes alarms of one sample.
pub struct Watch<'a> {
    found: &'a mut Vec<Alarm>,
    counts: &'a mut [u64; 3],
    room: usize,
    place: (usize, usize, usize),
}

impl Watch<'_> {
    #[cold]
    pub fn alarm(&mut self, kind: AlarmKind, neuron: usize, value: i64) {
        self.counts[kind as usize] += 1;
        if self.room > 0 {
            self.room -= 1;
            let (sample, population, step) = self.place;
            self.found.push(Alarm { kind, sample, population, neuron, step, value });
        }
    }
}

/// Runs a batch.
///
/// # Errors
/// Inputs that do not fit the program; a raised `cancel`.
pub fn run(program: &Program, inputs: &[Input<'_>], request: &Request, cancel: &CancelFlag) -> Result<Outcome> {
    let batch = check(program, inputs, request)?;
    let parts = map_chunks(
        batch,
        cancel,
        || Workspace::new(program),
        |workspace, samples| workspace.chunk(program, inputs, request, samples, cancel),
    )?;
    let mut whole = Outcome::empty(program.populations.len());
    for part in parts {
        whole.append(part);
    }
    whole.alarms.truncate(request.strict.unwrap_or(0));
    Ok(whole)
}

fn check(program: &Program, inputs: &[Input<'_>], request: &Request) -> Result<usize> {
    let refuse = |why: String| Err(Error::Argument(why));
    if inputs.len() != program.inputs.len() || inputs.is_empty() {
        return refuse(format!("{} inputs given, the program has {}", inputs.len(), program.inputs.len()));
    }
    if request.traced.len() != program.populations.len() {
        return refuse("one choice of a trace per population is needed".into());
    }
    if u32::try_from(request.n_steps).is_err() {
        return refuse(format!("{} steps are too many; the limit is {}", request.n_steps, u32::MAX));
    }
    let batch = inputs[0].offsets.len().saturating_sub(1);
    for (k, (input, &size)) in inputs.iter().zip(&program.inputs).enumerate() {
        let n = input.units.len();
        let rising = input.offsets.first() == Some(&0) && input.offsets.windows(2).all(|w| w[0] <= w[1]);
        if input.offsets.len() != batch + 1 || !rising || input.offsets.last() != i64::try_from(n).ok().as_ref() {
            return refuse(format!("offsets of input {k} must rise from 0 to {n}, for {batch} samples"));
        }
        if input.steps.len() != n || input.payloads.is_some_and(|p| p.len() != n) {
            return refuse(format!("input {k} has {n} units; as many steps and payloads are needed"));
        }
        for sample in 0..batch {
            let spikes = input.offsets[sample] as usize..input.offsets[sample + 1] as usize;
            for i in spikes.clone() {
                let (step, unit) = (input.steps[i], input.units[i]);
                if step as usize >= request.n_steps || unit as usize >= size {
                    return refuse(format!(
                        "input {k}, sample {sample}: spike of unit {unit} in step {step}, of {size} units and {} steps",
                        request.n_steps
                    ));
                }
                if i > spikes.start && (input.steps[i - 1], input.units[i - 1]) >= (step, unit) {
                    return refuse(format!(
                        "input {k}, sample {sample}: spikes must be sorted by step and unit, none twice (spike {i})"
                    ));
                }
            }
        }
    }
    Ok(batch)
}

impl Outcome {
    fn empty(n: usize) -> Self {
        let spikes = vec![Spikes { offsets: vec![0], ..Spikes::default() }; n];
        Self { spikes, traces: vec![Trace::default(); n], ..Self::default() }
    }

    fn append(&mut self, part: Self) {
        for (all, new) in self.spikes.iter_mut().zip(part.spikes) {
            let before = all.offsets.last().copied().unwrap_or(0);
            all.steps.extend(new.steps);
            all.units.extend(new.units);
            all.currents.extend(new.currents);
            all.offsets.extend(new.offsets.iter().skip(1).map(|x| x + before));
        }
        for (all, new) in self.traces.iter_mut().zip(part.traces) {
            all.u.extend(new.u);
            all.v.extend(new.v);
        }
        self.alarms.extend(part.alarms);
        for (all, new) in self.counts.iter_mut().zip(part.counts) {
            *all += new;
        }
    }
}

/// What is on its way to a population.
struct Ring {
    cells: Vec<i64>,
    /// Whether a row holds anything.
    filled: Vec<bool>,
    width: usize,
}

/// What a thread needs to run samples, one after the other.
struct Workspace {
    states: Vec<State>,
    rings: Vec<Ring>,
    fired: Vec<Vec<u32>>,
    /// Sums still to be shifted, and which of them are not 0.
    sums: Vec<i64>,
    touched: Vec<u32>,
}

impl Workspace {
    fn new(program: &Program) -> Self {
        let ring = |(n, &rows): (usize, &usize)| Ring { cells: vec![0; n * rows], filled: vec![false; rows], width: n };
        let sizes = program.populations.iter().map(super::Population::len);
        let rings: Vec<Ring> = sizes.zip(&program.ahead).map(ring).collect();
        Self {
            states: program.populations.iter().map(|_| State::default()).collect(),
            fired: vec![Vec::new(); rings.len()],
            sums: vec![0; rings.iter().map(|r| r.cells.len()).max().unwrap_or(0)],
            touched: Vec::new(),
            rings,
        }
    }

    fn chunk(
        &mut self,
        program: &Program,
        inputs: &[Input<'_>],
        request: &Request,
        samples: Range<usize>,
        cancel: &CancelFlag,
    ) -> Result<Outcome> {
        let mut out = Outcome::empty(program.populations.len());
        for sample in samples {
            if request.strict.is_some() {
                self.sample::<true>(program, inputs, request, sample, &mut out, cancel)?;
            } else {
                self.sample::<false>(program, inputs, request, sample, &mut out, cancel)?;
            }
        }
        Ok(out)
    }

    fn sample<const STRICT: bool>(
        &mut self,
        program: &Program,
        inputs: &[Input<'_>],
        request: &Request,
        sample: usize,
        out: &mut Outcome,
        cancel: &CancelFlag,
    ) -> Result<()> {
        for (state, population) in self.states.iter_mut().zip(&program.populations) {
            state.start(population);
        }
        for ring in &mut self.rings {
            ring.cells.fill(0);
            ring.filled.fill(false);
        }
        let mut next: Vec<usize> = inputs.iter().map(|i| i.offsets[sample] as usize).collect();
        let kept = out.alarms.len();
        for step in 0..request.n_steps {
            if step % 1024 == 0 {
                cancel.check()?;
            }
            let room = request.strict.unwrap_or(0).saturating_sub(out.alarms.len() - kept);
            let mut watch = Watch { found: &mut out.alarms, counts: &mut out.counts, room, place: (sample, 0, step) };
            for (p, population) in program.populations.iter().enumerate() {
                watch.place.1 = p;
                let (state, ring, fired) = (&mut self.states[p], &mut self.rings[p], &mut self.fired[p]);
                fired.clear();
                if population
                    .reset
                    .is_some_and(|r| (step + 1) % r.interval as usize == (r.offset % r.interval) as usize)
                {
                    state.reset();
                }
                let row = step % ring.filled.len();
                if !state.at_rest || ring.filled[row] {
                    let arrived = &mut ring.cells[row * ring.width..(row + 1) * ring.width];
                    state.step::<STRICT>(population, &program.bias[p], arrived, fired, &mut watch);
                    ring.filled[row] = false;
                }
                let spikes = &mut out.spikes[p];
                spikes.units.extend_from_slice(fired);
                spikes.currents.extend(fired.iter().map(|&k| state.u[k as usize]));
                spikes.steps.resize(spikes.units.len(), step as u32);
                if request.traced[p] {
                    out.traces[p].u.extend_from_slice(&state.u);
                    out.traces[p].v.extend(state.v.iter().map(|&v| v as i32));
                }
            }
            // Only now: every population has taken what arrived in this step.
            for connection in &program.connections {
                self.deliver(connection, inputs, &next, sample, step);
            }
            for (place, input) in next.iter_mut().zip(inputs) {
                let end = input.offsets[sample + 1] as usize;
                *place += input.steps[*place..end].iter().take_while(|&&s| s as usize == step).count();
            }
        }
        for spikes in &mut out.spikes {
            spikes.offsets.push(spikes.units.len() as i64);
        }
        Ok(())
    }

    /// Adds what the spikes of this step send along a connection to the rows ahead.
    fn deliver(&mut self, connection: &Connection, inputs: &[Input<'_>], next: &[usize], sample: usize, step: usize) {
        let ring = &mut self.rings[connection.target];
        let fired = match connection.source {
            Source::Population(p) => &self.fired[p],
            Source::Input(_) => &Vec::new(),
        };
        let mut send = Send { ring, sums: &mut self.sums, touched: &mut self.touched, step };
        for &unit in fired {
            send.spike(connection, unit as usize, 1);
        }
        if let Source::Input(k) = connection.source {
            let (input, end) = (&inputs[k], inputs[k].offsets[sample + 1] as usize);
            for i in next[k]..end {
                if input.steps[i] as usize != step {
                    break;
                }
                let payload = input.payloads.map_or(1, |p| p[i]);
                let payload = if connection.graded { payload } else { i32::from(payload != 0) };
                send.spike(connection, input.units[i] as usize, i64::from(payload));
            }
        }
        send.shifted(connection);
    }
}

struct Send<'a> {
    ring: &'a mut Ring,
    sums: &'a mut [i64],
    touched: &'a mut Vec<u32>,
    step: usize,
}

impl Send<'_> {
    fn spike(&mut self, connection: &Connection, unit: usize, payload: i64) {
        let (width, rows) = (self.ring.width, self.ring.filled.len());
        match &connection.rows {
            Rows::Full { delay, weights } => {
                let row = (self.step + 1 + delay) % rows;
                self.ring.filled[row] = true;
                let cells = &mut self.ring.cells[row * width..(row + 1) * width];
                let weights = &weights[unit * width..(unit + 1) * width];
                if payload == 1 {
                    for (cell, &w) in cells.iter_mut().zip(weights) {
                        *cell += i64::from(w);
                    }
                } else {
                    for (cell, &w) in cells.iter_mut().zip(weights) {
                        *cell += i64::from(w) * payload;
                    }
                }
            }
            Rows::Lists { starts, cells, weights, shift } => {
                let list = starts[unit]..starts[unit + 1];
                let synapses = cells[list.clone()].iter().zip(&weights[list]);
                if *shift > 0 {
                    for (&cell, &w) in synapses {
                        let sum = &mut self.sums[cell as usize];
                        if *sum == 0 {
                            self.touched.push(cell);
                        }
                        *sum += i64::from(w) * payload;
                    }
                    return;
                }
                let (first, size) = ((self.step + 1) % rows * width, rows * width);
                for (&cell, &w) in synapses {
                    let at = cell as usize + first;
                    let at = if at >= size { at - size } else { at };
                    self.ring.cells[at] += i64::from(w) * payload;
                }
                // Which rows were reached is not worth finding out: all of them may have been.
                self.ring.filled.fill(true);
            }
        }
    }

    /// Shifts the sums of this step as a whole and sends them; a cell may be listed twice, then its rest is 0.
    fn shifted(&mut self, connection: &Connection) {
        let Rows::Lists { shift, .. } = &connection.rows else { return };
        let (width, rows) = (self.ring.width, self.ring.filled.len());
        let first = (self.step + 1) % rows * width;
        for cell in self.touched.drain(..) {
            let sum = std::mem::take(&mut self.sums[cell as usize]);
            let at = (cell as usize + first) % (rows * width);
            self.ring.cells[at] += sum >> shift;
            self.ring.filled[at / width] = true;
        }
    }
}
