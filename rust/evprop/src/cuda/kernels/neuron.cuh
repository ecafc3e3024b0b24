// One neuron between events: its flow, and its first threshold crossing to the last bit. The arithmetic of
// src/neuron/{flow,crossing}.rs, operation by operation.
//
//     u = V - i_bias:   u(d) = u E_m(d) + i kappa(d)          i(d) = i E_s(d)
#pragma once
#include "real.cuh"

namespace evprop {

// Derived constants of one neuron (src/neuron/constants.rs).
template <class T> struct Neuron {
    double t_ref;
    T theta, u_reset, u_init, bias;
    T tau_mem, tau_syn, inv_mem, inv_syn;
    T inv_slow, rate, gain, lin;
    T kappa_max;
    T mem_slow;  // 1 or 0
};

template <class T> struct Propagator {
    T mem, syn, kappa;
};

template <class T> __device__ __forceinline__ Propagator<T> propagator(const Neuron<T>& c, T d) {
    T slow = exp_neg(-(d * c.inv_slow));
    Exp<T> apart = exp_expm1(-(d * c.rate));
    T fast = slow * apart.e;
    Propagator<T> p;
    p.kappa = slow * (d * c.lin - apart.em1 * c.gain);
    p.mem = c.mem_slow > T(0) ? slow : fast;
    p.syn = c.mem_slow > T(0) ? fast : slow;
    return p;
}

// Time to the maximum of u ahead, for i > 0 and i > u; infinite where there is none.
template <class T> __device__ __forceinline__ T peak_time(const Neuron<T>& c, T u, T i) {
    T gap = c.tau_mem - c.tau_syn;
    T share = (i - u) / i;
    T rho = gap * share * c.inv_mem;
    T scale = c.tau_mem * c.tau_syn / (gap == T(0) ? T(1) : gap);
    T general = -(ln_1p(-rho)) * scale;
    T t = rho == T(0) ? c.tau_syn * share : general;
    return rho < T(1) ? t : Real<T>::infinity();
}

// Where the safeguarded iteration stands: below threshold at lo, above at hi; the state is taken next at s.
template <class T> struct Step {
    T lo, hi, s, at;
    bool open;
};

// One step from the state (u, i) at s: the local parabola, corrected with the third and fourth derivatives; bisection
// where that leaves the bracket.
template <class T> __device__ __forceinline__ void advance(const Neuron<T>& c, T u, T i, Step<T>& x) {
    const T last_bit = T(0.5) * Real<T>::epsilon();
    const T within = T(Real<T>::epsilon() < T(1e-10) ? 1e-3 : 6e-2);
    T f = u - c.theta;
    T f1 = (i - u) * c.inv_mem;
    T f2 = -(i * c.inv_syn + f1) * c.inv_mem;
    T square_syn = c.inv_syn * c.inv_syn;
    T f3 = (i * square_syn - f2) * c.inv_mem;
    T f4 = -(i * square_syn * c.inv_syn + f3) * c.inv_mem;
    T f5 = (i * square_syn * square_syn - f4) * c.inv_mem;
    T disc = f1 * f1 - (f + f) * f2;
    bool curved = disc > T(0);
    T root = curved ? Real<T>::root(disc) : f1;
    T parabola = -(f + f) / (f1 + root);
    T inverse = T(1) / root;
    T square = parabola * parabola;
    T cube = square * parabola;
    T first = -(T(1.0 / 6.0) * f3 + T(1.0 / 24.0) * f4 * parabola) * cube * inverse;
    T steeper = T(0.5) * (f3 * square + f2 * first) * inverse;
    bool small = curved && magnitude(first) <= T(0.5) * magnitude(parabola);
    T step = parabola + (small ? first - first * steeper : T(0));
    T fifth = T(1.0 / 60.0) * magnitude(f5) * square;
    T left_out = (fifth + T(1.0 / 3.0) * magnitude(f4) * magnitude(first)) * magnitude(cube) * inverse
        + T(2) * magnitude(first) * steeper * steeper;
    bool below = f < T(0);
    T low = below ? x.s : x.lo;
    T high = below ? x.hi : x.s;
    T next = x.s + step;
    bool inside = next > low && next < high;
    T share = step * c.inv_syn;
    bool close = inside && small && left_out <= last_bit * next && magnitude(share) <= within;
    next = inside ? next : T(0.5) * (low + high);
    bool exact = f == T(0) || (!below && x.s == T(0));
    bool stuck = next <= low || next >= high;
    bool stay = exact || stuck;
    T decay = T(1) - share * (T(1) - T(0.5) * share * (T(1) - T(1.0 / 3.0) * share * (T(1) - T(0.25) * share)));
    T end = stay ? i : i * decay;
    bool finished = stay || close;
    x.lo = low;
    x.hi = high;
    x.at = finished ? end : x.at;
    x.s = stay ? x.s : next;
    x.open = !finished;
}

template <class T> struct Crossing {
    bool found;
    T s, at;  // time from the start, current there
};

// The first upward crossing within (0, d] from the state (u, i).
template <class T> EVPROP_CALL Crossing<T> first_crossing(const Neuron<T>& c, T u, T i, T d) {
    Crossing<T> none = {false, T(0), T(0)};
    bool rising = i > T(0) && i > u;
    if (!((rising || c.theta <= T(0)) && d > T(0))) {
        return none;
    }
    T hi = d;
    if (rising) {
        T peak = peak_time(c, u, i);
        hi = peak < d ? peak : d;
    }
    Propagator<T> p = propagator(c, hi);
    if (!(u * p.mem + i * p.kappa > c.theta)) {
        return none;
    }
    Step<T> x = {T(0), hi, T(0), T(0), true};
    T at_u = u, at_i = i;
    for (int round = 0; round < 100; ++round) {
        advance(c, at_u, at_i, x);
        if (!x.open) {
            break;
        }
        p = propagator(c, x.s);
        at_u = u * p.mem + i * p.kappa;
        at_i = i * p.syn;
    }
    Crossing<T> found = {true, x.s, x.at};
    return found;
}

// A neuron's state at its own last event; V is held until `hold`.
template <class T> struct Cell {
    double time, hold;
    T u, i;
};

// When, and with which current, the neuron will cross if nothing more arrives: the moment from which it flows freely.
template <class T> struct Free {
    double start;
    T u, i;
};

template <class T> __device__ __forceinline__ Free<T> free_state(const Neuron<T>& c, const Cell<T>& x) {
    Free<T> free = {x.time, x.u, x.i};
    if (x.hold > x.time) {
        free.start = x.hold;
        free.i = x.i * exp_neg(-(T(x.hold - x.time) * c.inv_syn));
    }
    return free;
}

// A time before which the neuron surely does not cross: while it rises it is concave, so its tangent meets the threshold
// too early, never too late.
template <class T> __device__ __forceinline__ double earliest(const Neuron<T>& c, const Cell<T>& x) {
    if (x.hold == infinite()) {
        return infinite();
    }
    if (c.theta <= T(0)) {
        return x.hold > x.time ? x.hold : x.time;
    }
    Free<T> free = free_state(c, x);
    T margin = T(1) + T(32) * Real<T>::epsilon();
    if (free.i <= T(0) || free.i <= free.u ||
        (larger(free.u, T(0)) + free.i * c.kappa_max) * margin <= c.theta) {
        return infinite();
    }
    T rise = larger(c.theta - free.u, T(0)) * c.tau_mem / (free.i - free.u);
    return free.start + (double)rise * (1.0 - 32.0 * (double)Real<T>::epsilon());
}

// Takes the state to time s, where something arrives. The current at a release on the way goes to `released`.
template <class T> EVPROP_CALL void flow_to(const Neuron<T>& c, Cell<T>& x, double s, T* released) {
    if (x.hold > x.time) {
        double release = x.hold < s ? x.hold : s;
        x.i = x.i * exp_neg(-(T(release - x.time) * c.inv_syn));
        x.time = release;
        if (released != nullptr && release == x.hold) {
            *released = x.i;
        }
    }
    if (s > x.time) {
        Propagator<T> p = propagator(c, T(s - x.time));
        x.u = x.u * p.mem + x.i * p.kappa;
        x.i = x.i * p.syn;
        x.time = s;
    }
}

}  // namespace evprop
