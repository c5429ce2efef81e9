//! bf16 KV: queries and weights are rounded to bf16 too, products of pairs are exact and summed in f32.
//!
//! `vdpbf16ps` adds the two products of a pair one after the other, each rounded once, and flushes subnormal sums. So that
//! CPUs without it have the same bits, numbers below 2^-50 are stored as 0: every product is then a multiple of 2^-114, and
//! so is every sum, which therefore is 0 or far above the subnormals. What is lost, 2^-50 of a key's or value's number, is
//! less than f32 keeps beside a number above 2^-26.
//! Source: Intel's manual, VDPBF16PS; compared bit for bit on Zen 4 (tests).

use std::ops::Range;

use crate::attention_tile::{Arithmetic, SPLIT, Work};
use crate::attention_view::View;
use crate::simd::{LANES, Simd};

/// 2^-100, the square of what is stored as 0.
const SMALLEST_SQUARE: f32 = f32::from_bits((127 - 100) << 23);

/// Round sixteen numbers as every operand of this file is.
#[inline(always)]
pub(crate) unsafe fn store_rounded<S: Simd>(to: *mut u16, value: S::F) {
    let square = S::mul(value, value);
    S::store_bf16(
        to,
        S::select_below(square, SMALLEST_SQUARE, S::splat(0.0), value),
    );
}

macro_rules! arithmetic {
    ($(#[$what:meta])* $name:ident, [$($generic:tt)*], $simd:ty, $dot:path, $round:path) => {
        $(#[$what])*
        pub(crate) struct $name;

        // SAFETY: pointers and CPU features are the caller's promise.
        unsafe impl<$($generic)*> Arithmetic<$simd> for $name {
            type Key = <$simd as Simd>::W;
            type Score = <$simd as Simd>::F;
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
            unsafe fn finish_score(
                score: Self::Score,
                _view: &View<'_>,
                _position: usize,
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
            unsafe fn stage(
                work: &mut Work,
                vector: usize,
                visible: &Range<usize>,
                _view: &View<'_>,
                _start: usize,
            ) {
                debug_assert!(visible.end <= SPLIT);
                let (from, to) = (
                    work.scores[vector].as_ptr(),
                    work.staged[vector].as_mut_ptr().cast::<u16>(),
                );
                for t in (visible.start / LANES * LANES..visible.end).step_by(LANES) {
                    $round(to.add(t), <$simd>::load(from.add(t)));
                }
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
    store_rounded::<S>
);

#[cfg(target_arch = "x86_64")]
pub(crate) use native::NativeBf16;

#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::*;
    use std::mem::transmute;
    use std::ops::Range;

    use super::{Arithmetic, LANES, SMALLEST_SQUARE, SPLIT, Simd, View, Work};
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
    unsafe fn store_rounded(to: *mut u16, value: __m512) {
        let square = _mm512_mul_ps(value, value);
        let small = _mm512_set1_ps(SMALLEST_SQUARE);
        // Kept where the square is not below, so that a NaN stays one.
        let is_kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(square, small);
        let rounded = _mm512_cvtneps_pbh(_mm512_maskz_mov_ps(is_kept, value));
        // SAFETY: both are 32 bytes.
        _mm256_storeu_si256(to.cast(), transmute::<__m256bh, __m256i>(rounded));
    }

    arithmetic!(
        /// With AVX-512 BF16's own dot product and rounding.
        NativeBf16,
        [],
        Avx512,
        dot,
        store_rounded
    );
}
