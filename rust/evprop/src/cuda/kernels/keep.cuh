// What a forward pass leaves behind in the device's memory: spikes without gaps, and which are whose.
#pragma once
#include "tables.cuh"

namespace evprop {

struct Move {
    i64 from, to;  // slots
};

template <class T> struct KeepArgs {
    const Trains<T>* from;
    const Trains<T>* to;  // as long as there are spikes
    const Move* moves;
    i64 n_trains;
};

// One block a slot: its spikes, to where they stay.
template <class T> __device__ void keep(const KeepArgs<T>& a) {
    Move move = a.moves[blockIdx.x];
    for (i64 p = 0; p < a.n_trains; ++p) {
        const Trains<T>&from = a.from[p], &to = a.to[p];
        i64 source = from.first[move.from], target = to.first[move.to], count = from.count[move.from];
        for (i64 k = threadIdx.x; k < count; k += blockDim.x) {
            to.times[target + k] = from.times[source + k];
            to.units[target + k] = from.units[source + k];
            to.current[target + k] = from.current[source + k];
            to.release[target + k] = from.release[source + k];
        }
    }
}

template <class T> struct OwnArgs {
    Network<T> net;
    const i64* before;  // spikes of all LIF populations in the slots before, by slot
    i64* start;         // (slot, neuron and one more): see Own
    int* index;
};

// One block a slot: the numbers of each neuron's own spikes.
template <class T> __device__ void own(const OwnArgs<T>& a) {
    i64 slot = blockIdx.x;
    i64* start = a.start + slot * (a.net.n_lif + 1);
    for (int pass = 0; pass < 2; ++pass) {
        for (int n = threadIdx.x; n < a.net.n_lif; n += blockDim.x) {
            const Trains<T>& train = a.net.trains[a.net.owner[n]];
            const u32* units = train.units + train.first[slot];
            u32 unit = (u32)(n - a.net.populations[a.net.owner[n]].first);
            i64 count = train.count[slot], found = 0;
            for (i64 k = 0; k < count; ++k) {
                if (units[k] == unit) {
                    if (pass == 1) {
                        a.index[start[n] + found] = (int)k;
                    }
                    ++found;
                }
            }
            if (pass == 0) {
                start[n + 1] = found;
            }
        }
        __syncthreads();
        if (pass == 0 && threadIdx.x == 0) {
            start[0] = a.before[slot];
            for (int n = 0; n < a.net.n_lif; ++n) {
                start[n + 1] += start[n];
            }
        }
        __syncthreads();
    }
}

}  // namespace evprop
