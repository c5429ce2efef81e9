//! Sixteen f32 lanes as every kernel sees them, and how a kernel is instantiated for the CPU at hand.
//!
//! All implementations give the same bits: multiply-add is fused everywhere, sums over lanes use one tree, and `exp`,
//! `tanh` and `erf` are polynomials written here over the trait's own operations.

/// Lanes of one vector.
pub const LANES: usize = 16;

/// # Safety
/// Every method may be called only inside a function compiled for the implementation's CPU features (`dispatch!` sees to
/// it), and pointers must be valid for the 16 elements read or written.
pub unsafe trait Simd: Copy {
    type F: Copy;
    /// Sixteen words of 32 bits: pairs of bf16, quads of bytes, or integers.
    type W: Copy;
    /// Vectors that the registers hold.
    const REGISTERS: usize;
    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    /// Ask for a cache line ahead of its use; any address is allowed.
    unsafe fn fetch(at: *const u8);
    /// As `fetch`, into the second cache only, for lines that come from memory: more of these may be under way at a time
    /// (Zen 4, random runs of 2 KB, one thread: 16 GB/s against 9).
    unsafe fn fetch_far(at: *const u8);
    unsafe fn load_f16(from: *const u16) -> Self::F;
    /// Each of 16 little-endian u32 lanes shifted right by `shift` and masked, as a number.
    unsafe fn load_bits(from: *const u8, shift: u32, mask: u32) -> Self::F;
    /// As `load_bits`, but the number is a place in a table of 16 values; the mask is 15.
    unsafe fn load_table(from: *const u8, shift: u32, table: *const f32) -> Self::F;
    unsafe fn load_i8(from: *const i8) -> Self::F;
    /// Half of what 16 E8M0 exponents say: 2^(exponent − 128).
    unsafe fn load_half_of_e8m0(from: *const u8) -> Self::F;
    /// 16 E4M3 bytes, none of them NaN.
    unsafe fn load_e4m3(from: *const u8) -> Self::F;
    unsafe fn store(to: *mut f32, value: Self::F);
    /// Round to nearest even.
    unsafe fn store_bf16(to: *mut u16, value: Self::F);
    /// Round to nearest even.
    unsafe fn store_f16(to: *mut u16, value: Self::F);
    unsafe fn load_words(from: *const u32) -> Self::W;
    unsafe fn splat_word(word: u32) -> Self::W;
    unsafe fn mask_words(words: Self::W, mask: u32) -> Self::W;
    /// The bf16 in the upper halves, as f32.
    unsafe fn upper_halves(words: Self::W) -> Self::F;
    /// The bf16 in the lower halves, as f32.
    unsafe fn lower_halves(words: Self::W) -> Self::F;
    /// sum + a₁·b₁, then + a₀·b₀, each fused, of pairs of bf16 (the upper half of a word is number 1). The same bits as
    /// `vdpbf16ps`, which flushes subnormals, as long as no sum can be one: see `attention_bf16`.
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, a: Self::W, b: Self::W) -> Self::F {
        let sum = Self::fma(Self::upper_halves(a), Self::upper_halves(b), sum);
        Self::fma(Self::lower_halves(a), Self::lower_halves(b), sum)
    }
    /// sum + Σ a·b over four unsigned bytes `a` and four signed bytes `b` of each word.
    unsafe fn dot_quads(sum: Self::W, a: Self::W, b: Self::W) -> Self::W;
    /// high · 128 + low as numbers.
    unsafe fn join_limbs(high: Self::W, low: Self::W) -> Self::F;
    /// Numbers 0 … 32,767, rounded to nearest even, as `high` = n / 128 and `low` = n % 128. Any bytes for a NaN.
    unsafe fn store_limbs(high: *mut u8, low: *mut u8, value: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `b` where either is NaN, as `min`.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c, rounded once.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Nearest integer, ties to even.
    unsafe fn round(a: Self::F) -> Self::F;
    /// a · 2^n for integral n, -126 ≤ n ≤ 127.
    unsafe fn scale_by_power_of_two(a: Self::F, n: Self::F) -> Self::F;
    unsafe fn to_array(a: Self::F) -> [f32; LANES];

    /// Sum over lanes: halves added together four times.
    #[inline(always)]
    unsafe fn sum(a: Self::F) -> f32 {
        let mut lanes = Self::to_array(a);
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// Largest magnitude of all lanes; NaN or infinite when a lane is.
    unsafe fn max_magnitude(a: Self::F, b: Self::F) -> f32;
    /// Write 32 lanes as int8, rounded to nearest even, and return the sums of both 16. Lanes are within ±127 or not
    /// numbers; for the latter any byte may be written.
    unsafe fn store_quants(to: *mut i8, low: Self::F, high: Self::F) -> [i32; 2];

    /// Any lane, or NaN, when one is NaN.
    #[inline(always)]
    unsafe fn max_lane(a: Self::F) -> f32 {
        let mut lanes = Self::to_array(a);
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                let (low, high) = (lanes[lane], lanes[lane + width]);
                lanes[lane] = if low > high { low } else { high };
            }
            width /= 2;
        }
        lanes[0]
    }

    /// e^x for x ≤ 88; below -87.3 the result is 0. Error below 2 ulp.
    /// Range reduction to |r| ≤ ln2 / 2, then a polynomial of degree 6 (minimax coefficients of Cephes `expf`).
    #[inline(always)]
    unsafe fn exp(x: Self::F) -> Self::F {
        // In this order a NaN passes through both: the second operand is taken where either is NaN.
        let clamped = Self::min(Self::splat(88.0), Self::max(Self::splat(-87.336_54), x));
        let n = Self::round(Self::mul(clamped, Self::splat(std::f32::consts::LOG2_E)));
        let r = Self::fma(n, Self::splat(-0.693_359_4), clamped);
        let r = Self::fma(n, Self::splat(2.121_944_4e-4), r);
        let mut y = Self::splat(1.987_569_2e-4);
        for coefficient in [
            1.398_2e-3_f32,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ] {
            y = Self::fma(y, r, Self::splat(coefficient));
        }
        let y = Self::fma(y, Self::mul(r, r), Self::add(r, Self::splat(1.0)));
        let result = Self::scale_by_power_of_two(y, n);
        Self::zero_below(result, x, -87.336_54)
    }

    /// `below` where `key` < `limit`, else `otherwise`, also where `key` is NaN.
    unsafe fn select_below(key: Self::F, limit: f32, below: Self::F, otherwise: Self::F)
    -> Self::F;

    /// `value` where `key` ≥ `limit`, else 0 (also where `key` is NaN: then NaN is kept).
    #[inline(always)]
    unsafe fn zero_below(value: Self::F, key: Self::F, limit: f32) -> Self::F {
        Self::select_below(key, limit, Self::splat(0.0), value)
    }

    /// Hyperbolic tangent, error below 2 ulp: below 0.625 an odd polynomial (Cephes `tanhf`), above 1 − 2 / (e^2x + 1).
    #[inline(always)]
    unsafe fn tanh(x: Self::F) -> Self::F {
        let square = Self::mul(x, x);
        let mut y = Self::splat(-5.704_988_7e-3);
        for coefficient in [
            2.063_908_8e-2_f32,
            -5.373_971_6e-2,
            1.333_144_3e-1,
            -3.333_328e-1,
        ] {
            y = Self::fma(y, square, Self::splat(coefficient));
        }
        let small = Self::fma(Self::mul(y, square), x, x);
        let one = Self::splat(1.0);
        let doubled = Self::min(Self::splat(88.0), Self::add(x, x));
        let raised = Self::add(Self::exp(doubled), one);
        let large = Self::sub(one, Self::div(Self::splat(2.0), raised));
        Self::select_below(square, 0.390_625, small, large)
    }

    #[inline(always)]
    unsafe fn negate(a: Self::F) -> Self::F {
        Self::sub(Self::splat(0.0), a)
    }

    /// x / (1 + e^(−alpha · x)): SiLU where alpha is 1.
    #[inline(always)]
    unsafe fn silu(x: Self::F, alpha: f32) -> Self::F {
        let exponent = Self::negate(Self::mul(x, Self::splat(alpha)));
        Self::div(x, Self::add(Self::splat(1.0), Self::exp(exponent)))
    }

    /// Error below 4 ulp: x · p(x²) / q(x²) (coefficients of Eigen's `erf`), and ±1 from where that is the nearest f32.
    #[inline(always)]
    unsafe fn erf(x: Self::F) -> Self::F {
        // In this order a NaN passes through both.
        let x = Self::max(Self::splat(-4.0), Self::min(Self::splat(4.0), x));
        let (one, minus_one) = (Self::splat(1.0), Self::splat(-1.0));
        let sign = Self::select_below(x, 0.0, minus_one, one);
        let square = Self::mul(x, x);
        let mut p = Self::splat(-2.726_142_3e-10);
        for coefficient in [
            2.770_681_4e-8_f32,
            -2.101_024e-6,
            -5.692_506_4e-5,
            -7.349_906_3e-4,
            -2.954_6e-3,
            -1.609_603_3e-2,
        ] {
            p = Self::fma(p, square, Self::splat(coefficient));
        }
        let mut q = Self::splat(-1.456_607_2e-5);
        for coefficient in [
            -2.133_740_6e-4_f32,
            -1.682_827e-3,
            -7.373_329e-3,
            -1.426_473_9e-2,
        ] {
            q = Self::fma(q, square, Self::splat(coefficient));
        }
        let inner = Self::div(Self::mul(x, p), q);
        // A NaN is not below the limit; its sign is made of it, so that it stays one.
        let sign = Self::add(sign, Self::mul(Self::splat(0.0), x));
        Self::select_below(Self::mul(x, x), 3.92 * 3.92, inner, sign)
    }
}

