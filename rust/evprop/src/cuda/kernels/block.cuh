// Reductions over the threads of a block, in an order that depends on the number of threads alone.
#pragma once
#include "real.cuh"

namespace evprop {

const int MOST_THREADS = 256;
const int GROUPS = 16;

// The earliest of all threads' instants; the lower index at one instant. Every thread gets it. Needs a barrier between
// two calls.
struct Earliest {
    double time;
    int who;
};

__device__ __forceinline__ bool before(const Earliest& a, const Earliest& b) {
    return a.time < b.time || (a.time == b.time && a.who < b.who);
}

__device__ inline Earliest earliest_of_block(Earliest mine) {
    __shared__ Earliest all[MOST_THREADS];
    __shared__ Earliest groups[GROUPS];
    all[threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.x < GROUPS) {
        Earliest best = {infinite(), 0x7fffffff};
        for (unsigned k = threadIdx.x; k < blockDim.x; k += GROUPS) {
            best = before(all[k], best) ? all[k] : best;
        }
        groups[threadIdx.x] = best;
    }
    __syncthreads();
    Earliest best = groups[0];
    for (int k = 1; k < GROUPS; ++k) {
        best = before(groups[k], best) ? groups[k] : best;
    }
    return best;
}

// The sum over all threads, in one order. Every thread gets it. Needs a barrier between two calls.
__device__ inline double sum_of_block(double mine) {
    __shared__ double all[MOST_THREADS];
    __shared__ double groups[GROUPS];
    all[threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.x < GROUPS) {
        double sum = 0.0;
        for (unsigned k = threadIdx.x; k < blockDim.x; k += GROUPS) {
            sum += all[k];
        }
        groups[threadIdx.x] = sum;
    }
    __syncthreads();
    double sum = groups[0];
    for (int k = 1; k < GROUPS; ++k) {
        sum += groups[k];
    }
    return sum;
}

}  // namespace evprop
