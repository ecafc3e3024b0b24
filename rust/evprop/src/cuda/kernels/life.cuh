// The life of a neuron cut at its own spikes (src/record/spans.rs): spans of free flow, and spans in which V is held.
#pragma once
#include "tables.cuh"

namespace evprop {

template <class T> struct Span {
    double start, end;
    T u, i;
    bool held;
};

// One neuron in one slot. Its life number k begins with its spike number k - 1, life 0 with the trial.
template <class T> struct Life {
    const Network<T>& net;
    const Own& own;
    i64 slot;
    int n;

    __device__ const Neuron<T>& neuron() const { return net.neurons[n]; }
    __device__ const Trains<T>& train() const { return net.trains[net.owner[n]]; }
    __device__ i64 begin() const { return n < net.n_lif ? own.start[slot * (net.n_lif + 1) + n] : 0; }
    __device__ int spikes() const {
        return n < net.n_lif ? (int)(own.start[slot * (net.n_lif + 1) + n + 1] - begin()) : 0;
    }
    // Place of its spike number k among all of its population.
    __device__ i64 place(int k) const { return train().first[slot] + own.index[begin() + k]; }
    __device__ double spike(int k) const { return train().times[place(k)]; }

    // How many of its spikes lie before t (or at t).
    __device__ int spikes_before(double t, bool or_at) const {
        int low = 0, high = spikes();
        while (low < high) {
            int middle = (low + high) / 2;
            double time = spike(middle);
            if (time < t || (or_at && time == t)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    __device__ double end_of(int life) const { return life < spikes() ? spike(life) : net.duration; }

    // The free part of a life; empty (held) where V is held to the trial's end.
    EVPROP_CALL Span<T> free_part(int life) const {
        const Neuron<T>& c = neuron();
        Span<T> span = {0.0, end_of(life), c.u_init, T(0), false};
        if (life > 0) {
            i64 at = place(life - 1);
            double time = train().times[at];
            span.u = c.u_reset;
            span.start = time;
            span.i = train().current[at];
            if (c.t_ref > 0.0) {
                span.start = smaller(time + c.t_ref, net.duration);
                span.held = !(time + c.t_ref < net.duration);
                span.i = span.held ? T(0) : train().release[at];
            }
        }
        return span;
    }

    __device__ bool has_held_part(int life) const { return life > 0 && neuron().t_ref > 0.0; }

    EVPROP_CALL Span<T> held_part(int life) const {
        i64 at = place(life - 1);
        double time = train().times[at];
        Span<T> span = {time, smaller(time + neuron().t_ref, net.duration), neuron().u_reset, train().current[at], true};
        return span;
    }

    // The span that an arrival at s belongs to (a spike at s came before it).
    EVPROP_CALL Span<T> at_arrival(double s) const {
        int life = spikes_before(s, true);
        Span<T> free = free_part(life);
        return has_held_part(life) && (free.held || s < free.start) ? held_part(life) : free;
    }

    // The span whose voltage is seen at t (at a spike: the one that ends there).
    EVPROP_CALL Span<T> seen_at(double t) const {
        int life = spikes_before(t, false);
        Span<T> free = free_part(life);
        return has_held_part(life) && (free.held || t <= free.start) ? held_part(life) : free;
    }
};

}  // namespace evprop
