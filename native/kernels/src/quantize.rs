//! Activations as int8: blocks of 32, symmetric, one f32 scale a block.
//!
//! q = round(x · 127 / max|x|), ties to even; scale = max|x| / 127. A block depends on its own 32 values only (D5).
//! Rows are laid out tile by tile, `[block][row of tile]`, so that a kernel reaches all rows from one pointer.

use crate::simd::{LANES, Simd};

/// One block of one row. The three sums are what each packed kind starts from or adds.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct QuantisedRow {
    pub quants: [i8; 32],
    pub scale: f32,
    /// −8 · Σ quants, for nibbles with bias 8.
    pub sum_8: i32,
    /// −128 · Σ quants, for int8 stored + 128.
    pub sum_128: i32,
    /// scale · Σ quants, for nibbles with a minimum.
    pub scaled_sum: f32,
}

impl QuantisedRow {
    pub const ZERO: Self = Self {
        quants: [0; 32],
        scale: 0.0,
        sum_8: 0,
        sum_128: 0,
        scaled_sum: 0.0,
    };
}

/// Quantise `rows` rows of `x` (k values each, `k` a multiple of 32) as one tile: block b of row r goes to `out[b·rows + r]`.
///
/// # Safety
/// `x` is valid for rows · k reads, `out` for rows · k / 32 writes.
#[inline(always)]
pub(crate) unsafe fn quantise_tile<S: Simd>(
    x: *const f32,
    k: usize,
    rows: usize,
    out: *mut QuantisedRow,
) {
    for row in 0..rows {
        for block in 0..k / 32 {
            let from = x.add(row * k + block * 32);
            quantise_block::<S>(from, &mut *out.add(block * rows + row));
        }
    }
}

#[inline(always)]
unsafe fn quantise_block<S: Simd>(x: *const f32, out: &mut QuantisedRow) {
    let (low, high) = (S::load(x), S::load(x.add(LANES)));
    let largest = S::max_lane(S::max(S::abs(low), S::abs(high)));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let factor = S::splat(inverse);
    let (low, high) = (
        S::round(S::mul(low, factor)),
        S::round(S::mul(high, factor)),
    );
    let (low, high) = (S::to_array(low), S::to_array(high));
    let mut sum = 0;
    for lane in 0..LANES {
        out.quants[lane] = low[lane] as i8;
        out.quants[LANES + lane] = high[lane] as i8;
        sum += i32::from(out.quants[lane]) + i32::from(out.quants[LANES + lane]);
    }
    out.scale = largest / 127.0;
    out.sum_8 = -8 * sum;
    out.sum_128 = -128 * sum;
    out.scaled_sum = out.scale * sum as f32;
}