/// Call `$kernel::<S>(…)` compiled for the CPU at hand.
///
/// `dispatch!(kernel(arg: Type, …))` expands to one function a family, each with its CPU features switched on, so that
/// the `#[inline(always)]` kernel and the intrinsics end up in one body.
#[macro_export]
macro_rules! dispatch {
    ($kernel:ident ( $($arg:ident : $type:ty),* $(,)? )) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
        unsafe fn on_avx512($($arg: $type),*) {
            unsafe { $kernel::<$crate::simd_avx512::Avx512>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn on_avx2($($arg: $type),*) {
            unsafe { $kernel::<$crate::simd_portable::Portable>($($arg),*) }
        }
        // SAFETY: the family was chosen from the features this CPU has.
        match $crate::cpu::family() {
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::Family::Avx512Vnni => unsafe { on_avx512($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::Family::Avx2Vnni | $crate::cpu::Family::Avx2 => unsafe {
                on_avx2($($arg),*)
            },
            // What `sdot` needs is said where it is written; NEON itself belongs to every aarch64.
            #[cfg(target_arch = "aarch64")]
            $crate::cpu::Family::NeonDotprod => unsafe {
                $kernel::<$crate::simd_neon::Neon<true>>($($arg),*)
            },
            #[cfg(target_arch = "aarch64")]
            $crate::cpu::Family::Neon => unsafe {
                $kernel::<$crate::simd_neon::Neon<false>>($($arg),*)
            },
            _ => unsafe { $kernel::<$crate::simd_portable::Portable>($($arg),*) },
        }
    }};
}
