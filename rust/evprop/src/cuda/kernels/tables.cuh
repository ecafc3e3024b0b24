// What the host hands over: the network, its parameters, the spikes of a batch, and storage for the blocks. Laid out
// like src/cuda/tables.rs. A slot is a sample of this launch; block b plays slot b.
#pragma once
#include "neuron.cuh"

namespace evprop {

enum Kind { INPUT = 0, LIF = 1, LI = 2 };
enum Delay { NONE = 0, AXONAL = 1, DENDRITIC = 2, SYNAPTIC = 3 };
enum Code { FINE = 0, SPIKES_FULL = 1, ARRIVALS_FULL = 2, RUNAWAY = 3 };

struct Population {
    int kind, size;
    int first;    // its first neuron in the table of neurons (LIF populations first, then LI); none for inputs
    int inlets;   // its first entry in `incoming`
    int n_inlets;
    int unused;
};

template <class T> struct Projection {
    int pre, post;
    int delay_kind, n_post;
    double longest;  // delay, ms
    const T* weight;
    const T* delay;
    const i64* indptr;  // null: dense
    const u32* targets;
};

// The spikes of one population, by slot: first[slot] .. first[slot] + count[slot].
template <class T> struct Trains {
    double* times;
    u32* units;
    T* current;
    T* release;
    i64* first;
    i64* count;
    i64 room;  // most spikes of a slot that there is room for
};

struct Status {
    int code, population;
    double time;
};

// A neuron's own spikes: numbers of its population's spikes, index[start[slot][n]] .. index[start[slot][n + 1]].
struct Own {
    const i64* start;
    const int* index;
};

// Lists of arrivals, [slot][entry][lane]; a lane is a neuron.
template <class T> struct ListTable {
    int* len;
    double* due;
    T* charge;
    int room;  // entries of a list
    int lanes;
};

// Storage of the forward pass: [slot][neuron].
template <class T> struct Scratch {
    double* time;
    double* hold;
    double* cross;  // the next crossing under all arrivals known so far, if it lies within the window
    T* u;
    T* i;
    T* cross_i;
    i64* last;  // number of the neuron's last spike among its population's
    int* past;  // how many of the arrivals in its list are over
};

template <class T> struct Network {
    const Population* populations;
    const Projection<T>* projections;
    const int* incoming;
    const Neuron<T>* neurons;
    const int* owner;  // population of each neuron
    const Trains<T>* trains;
    int n_populations, n_lif;
    double duration;
};

template <class T> struct ForwardArgs {
    Network<T> net;
    Scratch<T> scratch;
    ListTable<T> lists;
    Status* status;
    double window;  // ms
    i64 windows;
    i64 max_spikes;
    i64 stop;  // the population whose first spikes end a sample; -1: none
};

// One synapse: its place in the weights, its weight and its delay.
template <class T> struct Synapse {
    i64 at;  // -1: there is none
    T weight;
    double delay;
};

template <class T> __device__ __forceinline__ i64 synapse_at(const Projection<T>& q, u32 sender, int target) {
    if (q.indptr == nullptr) {
        return (i64)sender * q.n_post + target;
    }
    i64 low = q.indptr[sender], end = q.indptr[sender + 1], high = end;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (q.targets[middle] < (u32)target) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < end && q.targets[low] == (u32)target ? low : -1;
}

template <class T> EVPROP_CALL Synapse<T> synapse(const Projection<T>& q, u32 sender, int target) {
    Synapse<T> found = {synapse_at(q, sender, target), T(0), 0.0};
    if (found.at >= 0) {
        found.weight = q.weight[found.at];
        switch (q.delay_kind) {
            case AXONAL: found.delay = (double)q.delay[sender]; break;
            case DENDRITIC: found.delay = (double)q.delay[target]; break;
            case SYNAPTIC: found.delay = (double)q.delay[found.at]; break;
        }
    }
    return found;
}

// The first of n ascending times t with t + ahead >= from.
__device__ __forceinline__ i64 first_from(const double* times, i64 n, double ahead, double from) {
    i64 low = 0, high = n;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (times[middle] + ahead >= from) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

}  // namespace evprop
