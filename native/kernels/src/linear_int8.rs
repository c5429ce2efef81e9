//! int4 and int8 weights times int8 activations: integer dot products of 32, scaled and summed in f32, block after block.
//!
//! Per output: acc = fma(Σ q·a (exact integer), d·s, acc), then, with minima, acc = fma(m, s·Σa, acc); blocks ascending.
//! The AVX-512 path keeps a tile of up to 6 rows × 32 columns in registers (12 integer and 12 float accumulators) and
//! feeds `vpdpbusd`; the portable one computes the same integers and the same fused operations, so both agree bit for bit.
//! Source of the layout and the tile: ../shared/native.md, section C (measured 2026-11-23).

use std::ops::Range;

use half::f16;

use crate::cpu::{Family, family};
use crate::linear::{TILE_ROWS, Target, row_tiles};
#[cfg(target_arch = "x86_64")]
use crate::linear_avx2;
use crate::linear_grouped::grouped_rows;
use crate::linear_planes::planes_rows;
use crate::packed_linear::Kind;
use crate::quantize::QuantisedRow;
use crate::simd_portable::Portable;

/// Multiply the rows of `range` with one tile of packed weights.
///
/// # Safety
/// `tile` is a tile of `kind` with `k` inputs; `quantised` holds the range's rows as `quantise_range` lays them out;
/// `target` has those rows.
pub(crate) unsafe fn int8_rows(
    kind: Kind,
    tile: &[u8],
    k: usize,
    quantised: *const QuantisedRow,
    range: Range<usize>,
    target: &Target,
) {
    let blocks = k / 32;
    if let Kind::Planes(format) = kind {
        return planes_rows(format, tile, blocks, quantised, range, target);
    }
    if let Kind::Grouped(grouped) = kind {
        return grouped_rows(grouped, tile, blocks, quantised, range, target);
    }
    let family = family();
    let num_row_tiles = range.len().div_ceil(TILE_ROWS);
    let block_lines = kind.tile_bytes(32) / 64;
    for (at, rows) in row_tiles(range.clone()).enumerate() {
        let acts = quantised.add(rows.start * blocks);
        let ahead = Ahead::new(tile, range.len(), block_lines, at, num_row_tiles);
        #[cfg(target_arch = "x86_64")]
        if family == Family::Avx512Vnni {
            vnni::tile(
                kind,
                tile.as_ptr(),
                blocks,
                acts,
                rows.start,
                rows.len(),
                target,
                &ahead,
            );
            continue;
        }
        for row in 0..rows.len() {
            let (acts, stride, to) = (acts.add(row), rows.len(), rows.start + row);
            match family {
                #[cfg(target_arch = "x86_64")]
                Family::Avx2 => {
                    linear_avx2::row(kind, tile.as_ptr(), blocks, acts, stride, to, target);
                }
                _ => portable_row(kind, tile, blocks, acts, stride, to, target),
            }
        }
    }
}

/// Which weights a row tile fetches into the cache for later, block by block.
///
/// Several row tiles share the fetching of the next column tile. A single one of 2 to 6 rows runs ahead of itself; a
/// single row does not, because the hardware's own stream is faster then (Zen 4, shared/native.md, section C).
/// Weights from memory, one Zen 5 core, 2026-11-23, GMAC/s of Q4_1 576×3072: 4 rows 190 → 258, 16 rows 199 → 286.
pub(crate) struct Ahead {
    pub from: *const u8,
    /// Cache lines of each block.
    pub lines: Range<usize>,
}

/// Tried 4, 6, 8, 12 and 16 KB: 8 and 12 are best, within 3 % of each other.
const BYTES_AHEAD: usize = 8192;

impl Ahead {
    pub fn new(
        tile: &[u8],
        rows: usize,
        lines: usize,
        row_tile: usize,
        num_row_tiles: usize,
    ) -> Self {
        let next = tile.as_ptr_range().end;
        match (num_row_tiles, rows) {
            (1, 1) => Self {
                from: next,
                lines: 0..0,
            },
            (1, _) => Self {
                from: tile.as_ptr().wrapping_add(BYTES_AHEAD),
                lines: 0..lines,
            },
            _ => Self {
                from: next,
                lines: lines * row_tile / num_row_tiles..lines * (row_tile + 1) / num_row_tiles,
            },
        }
    }
}

