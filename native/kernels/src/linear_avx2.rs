//! The int8 path on AVX2: the same integers and the same fused operations as `linear_int8`, sixteen columns at a time.
//!
//! `vpmaddubsw` adds pairs in 16 bits and saturates, so ranges matter:
//! nibbles  |Σ of a block| in one 16-bit lane ≤ 4 groups · 2 halves · 2 · 15 · 127 = 30,480: summed in 16 bits, widened once
//! int8     2 · 128 · 127 = 32,512 fits, two of them do not: widened at once; |w| times a with w's sign stands for w · a
//! Activations are within ±127 (`quantise_block`), or their scale is NaN and no integer matters.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use crate::linear::Target;
use crate::packed_linear::Kind;
use crate::quantize::QuantisedRow;
use crate::simd::Simd;
use crate::simd_portable::Portable;

/// Multiply one row with one tile; `acts` points to the row's first block, its blocks lie `stride` apart.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C. `weights` is a tile of `blocks` blocks of `kind`; `row` is a row of `target`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn row(
    kind: Kind,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    stride: usize,
    row: usize,
    target: &Target,
) {
    let mut sums = [0.0_f32; 32];
    for half in 0..2 {
        let to = sums.as_mut_ptr().add(half * 16);
        match kind {
            Kind::Int8 => columns::<2>(weights, half, blocks, acts, stride, to),
            Kind::NibblesWithMinimum => columns::<1>(weights, half, blocks, acts, stride, to),
            _ => columns::<0>(weights, half, blocks, acts, stride, to),
        }
    }
    let (low, high) = (sums.as_ptr(), sums.as_ptr().add(16));
    target.store::<Portable>(row, Portable::load(low), Portable::load(high));
}

/// `KIND`: 0 nibbles, 1 nibbles with a minimum, 2 int8.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn columns<const KIND: u8>(
    weights: *const u8,
    half: usize,
    blocks: usize,
    acts: *const QuantisedRow,
    stride: usize,
    to: *mut f32,
) {
    let (groups, block_bytes) = match KIND {
        0 => (4, 576),
        1 => (4, 640),
        _ => (8, 1088),
    };
    let (ones, low_bits) = (_mm256_set1_epi16(1), _mm256_set1_epi8(15));
    let mut sums = [_mm256_setzero_ps(); 2];
    for block in 0..blocks {
        let block_at = weights.add(block * block_bytes);
        let act = &*acts.add(block * stride);
        let group_at = |group: usize, quarter: usize| {
            let at = block_at.add((half * groups + group) * 64 + quarter * 32);
            _mm256_load_si256(at.cast())
        };
        let quad = |at: usize| _mm256_set1_epi32(act.quants.as_ptr().add(at).cast::<i32>().read());
        for quarter in 0..2 {
            let dot = if KIND == 2 {
                let mut dot = _mm256_setzero_si256();
                for group in 0..groups {
                    let signed = _mm256_xor_si256(group_at(group, quarter), _mm256_set1_epi8(-128));
                    let pairs = _mm256_maddubs_epi16(
                        _mm256_abs_epi8(signed),
                        _mm256_sign_epi8(quad(group * 4), signed),
                    );
                    dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, ones));
                }
                dot
            } else {
                let mut pairs = _mm256_setzero_si256();
                for group in 0..groups {
                    let both = group_at(group, quarter);
                    let low = _mm256_and_si256(both, low_bits);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_bits);
                    let low = _mm256_maddubs_epi16(low, quad(group * 4));
                    let high = _mm256_maddubs_epi16(high, quad(16 + group * 4));
                    pairs = _mm256_add_epi16(pairs, _mm256_add_epi16(low, high));
                }
                let dot = _mm256_madd_epi16(pairs, ones);
                if KIND == 0 {
                    _mm256_add_epi32(dot, _mm256_set1_epi32(act.sum_8))
                } else {
                    dot
                }
            };
            let column = half * 16 + quarter * 8;
            let halves = |at: usize| _mm256_cvtph_ps(_mm_loadu_si128(block_at.add(at).cast()));
            let scale = _mm256_mul_ps(halves(groups * 128 + column * 2), _mm256_set1_ps(act.scale));
            sums[quarter] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sums[quarter]);
            if KIND == 1 {
                let scaled_sum = _mm256_set1_ps(act.scaled_sum);
                sums[quarter] =
                    _mm256_fmadd_ps(halves(576 + column * 2), scaled_sum, sums[quarter]);
            }
        }
    }
    _mm256_storeu_ps(to, sums[0]);
    _mm256_storeu_ps(to.add(8), sums[1]);
}
