//! bf16 KV: queries and weights are rounded to bf16 too, products of pairs are exact and summed in f32.
//!
//! `vdpbf16ps` adds the two products of a pair one after the other, each rounded once, and flushes subnormal sums. So that
//! CPUs without it have the same bits, numbers below 2^-50 are stored as 0: every product is then a multiple of 2^-114, and
//! so is every sum, which therefore is 0 or far above the subnormals. What is lost, 2^-50 of a key's or value's number, is
//! less than f32 keeps beside a number above 2^-26.
//! Source: Intel's manual, VDPBF16PS; compared bit for bit on Zen 4 (tests).

use std::ops::Range;

use crate::attention_softmax::Prepared;
use crate::attention_tile::{Arithmetic, Work};
use crate::attention_view::View;
use crate::simd::{LANES, Simd};

/// 2^-100, the square of what is stored as 0.
const SMALLEST_SQUARE: f32 = f32::from_bits((127 - 100) << 23);

/// Round sixteen numbers of a query, key or value.
#[inline(always)]
pub(crate) unsafe fn store_rounded<S: Simd>(to: *mut u16, value: S::F) {
    let square = S::mul(value, value);
    S::store_bf16(
        to,
        S::select_below(square, SMALLEST_SQUARE, S::splat(0.0), value),
    );
}

/// 2^x for x ≤ 0, relative error below 3e-6, a thousandth of what rounding to bf16 costs; below -50, and so for hidden
/// positions, 2^-50: beside the largest weight, which is 1, that is nothing, and no operand needs to be made 0.
#[inline(always)]
unsafe fn power_of_two<S: Simd>(x: S::F) -> S::F {
    // In this order a NaN passes: the second operand is taken where either is NaN.
    let x = S::max(S::splat(-50.0), x);
    let n = S::round(x);
    let r = S::sub(x, n);
    // Minimax in relative error on |r| ≤ 1/2, exact at 0.
    let y = S::fma(S::splat(9.582_853e-3), r, S::splat(5.590_642_6e-2));
    let y = S::fma(y, r, S::splat(2.402_41e-1));
    let y = S::fma(y, r, S::splat(6.931_242e-1));
    let y = S::fma(y, r, S::splat(1.0));
    S::scale_by_power_of_two(y, n)
}

macro_rules! arithmetic {
    ($(#[$what:meta])* $name:ident, [$($generic:tt)*], $simd:ty, $dot:path, $round:path) => {
        $(#[$what])*
        pub(crate) struct $name;

        // SAFETY: pointers and CPU features are the caller's promise.
        unsafe impl<$($generic)*> Arithmetic<$simd> for $name {
            type Key = <$simd as Simd>::W;
            type Score = <$simd as Simd>::F;
            type Scales = ();
            const SUMS: usize = 1;
            const KEY_BYTES: usize = 64;
            const JOINED: usize = 2;

            #[inline(always)]
            unsafe fn load_key(from: *const u8) -> Self::Key {
                <$simd>::load_words(from.cast())
            }
            #[inline(always)]
            unsafe fn start_score(_query: *const u32, _steps: usize) -> Self::Score {
                <$simd>::splat(0.0)
            }
            #[inline(always)]
            unsafe fn add_key(
                score: Self::Score,
                key: Self::Key,
                query: *const u32,
                step: usize,
                _steps: usize,
            ) -> Self::Score {
                $dot(score, key, <$simd>::splat_word(*query.add(step)))
            }
            #[inline(always)]
            unsafe fn key_scales(_view: &View<'_>, _position: usize) {}
            #[inline(always)]
            unsafe fn finish_score(
                score: Self::Score,
                _scales: (),
                _query: *const u32,
                _steps: usize,
            ) -> <$simd as Simd>::F {
                score
            }

            type Value = <$simd as Simd>::W;
            type Total = <$simd as Simd>::F;
            const TOKENS: usize = 2;
            const COLUMNS: usize = 4;
            const VALUE_BYTES: usize = 64;

            #[inline(always)]
            unsafe fn weights(
                work: &mut Work,
                vector: usize,
                _visible: &Range<usize>,
                prepared: &Prepared,
                _view: &View<'_>,
                _start: usize,
            ) {
                let factor = prepared.factor * std::f32::consts::LOG2_E;
                let offset = prepared.largest * -std::f32::consts::LOG2_E;
                let (factor, offset) = (<$simd>::splat(factor), <$simd>::splat(offset));
                let scores = work.scores[vector].as_ptr();
                let staged = work.staged[vector].as_mut_ptr().cast::<u16>();
                let mut sums = <$simd>::splat(0.0);
                for group in prepared.groups.clone() {
                    let score = <$simd>::load(scores.add(group * LANES));
                    let weight = power_of_two::<$simd>(<$simd>::fma(score, factor, offset));
                    sums = <$simd>::add(sums, weight);
                    $round(staged.add(group * LANES), weight);
                }
                work.max[vector] = prepared.largest;
                work.sum[vector] = <$simd>::sum(sums);
            }
            #[inline(always)]
            unsafe fn load_value(from: *const u8) -> Self::Value {
                <$simd>::load_words(from.cast())
            }
            #[inline(always)]
            unsafe fn hide(value: Self::Value, visible: &Range<usize>, t: usize) -> Self::Value {
                let low = if visible.contains(&t) { 0xffff } else { 0 };
                let high = if visible.contains(&(t + 1)) { 0xffff_0000 } else { 0 };
                <$simd>::mask_words(value, low | high)
            }
            #[inline(always)]
            unsafe fn zero_total() -> Self::Total {
                <$simd>::splat(0.0)
            }
            #[inline(always)]
            unsafe fn add_value(
                total: Self::Total,
                value: Self::Value,
                work: &Work,
                vector: usize,
                t: usize,
            ) -> Self::Total {
                let pair = *work.staged[vector].as_ptr().add(t / 2);
                $dot(total, value, <$simd>::splat_word(pair))
            }
            #[inline(always)]
            unsafe fn finish_total(
                total: Self::Total,
                _work: &Work,
                _vector: usize,
            ) -> <$simd as Simd>::F {
                total
            }
        }
    };
}

arithmetic!(
    /// In the operations every CPU has.
    Bf16,
    [S: Simd],
    S,
    S::dot_pairs,
    S::store_bf16
);

#[cfg(target_arch = "x86_64")]
pub(crate) use native::NativeBf16;

#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::*;
    use std::mem::transmute;
    use std::ops::Range;

    use super::{Arithmetic, LANES, Prepared, Simd, View, Work, power_of_two};
    use crate::simd_avx512::Avx512;

    #[inline(always)]
    unsafe fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: both are 64 bytes of bf16.
        _mm512_dpbf16_ps(
            sum,
            transmute::<__m512i, __m512bh>(a),
            transmute::<__m512i, __m512bh>(b),
        )
    }

    #[inline(always)]
    unsafe fn round(to: *mut u16, value: __m512) {
        let rounded = _mm512_cvtneps_pbh(value);
        // SAFETY: both are 32 bytes.
        _mm256_storeu_si256(to.cast(), transmute::<__m256bh, __m256i>(rounded));
    }

    arithmetic!(
        /// With AVX-512 BF16's own dot product and rounding.
        NativeBf16,
        [],
        Avx512,
        dot,
        round
    );
}
