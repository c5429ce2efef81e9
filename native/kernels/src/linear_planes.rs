//! Weights in planes times int8 activations: integer dot products, scaled and summed in f32, block after block.
//!
//! Per output and block of 32, q unsigned, Σ exact integers with the bias (or 128, for tables) taken off:
//! scales of 32: acc = fma(Σ q·a, scale·s, acc), then, with minima, acc = fma(minimum, s·Σa, acc)
//! scales of 16: t = Σ₁ q·a · scale₁; t = fma(Σ₀ q·a, scale₀, t); acc = fma(t, s, acc); minima as above, 0 before 1
//! where scale (d · sc) is rounded once, which changes nothing: it has 17 bits. This file has the choice of the kernel and
//! the reference in plain integers; `linear_planes_vnni` and `linear_planes_avx2` give the same bits.

use std::ops::Range;

use crate::cpu::family;
use crate::format::Format;
use crate::linear::{TILE_ROWS, Target, row_tiles};
use crate::linear_ahead::Ahead;
use crate::linear_planes_quads;
use crate::packed_linear::TILE_COLUMNS;
use crate::planes::Planes;
use crate::planes_pack::{quant, scale_and_minimum};
use crate::quads::has_quads;
use crate::quantize::QuantisedRow;
use crate::simd::Simd;
use crate::simd_portable::Portable;
#[cfg(target_arch = "x86_64")]
use crate::{cpu::Family, linear_planes_avx2, linear_planes_vnni};

/// Multiply the rows of `range` with one tile.
///
/// # Safety
/// As `int8_rows`, with a tile of `blocks` blocks in the planes of `format`.
pub(crate) unsafe fn planes_rows(
    format: Format,
    tile: &[u8],
    blocks: usize,
    quantised: *const QuantisedRow,
    range: Range<usize>,
    target: &Target,
) {
    let family = family();
    let planes = Planes::of(format).expect("a format of planes");
    let num_row_tiles = range.len().div_ceil(TILE_ROWS);
    let block_lines = planes.block_bytes().div_ceil(64);
    for (at, rows) in row_tiles(range.clone()).enumerate() {
        let acts = quantised.add(rows.start * blocks);
        let ahead = Ahead::new(tile, block_lines, at, num_row_tiles);
        #[cfg(target_arch = "x86_64")]
        if family == Family::Avx512Vnni {
            linear_planes_vnni::tile(format, tile.as_ptr(), blocks, acts, rows, target, &ahead);
            continue;
        }
        if has_quads(family) {
            linear_planes_quads::tile(format, tile.as_ptr(), blocks, acts, rows, target, &ahead);
            continue;
        }
        for row in 0..rows.len() {
            let (acts, stride, to) = (acts.add(row), rows.len(), rows.start + row);
            match family {
                #[cfg(target_arch = "x86_64")]
                Family::Avx2 => {
                    let tile = tile.as_ptr();
                    linear_planes_avx2::row(format, tile, blocks, acts, stride, to, target);
                }
                _ => portable_row(&planes, tile, blocks, acts, stride, to, target),
            }
        }
    }
}

/// One row, in plain integers: the reference.
unsafe fn portable_row(
    planes: &Planes,
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
        let at = planes.block(blocks, block);
        for (column, sum) in sums.iter_mut().enumerate() {
            let dots = [0, 16].map(|first| {
                (first..first + 16)
                    .map(|k| {
                        let weight = planes.value(quant(planes, tile, at, column, k));
                        i32::from(weight) * i32::from(act.quants[k])
                    })
                    .sum::<i32>()
            });
            let (scale, minimum) = scale_and_minimum(planes, tile, at, column, 0);
            if planes.is_per_16 {
                let (second, second_minimum) = scale_and_minimum(planes, tile, at, column, 1);
                let both = (dots[0] as f32).mul_add(scale, dots[1] as f32 * second);
                *sum = both.mul_add(act.scale, *sum);
                if planes.has_minima {
                    *sum = minimum.mul_add(act.scaled_sums[0], *sum);
                    *sum = second_minimum.mul_add(act.scaled_sums[1], *sum);
                }
            } else {
                let dot = (dots[0] + dots[1]) as f32;
                *sum = dot.mul_add(scale * act.scale, *sum);
                if planes.has_minima {
                    *sum = minimum.mul_add(act.scaled_sum, *sum);
                }
            }
        }
    }
    let (low, high) = (sums.as_ptr(), sums.as_ptr().add(16));
    target.store::<Portable>(row, Portable::load(low), Portable::load(high));
}
