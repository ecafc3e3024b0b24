// Closed forms of the flow and of its derivatives with respect to the time constants, in double precision:
// src/math/divided.rs and src/neuron/kernels.rs, where the mathematics is told. `d` is a span in ms, tm and ts are tau_mem
// and tau_syn.
#pragma once
#include "neuron.cuh"

namespace evprop {

// 1 / k!
static __device__ const double INVERSE_FACTORIAL[32] = {
    1.0, 1.0, 0.5, 0.16666666666666666,
    0.041666666666666664, 0.008333333333333333, 0.001388888888888889, 0.0001984126984126984,
    2.48015873015873e-05, 2.7557319223985893e-06, 2.755731922398589e-07, 2.505210838544172e-08,
    2.08767569878681e-09, 1.6059043836821613e-10, 1.1470745597729725e-11, 7.647163731819816e-13,
    4.779477332387385e-14, 2.8114572543455206e-15, 1.5619206968586225e-16, 8.22063524662433e-18,
    4.110317623312165e-19, 1.9572941063391263e-20, 8.896791392450574e-22, 3.8681701706306835e-23,
    1.6117375710961184e-24, 6.446950284384474e-26, 2.4795962632247972e-27, 9.183689863795546e-29,
    3.2798892370698385e-30, 1.1309962886447718e-31, 3.769987628815906e-33, 1.2161250415535181e-34,
};

const double SERIES_SPREAD = 2.0;

// exp[x0, x1]
EVPROP_CALL double exp1(double x0, double x1) {
    double high = larger(x0, x1), low = smaller(x0, x1);
    double spread = high - low;
    if (spread == 0.0) {
        return exp_neg(high);
    }
    return exp_neg(high) * (-exp_expm1(-spread).em1 / spread);
}

// exp[low, low + above[0], ...] by the series about `low`.
template <int N> EVPROP_CALL double divided_series(double low, const double (&above)[N]) {
    double h[N];
    for (int j = 0; j < N; ++j) {
        h[j] = 1.0;
    }
    double sum = INVERSE_FACTORIAL[N];
    for (int k = N + 1; k < 32; ++k) {
        double fewer = 0.0;
        for (int j = 0; j < N; ++j) {
            h[j] = fewer + above[j] * h[j];
            fewer = h[j];
        }
        double term = fewer * INVERSE_FACTORIAL[k];
        sum += term;
        if (term <= sum * (0.0625 * Real<double>::epsilon())) {
            break;
        }
    }
    return exp_neg(low) * sum;
}

__device__ inline void descend(double& high, double& low) {
    if (!(high >= low)) {
        double x = high;
        high = low;
        low = x;
    }
}

// For high >= middle >= low.
EVPROP_CALL double exp2_sorted(double high, double middle, double low) {
    double spread = high - low;
    if (spread <= SERIES_SPREAD) {
        double above[2] = {high - low, middle - low};
        return divided_series(low, above);
    }
    return (exp1(high, middle) - exp1(middle, low)) / spread;
}

// exp[x0, x1, x2]
EVPROP_CALL double exp2(double x0, double x1, double x2) {
    descend(x0, x1);
    descend(x1, x2);
    descend(x0, x1);
    return exp2_sorted(x0, x1, x2);
}

// exp[x0, x1, x2, x3]
EVPROP_CALL double exp3(double x0, double x1, double x2, double x3) {
    descend(x0, x1);
    descend(x2, x3);
    descend(x0, x2);
    descend(x1, x3);
    descend(x1, x2);
    double spread = x0 - x3;
    if (spread <= SERIES_SPREAD) {
        double above[3] = {x0 - x3, x1 - x3, x2 - x3};
        return divided_series(x3, above);
    }
    return (exp2_sorted(x0, x1, x2) - exp2_sorted(x1, x2, x3)) / spread;
}

EVPROP_CALL double decay(double d, double tau) { return exp_neg(-d / tau); }

EVPROP_CALL double decay_dtau(double d, double tau) { return d / tau / tau * decay(d, tau); }

EVPROP_CALL double rise(double d, double tau) { return -exp_expm1(-d / tau).em1; }

EVPROP_CALL double kappa(double d, double tm, double ts) { return d / tm * exp1(-d / tm, -d / ts); }

EVPROP_CALL double kappa_dtm(double d, double tm, double ts) {
    double m = -d / tm, s = -d / ts;
    double twice = exp2(m, m, s);
    double difference = m >= s ? m * twice + exp1(m, s) : s * twice + exp_neg(m);
    return -(d / tm / tm) * difference;
}

EVPROP_CALL double kappa_dts(double d, double tm, double ts) {
    return (d / tm) * (d / ts / ts) * exp2(-d / tm, -d / ts, -d / ts);
}

}  // namespace evprop
