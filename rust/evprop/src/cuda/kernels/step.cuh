// A step of an optimiser on parameters that stay in the device's memory: python/evprop/optim/optimisers.py and flat.py, where
// the formulas are told, operation by operation.
#pragma once
#include "block.cuh"

namespace evprop {

// One trained array, and where its gradient and moments lie in the flat vectors.
template <class T> struct Trained {
    T* values;
    i64 start, n;
    i64 stride;  // entries 0, stride, 2 stride, ... are no synapses; 0: all are
    T rate, decay;
};

enum Rule { PLAIN = 0, MOMENTUM = 1, NESTEROV = 2, ADAM = 3 };

template <class T> struct StepArgs {
    const Trained<T>* arrays;
    i64 n_arrays;
    T* gradient;
    T* first;   // momentum, or Adam's m
    T* second;  // Adam's v
    i64 rule;
    T scale;  // of the gradient: 1, or what clips it
    T momentum;
    T b1, rest1, unbias1;  // b1, 1 - b1, 1 / (1 - b1^t)
    T b2, rest2, unbias2;
    T eps;
};

// The step for a learning rate of 1.
template <class T> __device__ T direction(const StepArgs<T>& a, i64 k, T g) {
    if (a.rule == PLAIN) {
        return g;
    }
    if (a.rule != ADAM) {
        T velocity = a.first[k] * a.momentum + g;
        a.first[k] = velocity;
        return a.rule == NESTEROV ? g + a.momentum * velocity : velocity;
    }
    T m = a.first[k] * a.b1 + a.rest1 * g;
    T v = a.second[k] * a.b2 + g * g * a.rest2;
    a.first[k] = m;
    a.second[k] = v;
    return m / (Real<T>::root(v * a.unbias2) + a.eps) * a.unbias1;
}

template <class T> __device__ void step(const StepArgs<T>& a) {
    for (i64 s = 0; s < a.n_arrays; ++s) {
        const Trained<T>& array = a.arrays[s];
        for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < array.n; k += (i64)gridDim.x * blockDim.x) {
            i64 at = array.start + k;
            T g = a.scale == T(1) ? a.gradient[at] : a.gradient[at] * a.scale;
            T update = direction(a, at, g);
            if (array.decay != T(0)) {
                update = update + array.decay * array.values[k];
            }
            array.values[k] = array.values[k] - update * array.rate;
        }
    }
}

// Gradients as the host finishes them: scaled, and none where there is no synapse.
template <class T> __device__ void finish(const StepArgs<T>& a) {
    for (i64 s = 0; s < a.n_arrays; ++s) {
        const Trained<T>& array = a.arrays[s];
        for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < array.n; k += (i64)gridDim.x * blockDim.x) {
            T& g = a.gradient[array.start + k];
            g = array.stride > 0 && k % array.stride == 0 ? T(0) : g * a.scale;
        }
    }
}

// The squares of the gradient, added up block by block.
template <class T> struct NormArgs {
    const T* gradient;
    i64 n;
    double* sums;  // (block)
};

template <class T> __device__ void norm(const NormArgs<T>& a) {
    double sum = 0.0;
    for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < a.n; k += (i64)gridDim.x * blockDim.x) {
        sum += (double)a.gradient[k] * (double)a.gradient[k];
    }
    double all = sum_of_block(sum);
    if (threadIdx.x == 0) {
        a.sums[blockIdx.x] = all;
    }
}

// A bound on the values of one array: a number, or another array and a number.
template <class T> struct BoundArgs {
    T* values;
    const T* other;  // null: none
    i64 n, from_above;
    T limit;
};

template <class T> __device__ void bound(const BoundArgs<T>& a) {
    for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < a.n; k += (i64)gridDim.x * blockDim.x) {
        T limit = a.other == nullptr ? a.limit : a.other[k] + a.limit;
        a.values[k] = a.from_above ? smaller(a.values[k], limit) : larger(a.values[k], limit);
    }
}

// The longest delay of an array, where the network's tables keep it. One block.
template <class T> struct LongestArgs {
    const T* delays;
    i64 n;
    double* longest;
};

template <class T> __device__ void longest(const LongestArgs<T>& a) {
    double most = 0.0;
    for (i64 k = threadIdx.x; k < a.n; k += blockDim.x) {
        most = larger(most, (double)a.delays[k]);
    }
    Earliest mine = {-most, 0};
    double all = -earliest_of_block(mine).time;
    if (threadIdx.x == 0) {
        *a.longest = all;
    }
}

}  // namespace evprop
