//! Planes on AVX2: the same integers and the same fused operations, one row and eight columns at a time.
//!
//! `vpmaddubsw` adds pairs in 16 bits and saturates, so ranges matter: unsigned quants below 64 give pairs within
//! 2 · 63 · 127 = 16,002, so two are added in 16 bits before they are widened; of a table |w| times a with w's sign stands
//! for w · a, pairs within 2 · 127 · 127 = 32,258, widened at once.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;

use crate::format::Format;
use crate::linear::Target;
use crate::packed_linear::TILE_COLUMNS;
use crate::planes::{BlockAt, Planes, Scales, Values, group_at};
use crate::quantize::QuantisedRow;
use crate::simd::Simd;
use crate::simd_portable::Portable;

/// Multiply one row with one tile; `acts` points to the row's first block, its blocks lie `stride` apart.
///
/// # Safety
/// The CPU has AVX2, FMA and F16C. `weights` is a tile of `blocks` blocks of `format`; `row` is a row of `target`.
pub(crate) unsafe fn row(
    format: Format,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    stride: usize,
    row: usize,
    target: &Target,
) {
    let mut sums = [0.0_f32; TILE_COLUMNS];
    let to = sums.as_mut_ptr();
    crate::for_planes!(format, FORMAT => columns::<FORMAT>(weights, blocks, acts, stride, to));
    let (low, high) = (sums.as_ptr(), sums.as_ptr().add(16));
    target.store::<Portable>(row, Portable::load(low), Portable::load(high));
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn columns<const FORMAT: u8>(
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    stride: usize,
    to: *mut f32,
) {
    let planes = const { Planes::at(FORMAT) };
    let mut sums = [_mm256_setzero_ps(); 4];
    for block in 0..blocks {
        let at = planes.block(blocks, block);
        let act = &*acts.add(block * stride);
        let s = _mm256_set1_ps(act.scale);
        for eighth in 0..4 {
            let dots = dots::<FORMAT>(weights.add(at.quants), eighth, act);
            let (scale, minimum) = scales::<FORMAT>(weights, at, eighth * 8, 0);
            let mut sum = sums[eighth];
            if planes.is_per_16 {
                let (second, second_minimum) = scales::<FORMAT>(weights, at, eighth * 8, 1);
                let both = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[1]), second);
                let both = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[0]), scale, both);
                sum = _mm256_fmadd_ps(both, s, sum);
                if planes.has_minima {
                    sum = _mm256_fmadd_ps(minimum, _mm256_set1_ps(act.scaled_sums[0]), sum);
                    sum = _mm256_fmadd_ps(second_minimum, _mm256_set1_ps(act.scaled_sums[1]), sum);
                }
            } else {
                let dot = _mm256_cvtepi32_ps(_mm256_add_epi32(dots[0], dots[1]));
                sum = _mm256_fmadd_ps(dot, _mm256_mul_ps(scale, s), sum);
                if planes.has_minima {
                    sum = _mm256_fmadd_ps(minimum, _mm256_set1_ps(act.scaled_sum), sum);
                }
            }
            sums[eighth] = sum;
        }
    }
    for (eighth, sum) in sums.into_iter().enumerate() {
        _mm256_storeu_ps(to.add(eighth * 8), sum);
    }
}

