//! Run-time choice of the vector width.
//!
//! A kernel is written once as plain loops; [`vectorised!`](crate::vectorised) compiles it for AVX-512, AVX2 and the
//! baseline and picks one by a value that is found once. No kernel uses fused multiply-add, so all variants give the
//! same bits.

/// The widest instruction set this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    /// What the target has at least (SSE2 on x86-64, NEON on arm64).
    Baseline,
    /// 256 bit.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bit.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// Looks at the CPU.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Baseline
    }

    /// Every level this CPU has, narrowest first.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        return match Self::detect() {
            Self::Avx512 => vec![Self::Baseline, Self::Avx2, Self::Avx512],
            Self::Avx2 => vec![Self::Baseline, Self::Avx2],
            Self::Baseline => vec![Self::Baseline],
        };
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Baseline]
    }

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Baseline if cfg!(target_arch = "aarch64") => "neon",
            Self::Baseline => "baseline",
        }
    }
}

/// Asks for the cache lines of `column[at]` ahead of its use. A hint: it changes no value, and `at` may lie beyond the end.
#[inline(always)]
pub fn prefetch<T>(column: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = column.as_ptr().wrapping_add(at).cast::<i8>();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: a prefetch reads nothing and never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (column, at);
}

/// The same for all of a column.
#[inline(always)]
pub fn prefetch_all<T>(column: &[T]) {
    for at in (0..column.len()).step_by((64 / size_of::<T>()).max(1)) {
        prefetch(column, at);
    }
}

/// Compiles one function body for each vector width and dispatches on its first argument, a [`Simd`].
/// The body may call only functions that are `#[inline(always)]`. With `[level],` before its arguments it knows the level by
/// that name, for what is written out for one of them.
#[macro_export]
#[doc(hidden)]
macro_rules! vectorised {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$t:ident $(, const $c:ident: $ct:ty)*>($([$level:ident],)? $($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, clippy::extra_unused_type_parameters)]
        $vis fn $name<$t: $crate::math::Real $(, const $c: $ct)*>(simd: $crate::math::simd::Simd, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::extra_unused_type_parameters)]
            fn body<$t: $crate::math::Real $(, const $c: $ct)*>($($level: $crate::math::simd::Simd,)? $($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments, clippy::extra_unused_type_parameters)]
                fn avx2<$t: $crate::math::Real $(, const $c: $ct)*>($($level: $crate::math::simd::Simd,)? $($arg: $ty),*) $(-> $ret)? {
                    body::<$t $(, $c)*>($($level,)? $($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
                #[allow(clippy::too_many_arguments, clippy::extra_unused_type_parameters)]
                fn avx512<$t: $crate::math::Real $(, const $c: $ct)*>($($level: $crate::math::simd::Simd,)? $($arg: $ty),*) $(-> $ret)? {
                    body::<$t $(, $c)*>($($level,)? $($arg),*)
                }
                match simd {
                    // SAFETY: the value exists only where `Simd::detect` found these features.
                    $crate::math::simd::Simd::Avx512 => return unsafe { avx512::<$t $(, $c)*>($({ let $level = simd; $level },)? $($arg),*) },
                    // SAFETY: as above.
                    $crate::math::simd::Simd::Avx2 => return unsafe { avx2::<$t $(, $c)*>($({ let $level = simd; $level },)? $($arg),*) },
                    $crate::math::simd::Simd::Baseline => {}
                }
            }
            let _ = simd;
            body::<$t $(, $c)*>($({ let $level = simd; $level },)? $($arg),*)
        }
    };
}
