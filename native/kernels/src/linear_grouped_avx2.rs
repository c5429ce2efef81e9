//! The grouped path on AVX2: the same integers and the same fused operations, sixteen columns at a time. What saturates
//! where is said in `linear_avx2`.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use crate::grouped::{Codes, Grouped};
use crate::linear::Target;
use crate::quantize::QuantisedRow;
use crate::simd::Simd;
use crate::simd_portable::Portable;

/// Multiply one row with one tile; `acts` points to the row's first block, its blocks lie `stride` apart.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C. `weights` is a tile of `blocks` blocks of `kind`; `row` is a row of `target`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn row(
    kind: Grouped,
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
        match kind.codes {
            Codes::Bytes => columns::<true>(kind, weights, half, blocks, acts, stride, to),
            _ => columns::<false>(kind, weights, half, blocks, acts, stride, to),
        }
    }
    let (low, high) = (sums.as_ptr(), sums.as_ptr().add(16));
    target.store::<Portable>(row, Portable::load(low), Portable::load(high));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn columns<const BYTES: bool>(
    kind: Grouped,
    weights: *const u8,
    half: usize,
    blocks: usize,
    acts: *const QuantisedRow,
    stride: usize,
    to: *mut f32,
) {
    let (groups, code_bytes) = if BYTES { (8, 1024) } else { (4, 512) };
    let (ones, low_bits) = (_mm256_set1_epi16(1), _mm256_set1_epi8(15));
    let mut sums = [_mm256_setzero_ps(); 2];
    for block in 0..blocks {
        let tile = weights.add(block * code_bytes);
        let act = &*acts.add(block * stride);
        let quad = |at: usize| _mm256_set1_epi32(act.quants.as_ptr().add(at).cast::<i32>().read());
        for quarter in 0..2 {
            let group_at = |group: usize| {
                let at = tile.add((half * groups + group) * 64 + quarter * 32);
                _mm256_load_si256(at.cast())
            };
            let mut dot;
            if BYTES {
                dot = _mm256_setzero_si256();
                for group in 0..groups {
                    let signed = _mm256_xor_si256(group_at(group), _mm256_set1_epi8(-128));
                    let pairs = _mm256_maddubs_epi16(
                        _mm256_abs_epi8(signed),
                        _mm256_sign_epi8(quad(group * 4), signed),
                    );
                    dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, ones));
                }
            } else {
                let mut pairs = _mm256_setzero_si256();
                for group in 0..groups {
                    let both = group_at(group);
                    let low = _mm256_and_si256(both, low_bits);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_bits);
                    let low = _mm256_maddubs_epi16(low, quad(group * 4));
                    let high = _mm256_maddubs_epi16(high, quad(16 + group * 4));
                    pairs = _mm256_add_epi16(pairs, _mm256_add_epi16(low, high));
                }
                dot = _mm256_madd_epi16(pairs, ones);
                dot = _mm256_add_epi32(dot, _mm256_set1_epi32(act.sum_8));
            }
            let column = half * 16 + quarter * 8;
            if kind.has_zeros {
                let at = weights.add(kind.zeros_at(blocks, block) + column);
                let zeros = _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()));
                let sum = _mm256_set1_epi32(act.sums[0] + act.sums[1]);
                dot = _mm256_sub_epi32(dot, _mm256_mullo_epi32(zeros, sum));
            }
            let at = weights.add(kind.scales_at(blocks, block) + column * 4);
            let scale = _mm256_mul_ps(_mm256_loadu_ps(at.cast()), _mm256_set1_ps(act.scale));
            sums[quarter] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sums[quarter]);
        }
    }
    _mm256_storeu_ps(to, sums[0]);
    _mm256_storeu_ps(to.add(8), sums[1]);
}