/// Integer products of eight columns, of k 0–15 and of k 16–31, bias taken off.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dots<const FORMAT: u8>(
    quants: *const u8,
    eighth: usize,
    act: &QuantisedRow,
) -> [__m256i; 2] {
    let planes = const { Planes::at(FORMAT) };
    let ones = _mm256_set1_epi16(1);
    let mut dots = [_mm256_setzero_si256(); 2];
    for part in 0..2 {
        let quad = |group: usize| {
            let from = act.quants.as_ptr().add(part * 16 + group * 4);
            _mm256_set1_epi32(from.cast::<i32>().read())
        };
        let mut dot = _mm256_setzero_si256();
        match planes.values {
            Values::Table(table) => {
                let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
                for group in 0..4 {
                    let places = unpack::<FORMAT>(quants, eighth, part * 4 + group);
                    let signed = _mm256_shuffle_epi8(table, places);
                    let pairs = _mm256_maddubs_epi16(
                        _mm256_abs_epi8(signed),
                        _mm256_sign_epi8(quad(group), signed),
                    );
                    dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, ones));
                }
            }
            Values::Less(bias) => {
                for group in [0, 2] {
                    let first = unpack::<FORMAT>(quants, eighth, part * 4 + group);
                    let second = unpack::<FORMAT>(quants, eighth, part * 4 + group + 1);
                    let first = _mm256_maddubs_epi16(first, quad(group));
                    let second = _mm256_maddubs_epi16(second, quad(group + 1));
                    let pairs = _mm256_add_epi16(first, second);
                    dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, ones));
                }
                if bias > 0 {
                    let taken = _mm256_set1_epi32(act.sums[part] * -i32::from(bias));
                    dot = _mm256_add_epi32(dot, taken);
                }
            }
        }
        dots[part] = dot;
    }
    dots
}

/// Unsigned quants of k 4·group … of eight columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack<const FORMAT: u8>(quants: *const u8, eighth: usize, group: usize) -> __m256i {
    let planes = const { Planes::at(FORMAT) };
    let (half, column) = (eighth / 2, eighth % 2 * 32);
    let (line, shift) = group_at(planes.low_bits, group);
    let from = quants.add((half * planes.low_bits + line) * 64 + column);
    let mask = _mm256_set1_epi8((1 << planes.low_bits) - 1);
    let low = moved(_mm256_load_si256(from.cast()), -(shift as i32));
    let low = _mm256_and_si256(low, mask);
    if planes.high_bits == 0 {
        return low;
    }
    let (line, shift) = group_at(planes.high_bits, group);
    let from = quants.add(planes.high_plane() + (half * planes.high_bits + line) * 64 + column);
    let mask = _mm256_set1_epi8(((1 << planes.high_bits) - 1) << planes.low_bits);
    let high = moved(
        _mm256_load_si256(from.cast()),
        planes.low_bits as i32 - shift as i32,
    );
    _mm256_or_si256(low, _mm256_and_si256(high, mask))
}

/// Bits moved up, or down where `by` is negative; what crosses into the next byte is masked off by the caller.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn moved(line: __m256i, by: i32) -> __m256i {
    match by {
        0 => line,
        1.. => _mm256_sll_epi16(line, _mm_cvtsi32_si128(by)),
        _ => _mm256_srl_epi16(line, _mm_cvtsi32_si128(-by)),
    }
}

/// As `load_scales`, of eight columns from `column` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn scales<const FORMAT: u8>(
    tile: *const u8,
    at: BlockAt,
    column: usize,
    part: usize,
) -> (__m256, __m256) {
    let planes = const { Planes::at(FORMAT) };
    let none = _mm256_setzero_ps();
    let words = |at: usize| _mm256_cvtph_ps(_mm_loadu_si128(tile.add(at + column * 2).cast()));
    let bytes = |at: usize| {
        let from = tile.add(at + part * TILE_COLUMNS + column);
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())))
    };
    match planes.scales {
        Scales::Half if planes.has_minima => (words(at.scales), words(at.minima)),
        Scales::Half => (words(at.scales), none),
        Scales::Chunk => (words(at.tail), none),
        Scales::Exponent => {
            let from = tile.add(at.scales + column);
            let exponent = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            let one = _mm256_set1_epi32(1);
            let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(exponent, one));
            let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x0020_0000), exponent);
            let is_normal = _mm256_cmpgt_epi32(exponent, one);
            let bits = _mm256_blendv_epi8(subnormal, normal, is_normal);
            (_mm256_castsi256_ps(bits), none)
        }
        Scales::Bytes => {
            let scale = _mm256_mul_ps(words(at.tail), bytes(at.scales));
            if !planes.has_minima {
                return (scale, none);
            }
            let negative = _mm256_mul_ps(_mm256_set1_ps(-1.0), words(at.tail + 64));
            (scale, _mm256_mul_ps(negative, bytes(at.minima)))
        }
    }
}
