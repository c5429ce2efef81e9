//! The grouped path on AVX-512 VNNI: a tile of up to 6 rows × 32 columns in registers, as in `linear_int8`.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::grouped::{Codes, Grouped};
use crate::linear::Target;
use crate::linear_grouped::start_of;
use crate::linear_int8::Ahead;
use crate::packed_linear::TILE_COLUMNS;
use crate::quantize::QuantisedRow;
use crate::simd_avx512::Avx512;

/// # Safety
/// As `grouped_rows`; the CPU has AVX-512 VNNI; 1 to 6 rows.
pub(crate) unsafe fn tile(
    kind: Grouped,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    let first = rows.start;
    macro_rules! by_rows {
        ($bytes:literal, $zeros:literal) => {
            match rows.len() {
                1 => {
                    rows_of::<1, $bytes, $zeros>(kind, weights, blocks, acts, first, target, ahead)
                }
                2 => {
                    rows_of::<2, $bytes, $zeros>(kind, weights, blocks, acts, first, target, ahead)
                }
                3 => {
                    rows_of::<3, $bytes, $zeros>(kind, weights, blocks, acts, first, target, ahead)
                }
                4 => {
                    rows_of::<4, $bytes, $zeros>(kind, weights, blocks, acts, first, target, ahead)
                }
                5 => {
                    rows_of::<5, $bytes, $zeros>(kind, weights, blocks, acts, first, target, ahead)
                }
                _ => {
                    rows_of::<6, $bytes, $zeros>(kind, weights, blocks, acts, first, target, ahead)
                }
            }
        };
    }
    match (kind.codes == Codes::Bytes, kind.has_zeros) {
        (false, false) => by_rows!(false, false),
        (false, true) => by_rows!(false, true),
        (true, false) => by_rows!(true, false),
        (true, true) => by_rows!(true, true),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
unsafe fn rows_of<const ROWS: usize, const BYTES: bool, const ZEROS: bool>(
    kind: Grouped,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    first_row: usize,
    target: &Target,
    ahead: &Ahead,
) {
    let (groups, code_bytes) = if BYTES { (8, 1024) } else { (4, 512) };
    let codes = if BYTES { Codes::Bytes } else { Codes::Nibbles };
    let low_bits = _mm512_set1_epi8(15);
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    // Walked along, since a division a block would cost as much as its sums.
    let mut scales_at = weights.add(kind.scales_at(blocks, 0)).cast::<f32>();
    // Wherever it points when there are none.
    let mut zeros_at = weights.wrapping_add(kind.zeros_at(blocks, 0));
    let mut left_of_scale = kind.blocks_per_scale;
    for block in 0..blocks {
        let tile = weights.add(block * code_bytes);
        let act = acts.add(block * ROWS);
        for line in ahead.lines.clone() {
            // Past the last tile there may be no memory at this address; a prefetch ignores that.
            let at = ahead.from.wrapping_add(block * code_bytes + line * 64);
            _mm_prefetch::<_MM_HINT_T0>(at.cast());
        }
        let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
        for row in 0..ROWS {
            dots[row] = [_mm512_set1_epi32(start_of(codes, &*act.add(row))); 2];
        }
        for group in 0..groups {
            let first = _mm512_load_si512(tile.add(group * 64).cast());
            let second = _mm512_load_si512(tile.add((groups + group) * 64).cast());
            if BYTES {
                for row in 0..ROWS {
                    let a = quad((*act.add(row)).quants.as_ptr().add(group * 4));
                    dots[row][0] = _mm512_dpbusd_epi32(dots[row][0], first, a);
                    dots[row][1] = _mm512_dpbusd_epi32(dots[row][1], second, a);
                }
            } else {
                // No `map`: what it calls is compiled without these CPU features.
                let low = [
                    _mm512_and_si512(first, low_bits),
                    _mm512_and_si512(second, low_bits),
                ];
                let high = [
                    _mm512_and_si512(_mm512_srli_epi16::<4>(first), low_bits),
                    _mm512_and_si512(_mm512_srli_epi16::<4>(second), low_bits),
                ];
                for row in 0..ROWS {
                    let quants = (*act.add(row)).quants.as_ptr();
                    let (a, b) = (
                        quad(quants.add(group * 4)),
                        quad(quants.add(16 + group * 4)),
                    );
                    for half in 0..2 {
                        dots[row][half] = _mm512_dpbusd_epi32(dots[row][half], low[half], a);
                        dots[row][half] = _mm512_dpbusd_epi32(dots[row][half], high[half], b);
                    }
                }
            }
        }
        if ZEROS {
            let at = zeros_at;
            let zeros = [
                _mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast())),
                _mm512_cvtepi8_epi32(_mm_loadu_si128(at.add(16).cast())),
            ];
            for row in 0..ROWS {
                let act_sums = (*act.add(row)).sums;
                let sum = _mm512_set1_epi32(act_sums[0] + act_sums[1]);
                for half in 0..2 {
                    let taken = _mm512_mullo_epi32(zeros[half], sum);
                    dots[row][half] = _mm512_sub_epi32(dots[row][half], taken);
                }
            }
        }
        let scales = [
            _mm512_loadu_ps(scales_at),
            _mm512_loadu_ps(scales_at.add(16)),
        ];
        left_of_scale -= 1;
        if left_of_scale == 0 {
            scales_at = scales_at.add(TILE_COLUMNS);
            zeros_at = zeros_at.wrapping_add(TILE_COLUMNS);
            left_of_scale = kind.blocks_per_scale;
        }
        for row in 0..ROWS {
            let s = _mm512_set1_ps((*act.add(row)).scale);
            for half in 0..2 {
                let dot = _mm512_cvtepi32_ps(dots[row][half]);
                let scale = _mm512_mul_ps(scales[half], s);
                sums[row][half] = _mm512_fmadd_ps(dot, scale, sums[row][half]);
            }
        }
    }
    for row in 0..ROWS {
        target.store::<Avx512>(first_row + row, sums[row][0], sums[row][1]);
    }
}

/// Four activations in every lane.
#[inline(always)]
unsafe fn quad(from: *const i8) -> __m512i {
    _mm512_set1_epi32(from.cast::<i32>().read_unaligned())
}
