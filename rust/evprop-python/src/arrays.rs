//! NumPy arrays in, without copies but of large parameters: exact dtype, C order, or an error that says what was given and what is needed.
use evprop::cuda::Number;
use evprop::math::Lines;
use evprop::spikes::SpikeBatch;
use numpy::{Element, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::{named, raise};
use crate::memory::LARGE;

/// A scalar that NumPy and the core share.
pub trait Scalar: Number + Element + Default {
    /// Its bits.
    fn bits(self) -> u64;
}

impl Scalar for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

impl Scalar for f32 {
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

/// A borrowed array, held for the length of a call, and its values if they have been copied.
pub struct Array<'py, T: Element> {
    array: PyReadonlyArrayDyn<'py, T>,
    copy: Option<Lines<T>>,
}

impl<'py, T: Element> Array<'py, T> {
    /// Takes `object`, called `name` in errors; `dtype` is what `T` is called.
    pub fn new(object: &Bound<'py, PyAny>, name: &str, dtype: &str) -> PyResult<Self> {
        let py = object.py();
        let Ok(untyped) = object.cast::<PyUntypedArray>() else {
            let message = format!("{name} is a {}; a NumPy array of {dtype} is needed", object.get_type().name()?);
            return Err(named(py, "DtypeError", &message));
        };
        let Ok(array) = object.extract::<PyReadonlyArrayDyn<'py, T>>() else {
            let given = untyped.dtype().str()?;
            let message = format!("{name} has dtype {given}; {dtype} is needed: use {name}.astype(np.{dtype})");
            return Err(named(py, "DtypeError", &message));
        };
        if !untyped.is_c_contiguous() {
            let message = format!("{name} is not C-contiguous; use np.ascontiguousarray({name})");
            return Err(named(py, "ShapeError", &message));
        }
        Ok(Self { array, copy: None })
    }

    /// Copies its values to where large arrays of the core lie.
    fn bring_close(&mut self)
    where
        T: Scalar,
    {
        let values = self.slice();
        if size_of_val(values) >= LARGE {
            let mut copy = Lines::new(T::default(), values.len());
            copy.copy_from_slice(values);
            self.copy = Some(copy);
        }
    }

    /// Shape.
    pub fn shape(&self) -> &[usize] {
        self.array.shape()
    }

    /// All values, row by row.
    pub fn slice(&self) -> &[T] {
        // Contiguity was checked above.
        self.copy.as_deref().unwrap_or_else(|| self.array.as_slice().unwrap_or(&[]))
    }
}

/// Spikes over a batch.
pub struct Spikes<'py> {
    times: Array<'py, f64>,
    units: Array<'py, u32>,
    offsets: Array<'py, i64>,
}

impl<'py> Spikes<'py> {
    /// Takes `(times, units, offsets)`.
    pub fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let (times, units, offsets): (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>) = object.extract()?;
        Self::from_parts(&times, &units, &offsets)
    }

    /// Takes the three arrays.
    pub fn from_parts(
        times: &Bound<'py, PyAny>,
        units: &Bound<'py, PyAny>,
        offsets: &Bound<'py, PyAny>,
    ) -> PyResult<Self> {
        Ok(Self {
            times: Array::new(times, "times", "float64")?,
            units: Array::new(units, "units", "uint32")?,
            offsets: Array::new(offsets, "offsets", "int64")?,
        })
    }

    /// As the core takes them.
    pub fn batch(&self, py: Python<'_>) -> PyResult<SpikeBatch<'_>> {
        SpikeBatch::new(self.times.slice(), self.units.slice(), self.offsets.slice()).map_err(|e| raise(py, &e))
    }

    /// Spike times, ms.
    pub fn times(&self) -> &[f64] {
        self.times.slice()
    }

    /// Units.
    pub fn units(&self) -> &[u32] {
        self.units.slice()
    }

    /// Offsets.
    pub fn offsets(&self) -> &[i64] {
        self.offsets.slice()
    }
}

/// All batches of a list.
pub fn spike_list<'py>(inputs: &[Bound<'py, PyAny>]) -> PyResult<Vec<Spikes<'py>>> {
    inputs.iter().map(Spikes::new).collect()
}

/// The arrays of `params`, named as in `network`'s layout. Weights that are read row by row, arrival after arrival, are copied.
pub fn parameters<'py, T: Scalar>(
    network: &evprop::network::Network,
    params: &[Bound<'py, PyAny>],
) -> PyResult<Vec<Array<'py, T>>> {
    let name = |k: usize| network.layout().get(k).map_or("parameter", |slot| slot.name.as_str());
    let mut arrays: Vec<_> =
        params.iter().enumerate().map(|(k, p)| Array::new(p, name(k), T::NAME)).collect::<PyResult<_>>()?;
    for (q, projection) in network.projections().iter().enumerate() {
        if let Some(weight) = arrays.get_mut(network.weight_slot(q)).filter(|_| projection.delay.keeps_order()) {
            weight.bring_close();
        }
    }
    Ok(arrays)
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// [`fingerprint`] of arrays at hand.
pub fn fingerprint_of<T: Scalar>(arrays: &[Array<'_, T>]) -> u64 {
    let mut hash = START;
    arrays.iter().for_each(|array| mix(&mut hash, array.slice().iter().map(|&x| T::bits(x))));
    hash
}

/// A cheap checksum of the arrays' bytes, to notice a change in place.
#[pyfunction]
pub fn fingerprint(params: Vec<Bound<'_, PyAny>>) -> PyResult<u64> {
    let mut hash = START;
    for object in &params {
        if let Ok(array) = object.extract::<PyReadonlyArrayDyn<'_, f64>>() {
            mix(&mut hash, array.as_slice()?.iter().map(|&x| x.bits()));
        } else {
            let array = Array::<f32>::new(object, "parameter", "float32")?;
            mix(&mut hash, array.slice().iter().map(|&x| x.bits()));
        }
    }
    Ok(hash)
}

/// Four independent multiply-rotate lanes, so that the loop is not one long chain.
fn mix(hash: &mut u64, words: impl Iterator<Item = u64>) {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [*hash, hash.rotate_left(16), hash.rotate_left(32), hash.rotate_left(48)];
    for (k, word) in words.enumerate() {
        let lane = &mut lanes[k & 3];
        *lane = (*lane ^ word).wrapping_mul(PRIME).rotate_left(29);
    }
    for lane in lanes {
        *hash = (*hash ^ lane).wrapping_mul(PRIME).rotate_left(31);
    }
}
