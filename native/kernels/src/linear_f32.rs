//! Any weights times f32 activations: a tile is dequantised once into a panel `[k][32]`, then multiplied with all rows.
//!
//! Per output: acc = fma(x[k], w[k], acc), k ascending. The weight is the exact dequantised value (product and sum
//! rounded apart, as the formats define), so this path is the reference for quality.

use std::ops::Range;

use crate::format::Format;
use crate::linear::{TILE_ROWS, Target, row_tiles};
use crate::linear_grouped_panel::{dequantise_grouped, multiply_grouped};
use crate::linear_planes_panel::dequantise_planes;
use crate::packed_linear::{Kind, TILE_COLUMNS};
use crate::simd::{LANES, Simd};

/// Multiply the rows of `range` with one tile. `panel` is working memory of k · 32 values. With an order, the tile's k
/// stand for other inputs: the panel is written in the order of the inputs, so that sums are those of plain weights.
///
/// # Safety
/// `tile` is a tile of `kind` with `k` inputs; `x` has the range's rows of `k` values; `target` has those rows.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn panel_rows(
    kind: Kind,
    tile: &[u8],
    k: usize,
    order: Option<&[u32]>,
    x: *const f32,
    range: Range<usize>,
    panel: *mut f32,
    target: &Target,
) {
    let tile = tile.as_ptr();
    crate::dispatch!(panel_body(kind: Kind, tile: *const u8, k: usize, order: Option<&[u32]>, x: *const f32, range: Range<usize>, panel: *mut f32, target: &Target));
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn panel_body<S: Simd>(
    kind: Kind,
    tile: *const u8,
    k: usize,
    order: Option<&[u32]>,
    x: *const f32,
    range: Range<usize>,
    panel: *mut f32,
    target: &Target,
) {
    // One tile of rows reads each weight once, so dense weights go from their own width straight into registers.
    let is_single = range.len() <= TILE_ROWS;
    match kind {
        Kind::Dense(Format::F16) if is_single => {
            return row_tile::<S, HalfWeight>(tile, k, x, range, target);
        }
        Kind::Dense(Format::BF16) if is_single => {
            return row_tile::<S, BrainWeight>(tile, k, x, range, target);
        }
        Kind::Grouped(grouped) if is_single && order.is_none() => {
            return multiply_grouped::<S>(grouped, tile, k, x, range, target);
        }
        _ => {}
    }
    let panel = match kind {
        Kind::Dense(Format::F32) => tile,
        _ => {
            dequantise_tile::<S>(kind, tile, k, order, panel);
            panel.cast_const().cast()
        }
    };
    for rows in row_tiles(range) {
        row_tile::<S, FloatWeight>(panel, k, x, rows, target);
    }
}

/// How the weights of one k become f32, from a tile of them.
trait Weight {
    /// Those of columns 16 · `half` … + 15.
    unsafe fn load<S: Simd>(tile: *const u8, k: usize, half: usize) -> S::F;
}

struct FloatWeight;

impl Weight for FloatWeight {
    #[inline(always)]
    unsafe fn load<S: Simd>(tile: *const u8, k: usize, half: usize) -> S::F {
        S::load(tile.cast::<f32>().add(k * TILE_COLUMNS + half * LANES))
    }
}

struct HalfWeight;

impl Weight for HalfWeight {
    #[inline(always)]
    unsafe fn load<S: Simd>(tile: *const u8, k: usize, half: usize) -> S::F {
        S::load_f16(tile.cast::<u16>().add(k * TILE_COLUMNS + half * LANES))
    }
}

/// bf16, two k a word, the lower in the upper half.
struct BrainWeight;

impl Weight for BrainWeight {
    #[inline(always)]
    unsafe fn load<S: Simd>(tile: *const u8, k: usize, half: usize) -> S::F {
        let at = k / 2 * TILE_COLUMNS + half * LANES;
        let words = S::load_words(tile.cast::<u32>().add(at));
        if k.is_multiple_of(2) {
            S::upper_halves(words)
        } else {
            S::lower_halves(words)
        }
    }
}

/// Multiply up to six rows with weights `[k][32]`.
#[inline(always)]
unsafe fn row_tile<S: Simd, W: Weight>(
    weights: *const u8,
    k: usize,
    x: *const f32,
    rows: Range<usize>,
    target: &Target,
) {
    let from = x.add(rows.start * k);
    match rows.len() {
        1 => multiply::<S, W, 1>(weights, k, from, rows.start, target),
        2 => multiply::<S, W, 2>(weights, k, from, rows.start, target),
        3 => multiply::<S, W, 3>(weights, k, from, rows.start, target),
        4 => multiply::<S, W, 4>(weights, k, from, rows.start, target),
        5 => multiply::<S, W, 5>(weights, k, from, rows.start, target),
        _ => multiply::<S, W, TILE_ROWS>(weights, k, from, rows.start, target),
    }
}

#[inline(always)]
unsafe fn multiply<S: Simd, W: Weight, const ROWS: usize>(
    weights: *const u8,
    k: usize,
    x: *const f32,
    first_row: usize,
    target: &Target,
) {
    let mut sums = [[S::splat(0.0); 2]; ROWS];
    // Two at a time, so that which of a pair a k is, is known when this is compiled.
    for pair in 0..k / 2 {
        add_one::<S, W, ROWS>(weights, k, x, pair * 2, &mut sums);
        add_one::<S, W, ROWS>(weights, k, x, pair * 2 + 1, &mut sums);
    }
    if !k.is_multiple_of(2) {
        add_one::<S, W, ROWS>(weights, k, x, k - 1, &mut sums);
    }
    for row in 0..ROWS {
        target.store::<S>(first_row + row, sums[row][0], sums[row][1]);
    }
}

#[inline(always)]
unsafe fn add_one<S: Simd, W: Weight, const ROWS: usize>(
    weights: *const u8,
    k: usize,
    x: *const f32,
    at: usize,
    sums: &mut [[S::F; 2]; ROWS],
) {
    let (low, high) = (W::load::<S>(weights, at, 0), W::load::<S>(weights, at, 1));
    for row in 0..ROWS {
        let value = S::splat(*x.add(row * k + at));
        sums[row][0] = S::fma(value, low, sums[row][0]);
        sums[row][1] = S::fma(value, high, sums[row][1]);
    }
}

/// Write a tile's exact values to `panel`, `[k][32]`.
#[inline(always)]
unsafe fn dequantise_tile<S: Simd>(
    kind: Kind,
    tile: *const u8,
    k: usize,
    order: Option<&[u32]>,
    panel: *mut f32,
) {
    match kind {
        Kind::Planes(format) => dequantise_planes::<S>(format, tile, k, panel),
        Kind::Grouped(grouped) => dequantise_grouped::<S>(grouped, tile, k, order, panel),
        Kind::Dense(format) => {
            for at in 0..k {
                for half in 0..2 {
                    let value = match format {
                        Format::F16 => HalfWeight::load::<S>(tile, at, half),
                        Format::BF16 => BrainWeight::load::<S>(tile, at, half),
                        _ => FloatWeight::load::<S>(tile, at, half),
                    };
                    S::store(panel.add(at * TILE_COLUMNS + half * LANES), value);
                }
            }
        }
        Kind::Int8 => {
            for block in 0..k / 32 {
                let bytes = tile.add(block * 1088);
                let out = panel.add(block * 32 * TILE_COLUMNS);
                for half in 0..2 {
                    let scale = S::load_f16(bytes.add(1024 + half * 32).cast());
                    for at in 0..32 {
                        let word = bytes.add((half * 8 + at / 4) * 64);
                        let quant = S::load_bits(word, (at % 4 * 8) as u32, 0xff);
                        let value = S::mul(S::sub(quant, S::splat(128.0)), scale);
                        S::store(out.add(at * TILE_COLUMNS + half * LANES), value);
                    }
                }
            }
        }
        Kind::Nibbles { .. } | Kind::NibblesWithMinimum => {
            let (bias, stride) = match kind {
                Kind::Nibbles { bias } => (S::splat(f32::from(bias)), 576),
                _ => (S::splat(0.0), 640),
            };
            for block in 0..k / 32 {
                let bytes = tile.add(block * stride);
                let out = panel.add(block * 32 * TILE_COLUMNS);
                for half in 0..2 {
                    let scale = S::load_f16(bytes.add(512 + half * 32).cast());
                    // Adding −0 leaves every number as it is; adding 0 would turn −0 into 0.
                    let minimum = match kind {
                        Kind::NibblesWithMinimum => S::load_f16(bytes.add(576 + half * 32).cast()),
                        _ => S::splat(-0.0),
                    };
                    for at in 0..32 {
                        let word = bytes.add((half * 4 + at % 16 / 4) * 64);
                        let shift = at % 4 * 8 + at / 16 * 4;
                        let quant = S::sub(S::load_bits(word, shift as u32, 15), bias);
                        let value = S::add(S::mul(quant, scale), minimum);
                        S::store(out.add(at * TILE_COLUMNS + half * LANES), value);
                    }
                }
            }
        }
    }
}
