//! A program: inputs, populations and connections, checked once.
use super::connection::{Connection, Source};
use super::neuron::Population;
use crate::error::{Error, Result};

/// What the chip is loaded with.
#[derive(Debug, Clone)]
pub struct Program {
    /// Sizes of the inputs.
    pub inputs: Vec<usize>,
    /// Populations.
    pub populations: Vec<Population>,
    /// Connections.
    pub connections: Vec<Connection>,
    pub(super) bias: Vec<Vec<i64>>,
    /// For each population, how many rows ahead something may arrive.
    pub(super) ahead: Vec<usize>,
}

impl Program {
    /// Checks that all belong together.
    ///
    /// # Errors
    /// Constants out of their ranges, connections that name what is not there.
    pub fn new(inputs: Vec<usize>, populations: Vec<Population>, connections: Vec<Connection>) -> Result<Self> {
        for population in &populations {
            population.check()?;
        }
        let mut ahead = vec![1; populations.len()];
        for (k, connection) in connections.iter().enumerate() {
            let known = match connection.source {
                Source::Input(j) => j < inputs.len(),
                Source::Population(j) => j < populations.len(),
            };
            let Some(longest) = ahead.get_mut(connection.target).filter(|_| known) else {
                return Err(Error::Network(format!("connection {k} names an input or population that is not there")));
            };
            *longest = (*longest).max(connection.longest as usize + 1);
        }
        let bias = populations.iter().map(Population::bias).collect();
        Ok(Self { inputs, populations, connections, bias, ahead })
    }
}
