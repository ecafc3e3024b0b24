// Integrals of V under a weight, and their derivatives: src/neuron/reach.rs and src/neuron/panels.rs, where the mathematics
// is told. `s` is the start of a span and `d` its length, in ms.
//
// The weights 1 and e^(-t rate) have closed forms. The others are integrated on panels of at most two of the shortest time
// constants. So that an arrival costs one panel and not all those up to the end of its span, what is left of u and of
// current from a neuron's knots (multiples of its panel) on is kept:
//
//     reach(s, end) = integral to the next knot, and from there what the flow has left of u and i, times reach(knot, end)
#pragma once
#include "closed.cuh"

namespace evprop {

enum Shape { CLOSED = 0, LINEAR = 1, SIGMOID = 2 };

struct Weighting {
    int shape, unused;
    double rate;           // CLOSED: e^(-t rate)
    double centre, width;  // LINEAR: 1 - t / width; SIGMOID: 1 / (1 + e^((t - centre) / width))
};

__device__ inline double weight_at(const Weighting& w, double s) {
    if (w.shape == LINEAR) {
        return 1.0 - s / w.width;
    }
    if (w.shape == SIGMOID) {
        double z = (s - w.centre) / w.width;
        double small = exp_neg(-magnitude(z));
        return z > 0.0 ? small / (1.0 + small) : 1.0 / (1.0 + small);
    }
    return w.rate == 0.0 ? 1.0 : exp_neg(-s * w.rate);
}

template <class T> __device__ double longest_panel(const Weighting& w, const Neuron<T>& c) {
    double fastest = smaller((double)c.tau_mem, (double)c.tau_syn);
    return 2.0 * (w.shape == SIGMOID ? smaller(fastest, w.width) : fastest);
}

// Positive nodes and weights of Gauss-Legendre quadrature with ten nodes (src/neuron/panels.rs).
static __device__ const double NODES[5][2] = {
    {0.14887433898163122, 0.2955242247147529}, {0.4333953941292472, 0.2692667193099963},
    {0.6794095682990244, 0.219086362515982},   {0.8650633666889845, 0.1494513491505806},
    {0.9739065285171717, 0.06667134430868814},
};

// sum[k] += int_s^(s + d) weight(t) f_k(t - s) dt; visit(x, share) adds share * f_k(x).
template <class T, class F> __device__ void on_panels(const Weighting& w, const Neuron<T>& c, double s, double d, F visit) {
    if (!(d > 0.0)) {
        return;
    }
    double wanted = d / longest_panel(w, c);
    i64 count = (i64)wanted;
    count += (double)count < wanted || count == 0 ? 1 : 0;
    double half = 0.5 * d / (double)count;
    for (i64 panel = 0; panel < count; ++panel) {
        double middle = half * (double)(2 * panel + 1);
        for (int k = 0; k < 10; ++k) {
            double x = middle + (k < 5 ? -half : half) * NODES[k % 5][0];
            visit(x, half * NODES[k % 5][1] * weight_at(w, s + x));
        }
    }
}

// The integral over [s, s + d] of V per unit of u, of current and of a constant at its start.
struct Reach {
    double u, i, one;
};

template <class T> EVPROP_CALL Reach reach(const Weighting& w, const Neuron<T>& c, double s, double d) {
    double tm = (double)c.tau_mem, ts = (double)c.tau_syn;
    Reach out = {0.0, 0.0, 0.0};
    if (w.shape != CLOSED) {
        on_panels(w, c, s, d, [&](double x, double share) {
            out.u += share * decay(x, tm);
            out.i += share * kappa(x, tm, ts);
            out.one += share;
        });
        return out;
    }
    double at = weight_at(w, s), lost = d * w.rate;
    double m = -(d / tm + lost), y = -(d / ts + lost);
    out.u = at * (d * exp1(0.0, m));
    out.i = at * (d * (d / tm) * exp2(0.0, m, y));
    out.one = at * (d * exp1(0.0, -lost));
    return out;
}

// The knots of one neuron: (reach of u, reach of current) by number. Those from number table[0] on are known.
template <class T> struct Knots {
    const Weighting& w;
    const Neuron<T>& c;
    double* table;

    __device__ void clear(double duration) const { table[0] = (double)((i64)(duration / longest_panel(w, c)) + 2); }

    // Over [s, end] by way of knot `next`, the first after s, if it lies before the end.
    EVPROP_CALL Reach by_way_of(i64 next, double s, double end) const {
        double knot = (double)next * longest_panel(w, c), d = knot - s;
        if (!(knot < end)) {
            return reach(w, c, s, end - s);
        }
        double tm = (double)c.tau_mem, ts = (double)c.tau_syn, u = table[2 * next], i = table[2 * next + 1];
        Reach out = reach(w, c, s, d);
        out.u += decay(d, tm) * u;
        out.i += decay(d, ts) * i + kappa(d, tm, ts) * u;
        return out;
    }

    // Over [s, end]; end_after(t): where the span ends in which t lies. `one` is not told.
    template <class F> __device__ Reach over(double s, double end, F end_after) const {
        if (w.shape == CLOSED) {
            return reach(w, c, s, end - s);
        }
        double panel = longest_panel(w, c);
        i64 next = (i64)(s / panel) + 1;
        if ((double)next * panel < end) {
            for (i64 k = (i64)table[0] - 1; k >= next; --k) {
                double knot = (double)k * panel;
                Reach left = by_way_of(k + 1, knot, end_after(knot));
                table[2 * k] = left.u;
                table[2 * k + 1] = left.i;
                table[0] = (double)k;
            }
        }
        return by_way_of(next, s, end);
    }
};

// Derivatives of the reach of current with respect to tau_mem and tau_syn, of that of u with respect to tau_mem, and of
// all with respect to the bias.
struct ReachOfTaus {
    double m, s;
};

template <class T> EVPROP_CALL ReachOfTaus current_dtau(const Weighting& w, const Neuron<T>& c, double s, double d) {
    double tm = (double)c.tau_mem, ts = (double)c.tau_syn;
    ReachOfTaus out = {0.0, 0.0};
    if (w.shape != CLOSED) {
        on_panels(w, c, s, d, [&](double x, double share) {
            out.m += share * kappa_dtm(x, tm, ts);
            out.s += share * kappa_dts(x, tm, ts);
        });
        return out;
    }
    double lost = d * w.rate, at = weight_at(w, s);
    double m = -(d / tm + lost), y = -(d / ts + lost);
    double rest = lost == 0.0 ? 0.0 : lost * exp3(0.0, m, m, y);
    out.m = at * (-(d / tm) * (d / tm) * (exp2(m, m, y) + rest));
    out.s = at * ((d / tm) * (d / ts) * (d / ts) * exp3(0.0, m, y, y));
    return out;
}

template <class T> EVPROP_CALL double voltage_dtm(const Weighting& w, const Neuron<T>& c, double s, double d) {
    double tm = (double)c.tau_mem, sum = 0.0;
    if (w.shape != CLOSED) {
        on_panels(w, c, s, d, [&](double x, double share) { sum += share * decay_dtau(x, tm); });
        return sum;
    }
    double m = -(d / tm + d * w.rate);
    return weight_at(w, s) * ((d / tm) * (d / tm) * exp2(0.0, m, m));
}

template <class T> EVPROP_CALL double bias_reach(const Weighting& w, const Neuron<T>& c, double s, double d) {
    double tm = (double)c.tau_mem, sum = 0.0;
    if (w.shape != CLOSED) {
        on_panels(w, c, s, d, [&](double x, double share) { sum += share * rise(x, tm); });
        return sum;
    }
    double lost = d * w.rate;
    return weight_at(w, s) * (d * (d / tm) * exp2(0.0, -lost, -(d / tm + lost)));
}

}  // namespace evprop
