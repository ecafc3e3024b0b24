// Backward: the exact adjoint (src/adjoint/, where the equations are told). One block plays one sample at a time, latest
// spike first; its threads share the neurons. A neuron's lambda is one exponential pair between its nodes (own spikes,
// releases, looks of readouts), so an arrival at s reads the first node strictly after s.
//
// Whatever a thread adds to belongs to one of its neurons: the weights and delays of the synapses onto it, its constants.
// What is shared, dL/dt of a spike and the delay of a sender, is summed over the block in one order. A block plays the
// samples b, b + blocks, ... of the launch into gradients of its own, and `total` adds those up in order.
#pragma once
#include "arrivals.cuh"
#include "block.cuh"
#include "life.cuh"
#include "weighting.cuh"

namespace evprop {

// Where gradients lie in a block's row of them; -1: not asked for.
struct Places {
    i64 tau_mem, tau_syn, v_th, v_reset, i_bias, v_init;
};
struct SynapsePlaces {
    i64 weight, delay;
};

// The cotangent of one readout: of an integral, or (kinks) of arrivals that cut a rise to a maximum short.
struct Cotangent {
    int population, kinks;
    Weighting weighting;
    double* g;      // (slot, unit)
    double* times;  // of kinks
    double* knots;  // of an integral whose weight has no closed form: (block, unit, knot, 2)
    i64 n_knots;
};

template <class T> struct BackwardArgs {
    Network<T> net;
    Own own;
    int n_neurons, n_projections;
    int slots, n_cotangents;
    double* const* dt;  // by population: dL/dt of every spike, given on entry and complete on exit
    const Places* places;  // by population
    const SynapsePlaces* synapses;  // by projection
    T* gradients;       // (block, place)
    T* sample;          // (block, place): of one sample, where max_dw_norm looks at it; else null
    i64 n_places;
    Cotangent* cotangents;
    // What readouts look at, ascending: look[start[slot][n]] .. look[start[slot][n + 1]].
    const i64* look_start;
    const double* look_time;
    const double* look_g;
    // Nodes, (block, most nodes): those of neuron n end at node_end[block][n]; they are filled from the end.
    i64 nodes_per_spike;  // at most
    i64* node_end;
    i64 most_nodes;
    double* node_time;
    T* node_v;
    T* node_i;
    T* direct_v;
    T* direct_i;
    int* node_kind;
    // (block, neuron)
    i64* head;
    i64* at;
    i64* look;
    i64* release;  // how many of the neuron's own spikes have a release still to come
    T* released;  // (block, own spike)
    i64 most_spikes;
    i64* left;  // (block, population)
    double max_dw_norm;  // infinite: none
    double min_vdot;     // floor; negative infinity: none
    double* least_vdot;  // (block)
    double* counts;      // (block, 2): dropped, floored
    int input_times, unused;
};

enum NodeKind { FREE = 1, ENDS_SPAN = 2 };

template <class T> struct Lambda {
    T v, i;
};

template <class T> struct Sweep {
    const BackwardArgs<T>& a;
    i64 slot, block;
    double least_vdot, floored, dropped;

    __device__ i64 row(int n) const { return block * a.n_neurons + n; }
    __device__ i64 node(i64 k) const { return block * a.most_nodes + k; }
    __device__ i64 node_end(int n) const { return a.node_end[row(n)]; }
    __device__ Life<T> life(int n) const {
        Life<T> out = {a.net, a.own, slot, n};
        return out;
    }
    __device__ void add(i64 place, i64 index, T value) const {
        if (place >= 0) {
            a.gradients[block * a.n_places + place + index] += value;
        }
    }
    __device__ const Places& places(int n) const { return a.places[a.net.owner[n]]; }
    __device__ int unit(int n) const { return n - a.net.populations[a.net.owner[n]].first; }

    EVPROP_CALL void push(int n, double time, T v, T i, T direct_v, T direct_i, int kind) const {
        i64 k = node(--a.head[row(n)]);
        a.node_time[k] = time;
        a.node_v[k] = v;
        a.node_i[k] = i;
        a.direct_v[k] = direct_v;
        a.direct_i[k] = direct_i;
        a.node_kind[k] = kind;
    }

    __device__ bool integrates(const Cotangent& c, int n) const { return !c.kinks && c.population == a.net.owner[n]; }

    __device__ double cotangent(const Cotangent& c, int n) const {
        return c.g[slot * a.net.populations[c.population].size + unit(n)];
    }

    __device__ Knots<T> knots(const Cotangent& c, int n) const {
        i64 lane = block * a.net.populations[c.population].size + unit(n);
        return {c.weighting, a.net.neurons[n], c.knots + 2 * c.n_knots * lane};
    }

    // The first node of neuron n strictly after t; node_end(n) where there is none.
    __device__ i64 node_after(int n, double t) const {
        i64 low = a.head[row(n)], high = node_end(n);
        while (low < high) {
            i64 middle = (low + high) / 2;
            if (a.node_time[node(middle)] <= t) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    // lambda of neuron n at s, from node k (which lies after s; beyond the last there is nothing).
    EVPROP_CALL Lambda<T> decayed(int n, i64 k, double s) const {
        Lambda<T> out = {T(0), T(0)};
        if (k == node_end(n)) {
            return out;
        }
        const Neuron<T>& c = a.net.neurons[n];
        i64 at = node(k);
        double d = a.node_time[at] - s;
        Propagator<T> p = propagator(c, T(d));
        out.v = a.node_v[at] * p.mem;
        out.i = a.node_i[at] * p.syn + a.node_v[at] * p.kappa;
        if (a.node_kind[at] & FREE) {
            for (int r = 0; r < a.n_cotangents; ++r) {
                const Cotangent& source = a.cotangents[r];
                if (integrates(source, n)) {
                    double g = cotangent(source, n);
                    if (g != 0.0) {
                        auto end_after = [&](double t) { return a.node_time[node(node_after(n, t))]; };
                        Reach left = knots(source, n).over(s, a.node_time[at], end_after);
                        out.v += T(g * left.u);
                        out.i += T(g * left.i);
                    }
                }
            }
        }
        return out;
    }

    __device__ Lambda<T> at_head(int n, double t) const { return decayed(n, a.head[row(n)], t); }

    // lambda where an arrival finds it.
    EVPROP_CALL Lambda<T> at_arrival(int n, double s) const {
        i64 k = a.at[row(n)], head = a.head[row(n)], end = node_end(n);
        k = k < head ? head : k;
        while (k > head && a.node_time[node(k - 1)] > s) {
            --k;
        }
        while (k < end && a.node_time[node(k)] <= s) {
            ++k;
        }
        a.at[row(n)] = k;
        return decayed(n, k, s);
    }

    // The end of the trial, and what is felt from the start on of V held at its reset.
    __device__ void begin(int n) const {
        Life<T> own = life(n);
        const i64* looks = a.look_start + slot * (a.n_neurons + 1);
        // neurons that don't spike come after all that do
        const i64* start = a.own.start + slot * (a.net.n_lif + 1);
        i64 spikes = start[n < a.net.n_lif ? n + 1 : a.net.n_lif] - start[0];
        i64 end = (n + 1) + a.nodes_per_spike * spikes + (looks[n + 1] - looks[0]);
        a.node_end[row(n)] = end;
        a.head[row(n)] = end;
        a.at[row(n)] = end;
        a.look[row(n)] = looks[n + 1];
        a.release[row(n)] = own.spikes();
        bool looked_at = false;
        for (int r = 0; r < a.n_cotangents; ++r) {
            const Cotangent& source = a.cotangents[r];
            if (!integrates(source, n)) {
                continue;
            }
            looked_at = true;
            if (source.weighting.shape != CLOSED) {
                knots(source, n).clear(a.net.duration);
            }
            double g = cotangent(source, n);
            for (int k = 1; k <= own.spikes() && own.has_held_part(k); ++k) {
                Span<T> held = own.held_part(k);
                double one = reach(source.weighting, own.neuron(), held.start, held.end - held.start).one;
                add(places(n).v_reset, unit(n), T(g * one));
            }
        }
        if (looked_at) {
            bool held = own.spikes() > 0 && own.free_part(own.spikes()).held;
            push(n, a.net.duration, T(0), T(0), T(0), T(0), ENDS_SPAN | (held ? 0 : FREE));
        }
    }

    // The latest look of a readout at neuron n, or release, that has no node yet; before all where there is none.
    __device__ double next_look(int n) const {
        i64 k = a.look[row(n)];
        return k > a.look_start[slot * (a.n_neurons + 1) + n] ? a.look_time[k - 1] : -infinite();
    }
    __device__ double next_release(int n) const {
        Life<T> own = life(n);
        i64& k = a.release[row(n)];
        for (; k > 0; --k) {
            double time = own.spike((int)k - 1), release = time + a.net.neurons[n].t_ref;
            if (release > time && release < a.net.duration) {
                return release;
            }
        }
        return -infinite();
    }

    // Nodes of neuron n from what happens to it after t.
    EVPROP_CALL void catch_up(int n, double t) const {
        for (;;) {
            double look = next_look(n), release = next_release(n), time = larger(look, release);
            if (!(time > t)) {
                return;
            }
            Lambda<T> lambda = at_head(n, time);
            if (release == time) {
                i64 k = --a.release[row(n)];
                a.released[block * a.most_spikes + life(n).begin() - life(0).begin() + k] = lambda.v;
                push(n, time, T(0), lambda.i, T(0), lambda.i, ENDS_SPAN);
                continue;
            }
            T g = T(a.look_g[--a.look[row(n)]]);
            if (life(n).seen_at(time).held) {
                add(places(n).v_reset, unit(n), g);
            } else if (time <= 0.0) {
                add(places(n).v_init, unit(n), g);
            } else {
                push(n, time, lambda.v + g, lambda.i, g, T(0), FREE);
            }
        }
    }

    // dL/ds of an arrival that cut a rise to a maximum short, besides what its weight does: the first one met.
    __device__ double kink(int n, double s) const {
        double felt = 0.0;
        for (int r = 0; r < a.n_cotangents; ++r) {
            const Cotangent& c = a.cotangents[r];
            if (c.kinks && c.population == a.net.owner[n]) {
                i64 at = slot * a.net.populations[c.population].size + unit(n);
                if (c.g[at] != 0.0 && c.times[at] == s) {
                    felt += c.g[at];
                    c.g[at] = 0.0;
                }
            }
        }
        return felt;
    }

    // This thread's share of all arrivals of a spike through one projection; the sender's dL/dt through it.
    __device__ double arrivals(int number, u32 sender, double time) const {
        const Projection<T>& q = a.net.projections[number];
        const SynapsePlaces& at = a.synapses[number];
        const Population& post = a.net.populations[q.post];
        T* weights = (a.sample == nullptr ? a.gradients : a.sample) + block * a.n_places;
        double sum = 0.0;
        // A neuron has one thread throughout: its number in the table of neurons tells which.
        int threads = (int)blockDim.x, skip = ((int)threadIdx.x - post.first % threads + threads) % threads;
        for (int target = skip; target < post.size; target += threads) {
            int n = post.first + target;
            Synapse<T> found = synapse(q, sender, target);
            double s = time + found.delay;
            if (found.at < 0 || !(s < a.net.duration)) {
                continue;
            }
            const Neuron<T>& c = a.net.neurons[n];
            Lambda<T> lambda = at_arrival(n, s);
            T slope = found.weight * (lambda.i * c.inv_syn - lambda.v * c.inv_mem) + T(kink(n, s));
            if (at.weight >= 0) {
                weights[at.weight + found.at] += lambda.i;
            }
            if (q.delay_kind == DENDRITIC) {
                add(at.delay, target, slope);
            } else if (q.delay_kind == SYNAPTIC) {
                add(at.delay, found.at, slope);
            }
            sum += (double)slope;
        }
        return sum;
    }

    // All arrivals of a spike; its dL/dt through them, known to every thread.
    __device__ double all_arrivals(int population, u32 sender, double time, bool needed) const {
        double all = 0.0;
        for (int number = 0; number < a.n_projections; ++number) {
            const Projection<T>& q = a.net.projections[number];
            if (q.pre != population) {
                continue;
            }
            double mine = arrivals(number, sender, time);
            bool axonal = q.delay_kind == AXONAL && a.synapses[number].delay >= 0;
            if (needed || axonal) {
                double through = sum_of_block(mine);
                if (axonal && threadIdx.x == 0) {
                    add(a.synapses[number].delay, sender, T(through));
                }
                all += through;
                __syncthreads();
            }
        }
        return all;
    }

    // Spike number k of neuron n, place `at` among its population's, all of whose arrivals are in dL/dt.
    EVPROP_CALL void settle(int n, int k, i64 at, double* dt) {
        const Neuron<T>& c = a.net.neurons[n];
        const Trains<T>& train = a.net.trains[a.net.owner[n]];
        double time = train.times[at];
        T current = train.current[at];
        Lambda<T> after = at_head(n, time);
        T slope = (current - c.u_reset) * c.inv_mem;
        if (time + c.t_ref > time) {
            bool free = time + c.t_ref < a.net.duration;
            after.v = free ? a.released[block * a.most_spikes + life(n).begin() - life(0).begin() + k] : T(0);
            slope = free ? (train.release[at] - c.u_reset) * c.inv_mem : T(0);
        }
        double sum = *dt;
        for (int r = 0; r < a.n_cotangents; ++r) {
            const Cotangent& source = a.cotangents[r];
            if (integrates(source, n)) {
                double g = cotangent(source, n);
                sum += g * weight_at(source.weighting, time) * (double)(c.theta - c.u_reset);
            }
        }
        T total = T(sum) - slope * after.v;
        *dt = (double)total;
        T vdot = (current - c.theta) * c.inv_mem;
        least_vdot = smaller(least_vdot, (double)vdot);
        if ((double)vdot < a.min_vdot) {
            vdot = T(a.min_vdot);
            floored += 1.0;
        }
        T shift = total / vdot;
        add(places(n).v_th, unit(n), shift);
        add(places(n).v_reset, unit(n), after.v);
        push(n, time, -shift, after.i, -shift, after.i, FREE | ENDS_SPAN);
    }

    // -- constants: the state at a node is linear in the state at its span's start and in each arrival ----------------

    struct Taus {
        double m, s;
    };

    // Visits the nodes of neuron n after s up to the one that ends the span; tells that one's number.
    template <class F> __device__ i64 each_node(int n, double s, F visit) const {
        i64 last = -1, end = node_end(n);
        for (i64 k = node_after(n, s); k < end; ++k) {
            visit(node(k), a.node_time[node(k)] - s);
            last = k;
            if (a.node_kind[node(k)] & ENDS_SPAN) {
                break;
            }
        }
        return last;
    }

    EVPROP_CALL void start_of_span(int n, const Span<T>& span, Taus& tau, double& bias) const {
        const Neuron<T>& c = a.net.neurons[n];
        double tm = (double)c.tau_mem, ts = (double)c.tau_syn, u = (double)span.u, i = (double)span.i;
        each_node(n, span.start, [&](i64 k, double d) {
            double gv = (double)a.direct_v[k], gi = (double)a.direct_i[k];
            if (gv != 0.0) {
                tau.m += gv * (i * kappa_dtm(d, tm, ts) + u * decay_dtau(d, tm));
                tau.s += gv * i * kappa_dts(d, tm, ts);
                bias += gv * rise(d, tm);
            }
            if (gi != 0.0) {
                tau.s += gi * i * decay_dtau(d, ts);
            }
        });
        if (span.held) {
            return;
        }
        for (int r = 0; r < a.n_cotangents; ++r) {
            const Cotangent& source = a.cotangents[r];
            if (integrates(source, n)) {
                double g = cotangent(source, n);
                double d = span.end - span.start;
                const Weighting& w = source.weighting;
                bias += g * bias_reach(w, c, span.start, d);
                ReachOfTaus felt = current_dtau(w, c, span.start, d);
                tau.m += g * (i * felt.m + u * voltage_dtm(w, c, span.start, d));
                tau.s += g * i * felt.s;
            }
        }
    }

    EVPROP_CALL void arrival_felt(int n, double s, double weight, Taus& tau) const {
        const Neuron<T>& c = a.net.neurons[n];
        double tm = (double)c.tau_mem, ts = (double)c.tau_syn;
        i64 last = each_node(n, s, [&](i64 k, double d) {
            double gv = (double)a.direct_v[k], gi = (double)a.direct_i[k];
            if (gv != 0.0) {
                tau.m += weight * gv * kappa_dtm(d, tm, ts);
                tau.s += weight * gv * kappa_dts(d, tm, ts);
            }
            if (gi != 0.0) {
                tau.s += weight * gi * decay_dtau(d, ts);
            }
        });
        if (last < 0 || !(a.node_kind[node(last)] & FREE)) {
            return;
        }
        double d = a.node_time[node(last)] - s;
        for (int r = 0; r < a.n_cotangents; ++r) {
            const Cotangent& source = a.cotangents[r];
            if (integrates(source, n)) {
                double g = weight * cotangent(source, n);
                if (g != 0.0) {
                    ReachOfTaus felt = current_dtau(source.weighting, c, s, d);
                    tau.m += g * felt.m;
                    tau.s += g * felt.s;
                }
            }
        }
    }

    EVPROP_CALL void constants(int n) const {
        const Places& at = places(n);
        if (at.tau_mem < 0 && at.tau_syn < 0 && at.i_bias < 0) {
            return;
        }
        Life<T> own = life(n);
        Taus tau = {0.0, 0.0};
        double bias = 0.0;
        for (int k = 0; k <= own.spikes(); ++k) {
            if (own.has_held_part(k)) {
                start_of_span(n, own.held_part(k), tau, bias);
            }
            Span<T> free = own.free_part(k);
            if (!free.held) {
                start_of_span(n, free, tau, bias);
            }
        }
        add(at.i_bias, unit(n), T(bias));
        if (at.tau_mem >= 0 || at.tau_syn >= 0) {
            each_arrival(a.net, slot, n, [&](double s, T w) { arrival_felt(n, s, (double)w, tau); });
            add(at.tau_mem, unit(n), T(tau.m));
            add(at.tau_syn, unit(n), T(tau.s));
        }
    }

    // Adds the sample's weight gradients, but not those of neurons where one exceeds max_dw_norm.
    __device__ void drop_large(int n) {
        const Population& own = a.net.populations[a.net.owner[n]];
        T* mine = a.sample + block * a.n_places;
        double largest = 0.0;
        for (int pass = 0; pass < 2; ++pass) {
            for (int k = 0; k < own.n_inlets; ++k) {
                int number = a.net.incoming[own.inlets + k];
                const Projection<T>& q = a.net.projections[number];
                i64 place = a.synapses[number].weight;
                int senders = place < 0 ? 0 : a.net.populations[q.pre].size;
                for (int j = 0; j < senders; ++j) {
                    i64 at = synapse_at(q, (u32)j, unit(n));
                    if (at < 0) {
                        continue;
                    }
                    T& g = mine[place + at];
                    if (pass == 0) {
                        largest = magnitude((double)g) > largest ? magnitude((double)g) : largest;
                    } else {
                        if (largest <= a.max_dw_norm) {
                            add(place, at, g);
                        }
                        g = T(0);
                    }
                }
            }
        }
        dropped += largest > a.max_dw_norm ? 1.0 : 0.0;
    }
};

template <class T> __device__ void play_back(Sweep<T>& sweep) {
    const BackwardArgs<T>& a = sweep.a;
    const Network<T>& net = a.net;
    i64 slot = sweep.slot;
    i64* left = a.left + sweep.block * net.n_populations;
    for (int n = threadIdx.x; n < a.n_neurons; n += blockDim.x) {
        sweep.begin(n);
    }
    for (int p = threadIdx.x; p < net.n_populations; p += blockDim.x) {
        left[p] = net.trains[p].count[slot];
    }
    __syncthreads();
    for (;;) {
        int latest = -1;
        double time = 0.0;
        i64 at = 0;
        for (int p = 0; p < net.n_populations; ++p) {
            if (net.populations[p].kind == LIF && left[p] > 0) {
                i64 last = net.trains[p].first[slot] + left[p] - 1;
                if (latest < 0 || net.trains[p].times[last] >= time) {
                    latest = p;
                    at = last;
                    time = net.trains[p].times[last];
                }
            }
        }
        if (latest < 0) {
            break;
        }
        for (int n = threadIdx.x; n < a.n_neurons; n += blockDim.x) {
            sweep.catch_up(n, time);
        }
        __syncthreads();
        u32 unit = net.trains[latest].units[at];
        double through = sweep.all_arrivals(latest, unit, time, true);
        int n = net.populations[latest].first + (int)unit;
        if (n % (int)blockDim.x == (int)threadIdx.x) {
            double* dt = a.dt[latest] + at;
            *dt += through;
            int k = sweep.life(n).spikes_before(time, false);
            sweep.settle(n, k, at, dt);
        }
        if (threadIdx.x == 0) {
            left[latest] -= 1;
        }
        __syncthreads();
    }
    for (int n = threadIdx.x; n < a.n_neurons; n += blockDim.x) {
        sweep.catch_up(n, -1.0);
    }
    __syncthreads();
    for (int p = 0; p < net.n_populations; ++p) {
        if (net.populations[p].kind == INPUT) {
            const Trains<T>& train = net.trains[p];
            for (i64 k = train.first[slot] + train.count[slot] - 1; k >= train.first[slot]; --k) {
                double through = sweep.all_arrivals(p, train.units[k], train.times[k], a.input_times != 0);
                if (threadIdx.x == 0) {
                    a.dt[p][k] += through;
                }
            }
        }
    }
    for (int n = threadIdx.x; n < a.n_neurons; n += blockDim.x) {
        sweep.add(sweep.places(n).v_init, sweep.unit(n), sweep.at_head(n, 0.0).v);
        sweep.constants(n);
        if (a.sample != nullptr) {
            sweep.drop_large(n);
        }
    }
    __syncthreads();
}

template <class T> __device__ void backward(const BackwardArgs<T>& a) {
    Sweep<T> sweep = {a, 0, blockIdx.x, infinite(), 0.0, 0.0};
    for (i64 slot = blockIdx.x; slot < a.slots; slot += gridDim.x) {
        sweep.slot = slot;
        play_back(sweep);
    }
    Earliest mine = {sweep.least_vdot, 0};
    double least = earliest_of_block(mine).time;
    double dropped = sum_of_block(sweep.dropped);
    __syncthreads();
    double floored = sum_of_block(sweep.floored);
    if (threadIdx.x == 0) {
        a.least_vdot[blockIdx.x] = least;
        a.counts[2 * blockIdx.x] = dropped;
        a.counts[2 * blockIdx.x + 1] = floored;
    }
}

// The gradients of all blocks, added up in order into those of the first.
template <class T> struct TotalArgs {
    T* gradients;
    i64 n_places, blocks;
};

template <class T> __device__ void total(const TotalArgs<T>& a) {
    for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < a.n_places; k += (i64)gridDim.x * blockDim.x) {
        double sum = 0.0;
        for (i64 b = 0; b < a.blocks; ++b) {
            sum += (double)a.gradients[b * a.n_places + k];
        }
        a.gradients[k] = T(sum);
    }
}

}  // namespace evprop