/// One row, in plain integers: the reference.
unsafe fn portable_row(
    kind: Kind,
    tile: &[u8],
    blocks: usize,
    acts: *const QuantisedRow,
    stride: usize,
    row: usize,
    target: &Target,
) {
    let mut sums = [0.0_f32; 32];
    let block_bytes = kind.tile_bytes(32);
    for block in 0..blocks {
        let weights = &tile[block * block_bytes..][..block_bytes];
        let act = &*acts.add(block * stride);
        let (groups, scales_at) = if kind == Kind::Int8 {
            (8, 1024)
        } else {
            (4, 512)
        };
        let half_at = |at: usize| f16::from_le_bytes([weights[at], weights[at + 1]]).to_f32();
        for (column, sum) in sums.iter_mut().enumerate() {
            let (half, lane) = (column / 16, column % 16);
            let mut dot = match kind {
                Kind::Nibbles { .. } => act.sum_8,
                Kind::Int8 => act.sum_128,
                _ => 0,
            };
            for group in 0..groups {
                let word = &weights[(half * groups + group) * 64 + lane * 4..][..4];
                for (byte, weight) in word.iter().enumerate() {
                    let k = group * 4 + byte;
                    if kind == Kind::Int8 {
                        dot += i32::from(*weight) * i32::from(act.quants[k]);
                    } else {
                        dot += i32::from(weight & 15) * i32::from(act.quants[k]);
                        dot += i32::from(weight >> 4) * i32::from(act.quants[16 + k]);
                    }
                }
            }
            *sum = (dot as f32).mul_add(half_at(scales_at + column * 2) * act.scale, *sum);
            if kind == Kind::NibblesWithMinimum {
                *sum = half_at(576 + column * 2).mul_add(act.scaled_sum, *sum);
            }
        }
    }
    use crate::simd::Simd;
    let (low, high) = (
        Portable::load(sums.as_ptr()),
        Portable::load(sums.as_ptr().add(16)),
    );
    target.store::<Portable>(row, low, high);
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::*;

    use super::{Ahead, Kind, QuantisedRow, Target};
    use crate::simd_avx512::Avx512;

    const NIBBLES: u8 = 0;
    const NIBBLES_WITH_MINIMUM: u8 = 1;
    const INT8: u8 = 2;

    /// # Safety
    /// As `int8_rows`; the CPU has AVX-512 VNNI; 1 ≤ rows ≤ 6.
    #[allow(clippy::too_many_arguments)] // Registers, all of them: a struct would be built once a tile.
    pub unsafe fn tile(
        kind: Kind,
        weights: *const u8,
        blocks: usize,
        acts: *const QuantisedRow,
        first_row: usize,
        rows: usize,
        target: &Target,
        ahead: &Ahead,
    ) {
        macro_rules! by_rows {
            ($kind:expr) => {
                match rows {
                    1 => rows_of::<1, { $kind }>(weights, blocks, acts, first_row, target, ahead),
                    2 => rows_of::<2, { $kind }>(weights, blocks, acts, first_row, target, ahead),
                    3 => rows_of::<3, { $kind }>(weights, blocks, acts, first_row, target, ahead),
                    4 => rows_of::<4, { $kind }>(weights, blocks, acts, first_row, target, ahead),
                    5 => rows_of::<5, { $kind }>(weights, blocks, acts, first_row, target, ahead),
                    _ => rows_of::<6, { $kind }>(weights, blocks, acts, first_row, target, ahead),
                }
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
        let (groups, block_bytes) = match KIND {
            NIBBLES => (4, 576),
            NIBBLES_WITH_MINIMUM => (4, 640),
            _ => (8, 1088),
        };
        let low_bits = _mm512_set1_epi8(15);
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for block in 0..blocks {
            let tile = weights.add(block * block_bytes);
            let act = acts.add(block * ROWS);
            for line in ahead.lines.clone() {
                // Past the last tile there may be no memory at this address; a prefetch ignores that.
                let at = ahead.from.wrapping_add(block * block_bytes + line * 64);
                _mm_prefetch::<_MM_HINT_T0>(at.cast());
            }
            let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
            if KIND != NIBBLES_WITH_MINIMUM {
                for row in 0..ROWS {
                    let a = &*act.add(row);
                    let start =
                        _mm512_set1_epi32(if KIND == NIBBLES { a.sum_8 } else { a.sum_128 });
                    dots[row] = [start; 2];
                }
            }
            for group in 0..groups {
                let first = _mm512_load_si512(tile.add(group * 64).cast());
                let second = _mm512_load_si512(tile.add((groups + group) * 64).cast());
                if KIND == INT8 {
                    for row in 0..ROWS {
                        let a = quad((*act.add(row)).quants.as_ptr().add(group * 4));
                        dots[row][0] = _mm512_dpbusd_epi32(dots[row][0], first, a);
                        dots[row][1] = _mm512_dpbusd_epi32(dots[row][1], second, a);
                    }
                } else {
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
            let scales = tile.add(groups * 128);
            let scale = [halves(scales), halves(scales.add(32))];
            for row in 0..ROWS {
                let s = _mm512_set1_ps((*act.add(row)).scale);
                for half in 0..2 {
                    let dot = _mm512_cvtepi32_ps(dots[row][half]);
                    sums[row][half] =
                        _mm512_fmadd_ps(dot, _mm512_mul_ps(scale[half], s), sums[row][half]);
                }
            }
            if KIND == NIBBLES_WITH_MINIMUM {
                let minimum = [halves(scales.add(64)), halves(scales.add(96))];
                for row in 0..ROWS {
                    let s = _mm512_set1_ps((*act.add(row)).scaled_sum);
                    for half in 0..2 {
                        sums[row][half] = _mm512_fmadd_ps(minimum[half], s, sums[row][half]);
                    }
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

    #[inline(always)]
    unsafe fn halves(from: *const u8) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
    }
}
