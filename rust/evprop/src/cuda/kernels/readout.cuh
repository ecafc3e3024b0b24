// Readouts of V in closed form (src/simulate/readout.rs): linear in the start of each span and in each arrival, so nothing
// is stepped; only the maximum walks from arrival to arrival. One block a sample, threads over the neurons read.
#pragma once
#include "arrivals.cuh"
#include "life.cuh"
#include "weighting.cuh"

namespace evprop {

enum Functional { INTEGRAL = 0, SAMPLED = 1, MAXIMUM = 2 };

struct Readout {
    int functional, population;
    Weighting weighting;
    double scale;
    const double* times;  // of SAMPLED, ascending
    i64 n_times;
    double* values;  // (slot, time, unit)
    double* peaks;   // of MAXIMUM: when, and dV/dt there, (slot, unit, 2)
    double* knots;   // of INTEGRAL, where the weight has no closed form: (slot, unit, knot, 2)
    i64 n_knots;
};

template <class T> struct ReadoutArgs {
    Network<T> net;
    Own own;
    ListTable<T> lists;
    const Readout* readouts;
    Status* status;
    double window;
    i64 windows;
    i64 n_readouts;
};

template <class T> __device__ double integral(const Life<T>& life, const Weighting& weighting, double* table) {
    const Neuron<T>& c = life.neuron();
    Knots<T> knots = {weighting, c, table};
    if (weighting.shape != CLOSED) {
        knots.clear(life.net.duration);
    }
    auto end_after = [&](double t) { return life.at_arrival(t).end; };
    double bias = (double)c.bias, y = 0.0;
    for (int k = 0; k <= life.spikes(); ++k) {
        if (life.has_held_part(k)) {
            Span<T> held = life.held_part(k);
            Reach r = reach(weighting, c, held.start, held.end - held.start);
            y += ((double)held.u + bias) * r.one;
        }
        Span<T> free = life.free_part(k);
        if (!free.held) {
            Reach r = reach(weighting, c, free.start, free.end - free.start);
            y += (double)free.u * r.u + (double)free.i * r.i + bias * r.one;
        }
    }
    each_arrival(life.net, life.slot, life.n, [&](double s, T w) {
        Span<T> span = life.at_arrival(s);
        if (!span.held) {
            y += (double)w * knots.over(s, span.end, end_after).i;
        }
    });
    return y;
}

template <class T>
__device__ void samples(const Life<T>& life, const double* times, i64 n_times, double* y, i64 stride) {
    const Neuron<T>& c = life.neuron();
    double bias = (double)c.bias, tm = (double)c.tau_mem, ts = (double)c.tau_syn;
    for (i64 j = 0; j < n_times; ++j) {
        Span<T> span = life.seen_at(times[j]);
        double d = larger(times[j] - span.start, 0.0);
        y[j * stride] = span.held ? (double)span.u + bias
                                  : bias + (double)span.u * decay(d, tm) + (double)span.i * kappa(d, tm, ts);
    }
    each_arrival(life.net, life.slot, life.n, [&](double s, T w) {
        Span<T> span = life.at_arrival(s);
        if (span.held) {
            return;
        }
        i64 from = 0, end = n_times;
        while (from < end) {
            i64 middle = (from + end) / 2;
            if (times[middle] <= s) {
                from = middle + 1;
            } else {
                end = middle;
            }
        }
        for (i64 j = from; j < n_times && times[j] <= span.end; ++j) {
            y[j * stride] += (double)w * kappa(times[j] - s, tm, ts);
        }
    });
}

// The largest u of a neuron so far, and where it was first reached.
template <class T> struct Peak {
    T u, i;
    double now;
    T best;
    double time, slope;

    __device__ void look(T seen, double at, double rising) {
        if (seen > best) {
            best = seen;
            time = at;
            slope = rising;
        }
    }

    // To the next arrival, or to the trial's end.
    __device__ void go(const Neuron<T>& c, double until, bool to_arrival) {
        if (until > now) {
            T d = T(until - now);
            if (i > T(0) && i > u) {
                T peak = peak_time(c, u, i);
                if (peak < d) {
                    Propagator<T> p = propagator(c, peak);
                    look(u * p.mem + i * p.kappa, now + (double)peak, 0.0);
                }
            }
            Propagator<T> p = propagator(c, d);
            u = u * p.mem + i * p.kappa;
            i = i * p.syn;
            now = until;
            T rising = to_arrival ? larger((i - u) * c.inv_mem, T(0)) : T(0);
            look(u, now, (double)rising);
        }
    }
};

template <class T> __device__ void readout(const ReadoutArgs<T>& a) {
    __shared__ int code;
    if (threadIdx.x == 0) {
        code = FINE;
    }
    __syncthreads();
    i64 slot = blockIdx.x;
    Lists<T> lists = {a.net, a.lists, slot, &code};
    for (i64 k = 0; k < a.n_readouts; ++k) {
        const Readout& asked = a.readouts[k];
        const Population& population = a.net.populations[asked.population];
        i64 width = asked.functional == SAMPLED ? asked.n_times : 1;
        for (int unit = threadIdx.x; unit < population.size; unit += blockDim.x) {
            Life<T> life = {a.net, a.own, slot, population.first + unit};
            double* y = asked.values + slot * width * population.size + unit;
            const Neuron<T>& c = life.neuron();
            if (asked.functional == INTEGRAL) {
                double* knots = asked.knots + 2 * asked.n_knots * (slot * population.size + unit);
                *y = integral(life, asked.weighting, knots) * asked.scale;
            } else if (asked.functional == SAMPLED) {
                samples(life, asked.times, asked.n_times, y, population.size);
            } else {
                double* peak = asked.peaks + 2 * (slot * population.size + unit);
                if (life.spikes() > 0) {
                    *y = (double)c.theta + (double)c.bias;
                    peak[0] = infinite() - infinite();
                    peak[1] = 0.0;
                    continue;
                }
                Peak<T> top = {c.u_init, T(0), 0.0, c.u_init, 0.0, 0.0};
                for (i64 w = 1; w <= a.windows; ++w) {
                    double from = (double)(w - 1) * a.window;
                    lists.gather(life.n, from, w == a.windows ? infinite() : (double)w * a.window);
                    for (int m = 0; m < lists.len(life.n); ++m) {
                        top.go(c, lists.due(life.n, m), true);
                        top.i += lists.charge(life.n, m);
                    }
                }
                top.go(c, a.net.duration, false);
                *y = (double)top.best + (double)c.bias;
                peak[0] = top.time;
                peak[1] = top.slope;
            }
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        a.status[slot].code = code;
    }
}

}  // namespace evprop
