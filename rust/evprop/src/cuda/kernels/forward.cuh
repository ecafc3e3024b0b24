// Forward: one block plays one sample, its threads share the LIF neurons.
//
// Time is cut into windows. At the start of one, each thread gathers the arrivals of its neurons within it from all spikes
// so far, and walks along them to each neuron's first crossing. The earliest crossing of all is a spike: nothing unknown
// comes before it. Its arrivals within the window join the lists of their targets, which walk again where these come
// before their own crossing. When no crossing is left the window is over. Where windows end changes no result: a neuron's
// state stands at its own last event, and arrivals of one instant are added in one order (projections as listed, senders
// by time; those of spikes within the window last).
//
// Spikes are found in the order of time, so a sample that ends when every neuron of one population has spiked ends there:
// with the last of these spikes and those of the same instant.
//
// Order at one instant: all crossings (by population and unit), then all arrivals. An arrival at the trial's end or later
// has no effect.
#pragma once
#include "arrivals.cuh"
#include "block.cuh"

namespace evprop {

template <class T> struct Play {
    const ForwardArgs<T>& a;
    i64 slot;
    Lists<T> lists;
    double until;   // where the window ends
    bool final_window;

    __device__ i64 cell(int n) const { return slot * a.net.n_lif + n; }

    __device__ Cell<T> load(int n) const {
        const Scratch<T>& x = a.scratch;
        i64 at = cell(n);
        Cell<T> out = {x.time[at], x.hold[at], x.u[at], x.i[at]};
        return out;
    }

    __device__ void store(int n, const Cell<T>& c) const {
        const Scratch<T>& x = a.scratch;
        i64 at = cell(n);
        x.time[at] = c.time;
        x.hold[at] = c.hold;
        x.u[at] = c.u;
        x.i[at] = c.i;
    }

    __device__ void begin(int n) const {
        Cell<T> start = {0.0, 0.0, a.net.neurons[n].u_init, T(0)};
        store(n, start);
        a.scratch.last[cell(n)] = -1;
    }

    // The arrivals of neuron n within the window of all spikes so far.
    __device__ void gather(int n, double from) const {
        lists.gather(n, from, until);
        a.scratch.past[cell(n)] = 0;
    }

    // Where the current at the release after the last spike of neuron n goes.
    __device__ T* released(int n) const {
        i64 last = a.scratch.last[cell(n)];
        const Trains<T>& train = a.net.trains[a.net.owner[n]];
        return last < 0 ? nullptr : train.release + train.first[slot] + last;
    }

    // Plays the arrivals of neuron n before `time`, which is no later than its next crossing.
    __device__ void settle(int n, double time) const {
        const Scratch<T>& x = a.scratch;
        int past = x.past[cell(n)], len = lists.len(n);
        if (past == len || !(lists.due(n, past) < time)) {
            return;
        }
        Cell<T> c = load(n);
        for (; past < len && lists.due(n, past) < time; ++past) {
            flow_to(a.net.neurons[n], c, lists.due(n, past), released(n));
            c.i += lists.charge(n, past);
        }
        store(n, c);
        x.past[cell(n)] = past;
    }

    // Finds the next crossing of neuron n within the window.
    __device__ void walk(int n) const {
        const Scratch<T>& x = a.scratch;
        const Neuron<T>& neuron = a.net.neurons[n];
        Cell<T> c = load(n);
        int len = lists.len(n);
        double cross = infinite();
        for (int k = x.past[cell(n)];; ++k) {
            double next = k < len ? lists.due(n, k) : infinite();
            double bound = earliest(neuron, c);
            if (bound <= next && (bound < until || final_window) && bound <= a.net.duration) {
                Free<T> free = free_state(neuron, c);
                T span = T(larger(a.net.duration - free.start, 0.0));
                Crossing<T> found = first_crossing(neuron, free.u, free.i, span);
                double time = smaller(free.start + (double)found.s, a.net.duration);
                if (found.found && time <= next) {
                    if (time < until || final_window) {
                        cross = time;
                        x.cross_i[cell(n)] = found.at;
                    }
                    break;
                }
            }
            if (k == len) {
                break;
            }
            flow_to(neuron, c, next, (T*)nullptr);
            c.i += lists.charge(n, k);
        }
        x.cross[cell(n)] = cross;
    }

    // Neuron n spikes at its crossing: the record, and its state.
    EVPROP_CALL void fire(int n, double time) const {
        const Scratch<T>& x = a.scratch;
        const Neuron<T>& neuron = a.net.neurons[n];
        int p = a.net.owner[n];
        const Trains<T>& train = a.net.trains[p];
        settle(n, time);
        release_by(n, time);
        i64 count = train.count[slot];
        if (count + 1 > a.max_spikes || count == train.room) {
            *lists.code = count + 1 > a.max_spikes ? RUNAWAY : SPIKES_FULL;
            a.status[slot].population = p;
            a.status[slot].time = time;
            return;
        }
        T current = x.cross_i[cell(n)];
        i64 at = train.first[slot] + count;
        train.times[at] = time;
        train.units[at] = (u32)(n - a.net.populations[p].first);
        train.current[at] = current;
        train.release[at] = time + neuron.t_ref > time ? T(0) : current;
        train.count[slot] = count + 1;
        x.last[cell(n)] = count;
        Cell<T> c = {time, time + neuron.t_ref, neuron.u_reset, current};
        store(n, c);
    }

    // Notes the current at a release that has come by `time` without an arrival to note it.
    __device__ void release_by(int n, double time) const {
        Cell<T> c = load(n);
        if (c.hold > c.time && c.hold <= time) {
            *released(n) = c.i * exp_neg(-(T(c.hold - c.time) * a.net.neurons[n].inv_syn));
        }
    }

    // The arrival at neuron n of the spike of neuron `who`.
    __device__ void receive(int n, int who, double time) const {
        int sender = a.net.owner[who];
        const Population& own = a.net.populations[a.net.owner[n]];
        double first = infinite();
        for (int k = 0; k < own.n_inlets; ++k) {
            const Projection<T>& q = a.net.projections[a.net.incoming[own.inlets + k]];
            if (q.pre == sender) {
                int unit = who - a.net.populations[sender].first;
                Synapse<T> found = synapse(q, (u32)unit, n - own.first);
                double s = time + found.delay;
                if (found.at >= 0 && s < until && s < a.net.duration) {
                    lists.insert(n, s, found.weight);
                    first = smaller(first, s);
                }
            }
        }
        if (n == who || first < a.scratch.cross[cell(n)]) {
            if (n != who) {
                settle(n, time);
            }
            walk(n);
        }
    }
};

template <class T> __device__ void forward(const ForwardArgs<T>& a) {
    __shared__ int code, silent;  // silent: neurons of the population `stop` that have not spiked
    __shared__ double last;       // no spike after this is asked for
    if (threadIdx.x == 0) {
        code = FINE;
        silent = a.stop < 0 ? 0 : a.net.populations[a.stop].size;
        last = infinite();
    }
    __syncthreads();
    Play<T> play = {a, blockIdx.x, {a.net, a.lists, blockIdx.x, &code}, 0.0, false};
    for (int n = threadIdx.x; n < a.net.n_lif; n += blockDim.x) {
        play.begin(n);
    }
    double from = 0.0;
    bool going = true;
    for (i64 w = 1; going; ++w) {
        play.final_window = w >= a.windows;
        play.until = play.final_window ? infinite() : (double)w * a.window;
        for (int n = threadIdx.x; n < a.net.n_lif; n += blockDim.x) {
            play.gather(n, from);
            play.walk(n);
        }
        __syncthreads();
        for (;;) {
            // Written only between the barriers of the reduction and the one at the end: all threads read the same.
            if (code != FINE) {
                going = false;
                break;
            }
            double bound = last;
            Earliest mine = {infinite(), 0x7fffffff};
            for (int n = threadIdx.x; n < a.net.n_lif; n += blockDim.x) {
                Earliest own = {a.scratch.cross[play.cell(n)], n};
                mine = before(own, mine) ? own : mine;
            }
            Earliest next = earliest_of_block(mine);
            if (next.time > bound || next.time == infinite()) {
                going = bound == infinite();
                break;
            }
            if (next.who % blockDim.x == threadIdx.x) {
                bool first = a.stop == a.net.owner[next.who] && a.scratch.last[play.cell(next.who)] < 0;
                play.fire(next.who, next.time);
                silent -= first ? 1 : 0;
                last = first && silent == 0 ? next.time : last;
            }
            for (int n = threadIdx.x; n < a.net.n_lif; n += blockDim.x) {
                play.receive(n, next.who, next.time);
            }
            __syncthreads();
        }
        __syncthreads();
        if (play.final_window) {
            break;
        }
        for (int n = threadIdx.x; n < a.net.n_lif; n += blockDim.x) {
            play.settle(n, play.until);
        }
        from = play.until;
    }
    for (int n = threadIdx.x; n < a.net.n_lif; n += blockDim.x) {
        play.settle(n, a.net.duration);
        play.release_by(n, a.net.duration);
    }
    if (threadIdx.x == 0) {
        a.status[blockIdx.x].code = code;
    }
}

}  // namespace evprop
