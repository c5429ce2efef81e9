//! int4 and int8 weights times int8 activations: integer dot products of 32, scaled and summed in f32, block after block.
//!
//! Per output: acc = fma(Σ q·a (exact integer), d·s, acc), then, with minima, acc = fma(m, s·Σa, acc); blocks ascending.
//! This file has the choice of the kernel and the reference in plain integers; `linear_int8_vnni` and `linear_avx2` compute the
//! same integers and the same fused operations, so all agree bit for bit.

use std::ops::Range;

use half::f16;

use crate::cpu::family;
use crate::linear::{TILE_ROWS, Target, row_tiles};
use crate::linear_ahead::Ahead;
use crate::linear_grouped::grouped_rows;
use crate::linear_int8_quads;
use crate::linear_planes::planes_rows;
use crate::packed_linear::Kind;
use crate::quads::has_quads;
use crate::quantize::QuantisedRow;
use crate::simd_portable::Portable;
#[cfg(target_arch = "x86_64")]
use crate::{cpu::Family, linear_avx2, linear_int8_vnni};

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
        let ahead = match kind {
            Kind::Nibbles { .. } | Kind::NibblesWithMinimum if range.len() == 1 => Ahead::none(),
            _ => Ahead::new(tile, block_lines, at, num_row_tiles),
        };
        #[cfg(target_arch = "x86_64")]
        if family == Family::Avx512Vnni {
            linear_int8_vnni::tile(kind, tile.as_ptr(), blocks, acts, rows, target, &ahead);
            continue;
        }
        if has_quads(family) {
            linear_int8_quads::tile(kind, tile.as_ptr(), blocks, acts, rows, target, &ahead);
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
