//! The grouped path on AVX-512 VNNI: a tile of up to 6 rows × 32 columns in registers, as `linear_vnni` has it.
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::grouped::{Codes, Grouped};
use crate::linear::Target;
use crate::linear_ahead::Ahead;
use crate::linear_grouped::start_of;
use crate::linear_vnni::{Sums, add_bytes, add_nibbles, add_scaled};
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
    let (first, count) = (rows.start, rows.len());
    macro_rules! by_rows {
        ($bytes:literal, $zeros:literal) => {
            crate::for_rows!(count, rows_of [$bytes, $zeros] (kind, weights, blocks, acts, first, target, ahead))
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
    let (codes, code_bytes) = if BYTES {
        (Codes::Bytes, 1024)
    } else {
        (Codes::Nibbles, 512)
    };
    let mut sums: Sums<ROWS> = [[_mm512_setzero_ps(); 2]; ROWS];
    for row in 0..ROWS {
        target.claim(first_row + row);
    }
    // Walked along, since a division a block would cost as much as its sums.
    let mut scales_at = weights.add(kind.scales_at(blocks, 0)).cast::<f32>();
    // Wherever it points when there are none.
    let mut zeros_at = weights.wrapping_add(kind.zeros_at(blocks, 0));
    let mut left_of_scale = kind.blocks_per_scale;
    for block in 0..blocks {
        let tile = weights.add(block * code_bytes);
        let act = acts.add(block * ROWS);
        ahead.fetch(block * code_bytes);
        let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
        for row in 0..ROWS {
            dots[row] = [_mm512_set1_epi32(start_of(codes, &*act.add(row))); 2];
        }
        if BYTES {
            add_bytes(tile, act, &mut dots);
        } else {
            add_nibbles(tile, act, &mut dots);
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
        for half in 0..2 {
            let scale = _mm512_loadu_ps(scales_at.add(half * 16));
            add_scaled(half, &dots, scale, act, &mut sums);
        }
        left_of_scale -= 1;
        if left_of_scale == 0 {
            scales_at = scales_at.add(TILE_COLUMNS);
            zeros_at = zeros_at.wrapping_add(TILE_COLUMNS);
            left_of_scale = kind.blocks_per_scale;
        }
    }
    for row in 0..ROWS {
        target.store::<Avx512>(first_row + row, sums[row][0], sums[row][1]);
    }
}
