//! The Python door `evprop._core`: takes arrays in, calls the core, hands arrays out. No numerics here.
mod adjoint;
mod arrays;
mod brainscales2;
mod cuda;
mod enter;
mod errors;
mod loihi2;
mod losses;
mod memory;
mod network;
mod observed;
mod optim;
mod record;
mod simulate;
mod sparse;
mod spikes;
mod training;
mod value_and_grad;

use pyo3::prelude::*;

/// The compiled core of evprop.
#[pymodule(gil_used = true)]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    memory::survive_fork();
    m.add_class::<network::CoreNetwork>()?;
    m.add_class::<record::CoreRecord>()?;
    m.add_class::<loihi2::CoreLoihi2>()?;
    m.add_class::<sparse::CorePursuit>()?;
    m.add_class::<training::CoreTraining>()?;
    m.add_class::<losses::CoreLoss>()?;
    m.add_function(wrap_pyfunction!(spikes::check_spikes, m)?)?;
    m.add_function(wrap_pyfunction!(spikes::fired, m)?)?;
    m.add_function(wrap_pyfunction!(spikes::first_units, m)?)?;
    m.add_function(wrap_pyfunction!(spikes::take_samples, m)?)?;
    m.add_function(wrap_pyfunction!(simulate::simulate, m)?)?;
    m.add_function(wrap_pyfunction!(simulate::replay, m)?)?;
    m.add_function(wrap_pyfunction!(simulate::trace, m)?)?;
    m.add_function(wrap_pyfunction!(observed::observed_record, m)?)?;
    m.add_function(wrap_pyfunction!(adjoint::backward, m)?)?;
    m.add_function(wrap_pyfunction!(brainscales2::brainscales2, m)?)?;
    m.add_function(wrap_pyfunction!(cuda::cuda_count, m)?)?;
    m.add_function(wrap_pyfunction!(cuda::cuda_device, m)?)?;
    m.add_function(wrap_pyfunction!(losses::loss_first_spike, m)?)?;
    m.add_function(wrap_pyfunction!(losses::loss_relative_mse, m)?)?;
    m.add_function(wrap_pyfunction!(losses::loss_spike_time_mse, m)?)?;
    m.add_function(wrap_pyfunction!(losses::loss_cross_entropy, m)?)?;
    m.add_function(wrap_pyfunction!(value_and_grad::value_and_grad, m)?)?;
    m.add_function(wrap_pyfunction!(optim::optimiser_step, m)?)?;
    m.add_function(wrap_pyfunction!(arrays::fingerprint, m)?)?;
    m.add_function(wrap_pyfunction!(enter::set_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(enter::num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(enter::simd_level, m)?)?;
    Ok(())
}
