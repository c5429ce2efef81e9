//! The int8 path of `linear_int8` on AVX-512 VNNI. Layout and tile: ../shared/native.md, section C (measured 2026-11-23).
#![cfg(target_arch = "x86_64")]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::linear::Target;
use crate::linear_ahead::Ahead;
use crate::linear_vnni::{Sums, add_bytes, add_minimum, add_nibbles, add_scaled};
use crate::packed_linear::Kind;
use crate::quantize::QuantisedRow;
use crate::simd_avx512::Avx512;

const NIBBLES: u8 = 0;
const NIBBLES_WITH_MINIMUM: u8 = 1;
const INT8: u8 = 2;

/// # Safety
/// As `int8_rows`; the CPU has AVX-512 VNNI; 1 to 6 rows.
pub(crate) unsafe fn tile(
    kind: Kind,
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    rows: Range<usize>,
    target: &Target,
    ahead: &Ahead,
) {
    let (first, count) = (rows.start, rows.len());
    macro_rules! by_rows {
        ($kind:expr) => {
            crate::for_rows!(
                count,
                rows_of[$kind](weights, blocks, acts, first, target, ahead)
            )
        };
    }
    match kind {
        Kind::Nibbles { .. } => by_rows!(NIBBLES),
        Kind::NibblesWithMinimum => by_rows!(NIBBLES_WITH_MINIMUM),
        _ => by_rows!(INT8),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
unsafe fn rows_of<const ROWS: usize, const KIND: u8>(
    weights: *const u8,
    blocks: usize,
    acts: *const QuantisedRow,
    first_row: usize,
    target: &Target,
    ahead: &Ahead,
) {
    let (quant_bytes, block_bytes) = match KIND {
        NIBBLES => (512, 576),
        NIBBLES_WITH_MINIMUM => (512, 640),
        _ => (1024, 1088),
    };
    let mut sums: Sums<ROWS> = [[_mm512_setzero_ps(); 2]; ROWS];
    for row in 0..ROWS {
        target.claim(first_row + row);
    }
    for block in 0..blocks {
        let tile = weights.add(block * block_bytes);
        let act = acts.add(block * ROWS);
        ahead.fetch(block * block_bytes);
        let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
        if KIND != NIBBLES_WITH_MINIMUM {
            for row in 0..ROWS {
                let a = &*act.add(row);
                let start = if KIND == NIBBLES { a.sum_8 } else { a.sum_128 };
                dots[row] = [_mm512_set1_epi32(start); 2];
            }
        }
        if KIND == INT8 {
            add_bytes(tile, act, &mut dots);
        } else {
            add_nibbles(tile, act, &mut dots);
        }
        let scales = tile.add(quant_bytes);
        for half in 0..2 {
            add_scaled(half, &dots, halves(scales.add(half * 32)), act, &mut sums);
            if KIND == NIBBLES_WITH_MINIMUM {
                add_minimum(half, halves(scales.add(64 + half * 32)), act, &mut sums);
            }
        }
    }
    for row in 0..ROWS {
        target.store::<Avx512>(first_row + row, sums[row][0], sums[row][1]);
    }
}

#[inline(always)]
unsafe fn halves(from: *const u8) -> __m512 {
    _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
}
