//! Grouped integer weights times int8 activations: integer dot products, scaled and summed in f32, block after block.
//!
//! Per output and block of 32: acc = fma(Σ (q − centre)·a − zero·Σ a (exact integers), scale·s, acc), blocks ascending.
//! This file has the choice of the kernel and the reference in plain integers; `linear_grouped_vnni` and
//! `linear_grouped_avx2` give the same bits.

use std::ops::Range;

use crate::cpu::family;
use crate::grouped::{Codes, Grouped};
use crate::linear::{TILE_ROWS, Target, row_tiles};
use crate::linear_ahead::Ahead;
use crate::linear_grouped_quads;
use crate::packed_linear::{BLOCK, TILE_COLUMNS};
use crate::quads::has_quads;
use crate::quantize::QuantisedRow;
use crate::simd::Simd;
use crate::simd_portable::Portable;
#[cfg(target_arch = "x86_64")]
use crate::{cpu::Family, linear_grouped_avx2, linear_grouped_vnni};

/// Multiply the rows of `range` with one tile.
///
/// # Safety
/// As `int8_rows`, with a tile of `blocks` blocks of `kind`, whose codes are integers.
pub(crate) unsafe fn grouped_rows(
    kind: Grouped,
    tile: &[u8],
    blocks: usize,
    quantised: *const QuantisedRow,
    range: Range<usize>,
    target: &Target,
) {
    let family = family();
    let num_row_tiles = range.len().div_ceil(TILE_ROWS);
    let block_lines = kind.code_bytes() / 64;
    for (at, rows) in row_tiles(range.clone()).enumerate() {
        let acts = quantised.add(rows.start * blocks);
        let ahead = Ahead::new(tile, block_lines, at, num_row_tiles);
        #[cfg(target_arch = "x86_64")]
        if family == Family::Avx512Vnni {
            linear_grouped_vnni::tile(kind, tile.as_ptr(), blocks, acts, rows, target, &ahead);
            continue;
        }
        if has_quads(family) {
            linear_grouped_quads::tile(kind, tile.as_ptr(), blocks, acts, rows, target, &ahead);
            continue;
        }
        for row in 0..rows.len() {
            let (acts, stride, to) = (acts.add(row), rows.len(), rows.start + row);
            match family {
                #[cfg(target_arch = "x86_64")]
                Family::Avx2 => {
                    let tile = tile.as_ptr();
                    linear_grouped_avx2::row(kind, tile, blocks, acts, stride, to, target);
                }
                _ => portable_row(kind, tile, blocks, acts, stride, to, target),
            }
        }
    }
}

/// What Σ q·a starts from, so that it becomes Σ (q − centre)·a.
#[inline(always)]
pub(crate) fn start_of(codes: Codes, act: &QuantisedRow) -> i32 {
    match codes {
        Codes::Nibbles => act.sum_8,
        _ => act.sum_128,
    }
}

/// One row, in plain integers: the reference.
unsafe fn portable_row(
    kind: Grouped,
    tile: &[u8],
    blocks: usize,
    acts: *const QuantisedRow,
    stride: usize,
    row: usize,
    target: &Target,
) {
    let mut sums = [0.0_f32; TILE_COLUMNS];
    for block in 0..blocks {
        let act = &*acts.add(block * stride);
        let sum = act.sums[0] + act.sums[1];
        for (column, total) in sums.iter_mut().enumerate() {
            let mut dot = start_of(kind.codes, act);
            dot -= i32::from(kind.zero(tile, blocks, block, column)) * sum;
            for k in 0..BLOCK {
                let code = kind.code(tile, block, column, k);
                dot += i32::from(code) * i32::from(act.quants[k]);
            }
            let scale = kind.scale(tile, blocks, block, column) * act.scale;
            *total = (dot as f32).mul_add(scale, *total);
        }
    }
    let (low, high) = (sums.as_ptr(), sums.as_ptr().add(16));
    target.store::<Portable>(row, Portable::load(low), Portable::load(high));
}
