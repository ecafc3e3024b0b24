// Exponential and logarithm with the bits of the CPU engine (src/math/real.rs, where the method is told). No fused
// multiply-add anywhere: NVRTC runs with --fmad=false, the CPU build of the tests with -ffp-contract=off.
#pragma once

// Called, not inlined, on the GPU: what is large and met in many places.
#ifdef __CUDACC__
#define EVPROP_CALL __device__ __noinline__
#else
#define EVPROP_CALL inline
#endif

namespace evprop {

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;

template <class T> struct Real;

template <> struct Real<double> {
    static __device__ __forceinline__ double epsilon() { return 2.220446049250313e-16; }
    static __device__ __forceinline__ double infinity() { return __longlong_as_double(0x7ff0000000000000LL); }
    static __device__ __forceinline__ double root(double x) { return sqrt(x); }
};

template <> struct Real<float> {
    static __device__ __forceinline__ float epsilon() { return 1.1920929e-7f; }
    static __device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }
    static __device__ __forceinline__ float root(float x) { return sqrtf(x); }
};

template <class T> __device__ __forceinline__ T larger(T a, T b) { return a > b ? a : b; }
template <class T> __device__ __forceinline__ T smaller(T a, T b) { return a < b ? a : b; }
template <class T> __device__ __forceinline__ T magnitude(T a) { return a < T(0) ? -a : a; }

__device__ __forceinline__ double infinite() { return Real<double>::infinity(); }

// e^x and e^x - 1 for x <= 0.
template <class T> struct Exp {
    T e, em1;
};

__device__ __forceinline__ Exp<double> exp_expm1(double given) {
    const double LOG2_E = 1.4426950408889634074;
    const double LN2_HI = 6.93147180369123816490e-01;
    const double LN2_LO = 1.90821492927058770002e-10;
    const double SHIFT = 6755399441055744.0;
    const double LOWEST = -708.0;
    double x = given > LOWEST ? given : LOWEST;
    double shifted = x * LOG2_E + SHIFT;
    double n = shifted - SHIFT;
    double r = (x - n * LN2_HI) - n * LN2_LO;
    double two_n = __longlong_as_double((i64)(((u64)__double_as_longlong(shifted) << 52) + 0x3ff0000000000000ULL));
    double r2 = r * r;
    double r4 = r2 * r2;
    double p01 = 0.5 + r * (1.0 / 6.0);
    double p23 = 1.0 / 24.0 + r * (1.0 / 120.0);
    double p45 = 1.0 / 720.0 + r * (1.0 / 5040.0);
    double p67 = 1.0 / 40320.0 + r * (1.0 / 362880.0);
    double p89 = 1.0 / 3628800.0 + r * (1.0 / 39916800.0);
    double pab = 1.0 / 479001600.0 + r * (1.0 / 6227020800.0);
    double p = (p01 + r2 * p23) + r4 * ((p45 + r2 * p67) + r4 * (p89 + r2 * pab));
    double em1 = r + r2 * p;
    Exp<double> out;
    out.e = given > LOWEST ? two_n + two_n * em1 : 0.0;
    out.em1 = given > LOWEST ? (two_n - 1.0) + two_n * em1 : -1.0;
    return out;
}

__device__ __forceinline__ Exp<float> exp_expm1(float given) {
    const float LOG2_E = 1.44269504088896340736f;
    const float LN2_HI = 0.693359375f;
    const float LN2_LO = -2.1219444e-4f;
    const float SHIFT = 12582912.0f;
    const float LOWEST = -87.0f;
    float x = given > LOWEST ? given : LOWEST;
    float shifted = x * LOG2_E + SHIFT;
    float n = shifted - SHIFT;
    float r = (x - n * LN2_HI) - n * LN2_LO;
    float two_n = __uint_as_float((__float_as_uint(shifted) << 23) + 0x3f800000u);
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    float em1 = r + (r * r) * p;
    Exp<float> out;
    out.e = given > LOWEST ? two_n + two_n * em1 : 0.0f;
    out.em1 = given > LOWEST ? (two_n - 1.0f) + two_n * em1 : -1.0f;
    return out;
}

template <class T> __device__ __forceinline__ T exp_neg(T x) { return exp_expm1(x).e; }

// ln(1 + x) for x > -1.
__device__ __forceinline__ double ln_1p(double x) {
    const double LN2_HI = 6.93147180369123816490e-01;
    const double LN2_LO = 1.90821492927058770002e-10;
    const u64 SQRT_HALF_BITS = 0x3fe6a09e667f3bcdULL;
    double u = 1.0 + x;
    u64 bits = (u64)__double_as_longlong(u) - SQRT_HALF_BITS;
    u64 biased = (bits + (1024ULL << 52)) >> 52;
    double k = __longlong_as_double((i64)(biased | 0x4330000000000000ULL)) - (4503599627370496.0 + 1024.0);
    double m = __longlong_as_double((i64)((bits & 0x000fffffffffffffULL) + SQRT_HALF_BITS));
    double lost = x < 1.0 ? x - (u - 1.0) : 1.0 - (u - x);
    double c = lost / u;
    double f = k == 0.0 ? x : m - 1.0;
    c = k == 0.0 ? 0.0 : c;
    double s = f / (2.0 + f);
    double z = s * s;
    double r = 1.4798198605116586e-01;
    r = r * z + 1.5313837699209373e-01;
    r = r * z + 1.8183572161618050e-01;
    r = r * z + 2.2222198432149784e-01;
    r = r * z + 2.8571428743662391e-01;
    r = r * z + 3.9999999999409419e-01;
    r = r * z + 6.6666666666667351e-01;
    r = r * z;
    double half = 0.5 * f * f;
    return k * LN2_HI - ((half - (s * (half + r) + (k * LN2_LO + c))) - f);
}

__device__ __forceinline__ float ln_1p(float x) { return (float)ln_1p((double)x); }

}  // namespace evprop
