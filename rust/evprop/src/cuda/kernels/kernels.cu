// The entry points: one kernel a pass and number type. Built by NVRTC into ../evprop.ptx (tools/make_ptx.py), and as plain
// C++ by the tests.
#include "backward.cuh"
#include "forward.cuh"
#include "keep.cuh"
#include "readout.cuh"
#include "step.cuh"

#define EVPROP_KERNEL extern "C" __global__ void __launch_bounds__(256)

EVPROP_KERNEL evprop_forward_f32(const evprop::ForwardArgs<float> a) { evprop::forward(a); }
EVPROP_KERNEL evprop_forward_f64(const evprop::ForwardArgs<double> a) { evprop::forward(a); }

EVPROP_KERNEL evprop_keep_f32(const evprop::KeepArgs<float> a) { evprop::keep(a); }
EVPROP_KERNEL evprop_keep_f64(const evprop::KeepArgs<double> a) { evprop::keep(a); }

EVPROP_KERNEL evprop_own_f32(const evprop::OwnArgs<float> a) { evprop::own(a); }
EVPROP_KERNEL evprop_own_f64(const evprop::OwnArgs<double> a) { evprop::own(a); }

EVPROP_KERNEL evprop_readout_f32(const evprop::ReadoutArgs<float> a) { evprop::readout(a); }
EVPROP_KERNEL evprop_readout_f64(const evprop::ReadoutArgs<double> a) { evprop::readout(a); }

EVPROP_KERNEL evprop_backward_f32(const evprop::BackwardArgs<float> a) { evprop::backward(a); }
EVPROP_KERNEL evprop_backward_f64(const evprop::BackwardArgs<double> a) { evprop::backward(a); }

EVPROP_KERNEL evprop_total_f32(const evprop::TotalArgs<float> a) { evprop::total(a); }
EVPROP_KERNEL evprop_total_f64(const evprop::TotalArgs<double> a) { evprop::total(a); }

EVPROP_KERNEL evprop_step_f32(const evprop::StepArgs<float> a) { evprop::step(a); }
EVPROP_KERNEL evprop_step_f64(const evprop::StepArgs<double> a) { evprop::step(a); }

EVPROP_KERNEL evprop_finish_f32(const evprop::StepArgs<float> a) { evprop::finish(a); }
EVPROP_KERNEL evprop_finish_f64(const evprop::StepArgs<double> a) { evprop::finish(a); }

EVPROP_KERNEL evprop_norm_f32(const evprop::NormArgs<float> a) { evprop::norm(a); }
EVPROP_KERNEL evprop_norm_f64(const evprop::NormArgs<double> a) { evprop::norm(a); }

EVPROP_KERNEL evprop_bound_f32(const evprop::BoundArgs<float> a) { evprop::bound(a); }
EVPROP_KERNEL evprop_bound_f64(const evprop::BoundArgs<double> a) { evprop::bound(a); }

EVPROP_KERNEL evprop_longest_f32(const evprop::LongestArgs<float> a) { evprop::longest(a); }
EVPROP_KERNEL evprop_longest_f64(const evprop::LongestArgs<double> a) { evprop::longest(a); }
