// The arrivals at single neurons within a window, in order: by time; at one instant, projections as listed and senders by
// time and unit.
#pragma once
#include "tables.cuh"

namespace evprop {

template <class T> struct Lists {
    const Network<T>& net;
    const ListTable<T>& table;
    i64 slot;
    int* code;  // shared: why the sample can't go on

    __device__ i64 entry(int n, int k) const { return (slot * table.room + k) * table.lanes + n; }
    __device__ i64 lane(int n) const { return slot * table.lanes + n; }
    __device__ int len(int n) const { return table.len[lane(n)]; }
    __device__ double due(int n, int k) const { return table.due[entry(n, k)]; }
    __device__ T charge(int n, int k) const { return table.charge[entry(n, k)]; }

    // Puts an arrival at neuron n after those of its own instant.
    EVPROP_CALL void insert(int n, double s, T weight) const {
        int length = len(n);
        if (length == table.room) {
            *code = ARRIVALS_FULL;
            return;
        }
        int k = length;
        for (; k > 0 && due(n, k - 1) > s; --k) {
            table.due[entry(n, k)] = due(n, k - 1);
            table.charge[entry(n, k)] = charge(n, k - 1);
        }
        table.due[entry(n, k)] = s;
        table.charge[entry(n, k)] = weight;
        table.len[lane(n)] = length + 1;
    }

    // The arrivals at neuron n within [from, until) of all spikes there are.
    EVPROP_CALL void gather(int n, double from, double until) const {
        const Population& own = net.populations[net.owner[n]];
        table.len[lane(n)] = 0;
        for (int k = 0; k < own.n_inlets; ++k) {
            const Projection<T>& q = net.projections[net.incoming[own.inlets + k]];
            const Trains<T>& train = net.trains[q.pre];
            const double* times = train.times + train.first[slot];
            const u32* units = train.units + train.first[slot];
            i64 count = train.count[slot];
            for (i64 m = first_from(times, count, q.longest, from); m < count && times[m] < until; ++m) {
                Synapse<T> found = synapse(q, units[m], n - own.first);
                double s = times[m] + found.delay;
                if (found.at >= 0 && s >= from && s < until && s < net.duration) {
                    insert(n, s, found.weight);
                }
            }
        }
    }
};

// Calls visit(s, weight) for every arrival at neuron n before the trial's end, projection by projection.
template <class T, class F> __device__ void each_arrival(const Network<T>& net, i64 slot, int n, F visit) {
    const Population& own = net.populations[net.owner[n]];
    for (int k = 0; k < own.n_inlets; ++k) {
        const Projection<T>& q = net.projections[net.incoming[own.inlets + k]];
        const Trains<T>& train = net.trains[q.pre];
        i64 first = train.first[slot], count = train.count[slot];
        for (i64 m = first; m < first + count; ++m) {
            Synapse<T> found = synapse(q, train.units[m], n - own.first);
            double s = train.times[m] + found.delay;
            if (found.at >= 0 && s < net.duration) {
                visit(s, found.weight);
            }
        }
    }
}

}  // namespace evprop
