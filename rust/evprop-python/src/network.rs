//! `CoreNetwork`: populations and projections, checked once.
use evprop::network::{Kind, Network, Population, Projection};
use evprop::projection::{Connectivity, DelayKind};
use pyo3::prelude::*;

use crate::arrays::Array;
use crate::errors::{named, raise};

/// The network as the core sees it.
#[pyclass(frozen, module = "evprop._core")]
pub struct CoreNetwork {
    pub(crate) network: Network,
}

type ProjectionGiven<'py> =
    (String, usize, usize, Option<String>, bool, Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>);

#[pymethods]
impl CoreNetwork {
    #[new]
    fn new(
        py: Python<'_>,
        populations: Vec<(String, String, usize)>,
        projections: Vec<ProjectionGiven<'_>>,
    ) -> PyResult<Self> {
        let populations = populations
            .into_iter()
            .map(|(name, kind, size)| {
                let kind = match kind.as_str() {
                    "input" => Kind::Input,
                    "lif" => Kind::Lif,
                    "li" => Kind::Li,
                    other => {
                        let message = format!("population '{name}' is of kind '{other}'; known are input, lif, li");
                        return Err(named(py, "NetworkError", &message));
                    }
                };
                Ok(Population { name, kind, size })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let projections = projections.into_iter().map(|given| projection(py, given)).collect::<PyResult<Vec<_>>>()?;
        let network = Network::new(populations, projections).map_err(|e| raise(py, &e))?;
        Ok(Self { network })
    }

    /// Name, shape and "is a float" of every parameter array, in the order in which they are passed.
    fn layout<'py>(&self, py: Python<'py>) -> PyResult<Vec<(String, Bound<'py, pyo3::types::PyTuple>, bool)>> {
        let slot =
            |slot: &evprop::network::Slot| Ok((slot.name.clone(), pyo3::types::PyTuple::new(py, &slot.shape)?, true));
        self.network.layout().iter().map(slot).collect()
    }
}

fn projection(py: Python<'_>, given: ProjectionGiven<'_>) -> PyResult<Projection> {
    let (name, pre, post, delay, self_connections, sparse) = given;
    let delay = match delay.as_deref() {
        None => DelayKind::None,
        Some("axonal") => DelayKind::Axonal,
        Some("dendritic") => DelayKind::Dendritic,
        Some("synaptic") => DelayKind::Synaptic,
        Some(other) => {
            let message =
                format!("projection '{name}' has delay kind '{other}'; known are axonal, dendritic, synaptic");
            return Err(named(py, "NetworkError", &message));
        }
    };
    let connectivity = match sparse {
        None => Connectivity::Dense,
        Some((indptr, indices)) => {
            let indptr = Array::<i64>::new(&indptr, "indptr", "int64")?;
            let indices = Array::<u32>::new(&indices, "indices", "uint32")?;
            let row = |&start: &i64| {
                usize::try_from(start)
                    .map_err(|_| named(py, "NetworkError", &format!("indptr holds {start}; it can't be negative")))
            };
            let indptr = indptr.slice().iter().map(row).collect::<PyResult<Vec<_>>>()?;
            Connectivity::Sparse { indptr, indices: indices.slice().to_vec() }
        }
    };
    Ok(Projection { name, pre, post, connectivity, delay, self_connections })
}
