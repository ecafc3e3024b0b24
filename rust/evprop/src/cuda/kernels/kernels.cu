// The entry points: one kernel a pass and number type. Built by NVRTC into ../evprop.ptx (tools/make_ptx.py), and as plain
// C++ by the tests.
#include "backward.cuh"
#include "forward.cuh"
#include "keep.cuh"
#include "readout.cuh"

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
