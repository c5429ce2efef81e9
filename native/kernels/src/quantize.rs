//! Activations as int8: blocks of 32, symmetric, one f32 scale a block.
//!
//! q = round(x · 127 / max|x|), ties to even; scale = max|x| / 127. A block depends on its own 32 values only (D5).
//! Rows are laid out tile by tile, `[block][row of tile]`, so that a kernel reaches all rows from one pointer.

use crate::simd::{LANES, Simd};

/// One block of one row, a cache line. The sums are what each packed kind starts from or adds.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct QuantisedRow {
    pub quants: [i8; 32],
    pub scale: f32,
    /// −8 · Σ quants, for nibbles with bias 8.
    pub sum_8: i32,
    /// −128 · Σ quants, for int8 stored + 128.
    pub sum_128: i32,
    /// scale · Σ quants, for nibbles with a minimum.
    pub scaled_sum: f32,
    /// Σ quants of k 0–15 and of k 16–31.
    pub sums: [i32; 2],
    /// scale · `sums`, for minima of 16.
    pub scaled_sums: [f32; 2],
}

impl QuantisedRow {
    pub const ZERO: Self = Self {
        quants: [0; 32],
        scale: 0.0,
        sum_8: 0,
        sum_128: 0,
        scaled_sum: 0.0,
        sums: [0; 2],
        scaled_sums: [0.0; 2],
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

/// Below this a block counts as zeros: 127 / max|x| would overflow, and nothing a row holds beside it would notice.
const SMALLEST: f32 = 1e-36;

/// A block with a NaN or an infinity gets the scale NaN, so that the outputs it touches say so.
///
/// # Safety
/// `x` is valid for 32 reads.
#[inline(always)]
pub(crate) unsafe fn quantise_block<S: Simd>(x: *const f32, out: &mut QuantisedRow) {
    let (low, high) = (S::load(x), S::load(x.add(LANES)));
    let largest = S::max_magnitude(low, high);
    let (inverse, scale) = if largest < SMALLEST {
        (0.0, 0.0)
    } else if largest < f32::INFINITY {
        (127.0 / largest, largest / 127.0)
    } else {
        (0.0, f32::NAN)
    };
    let factor = S::splat(inverse);
    let quants = out.quants.as_mut_ptr();
    let sums = S::store_quants(quants, S::mul(low, factor), S::mul(high, factor));
    let sum = sums[0] + sums[1];
    out.scale = scale;
    out.sum_8 = sum * -8;
    out.sum_128 = sum * -128;
    out.scaled_sum = scale * sum as f32;
    out.sums = sums;
    out.scaled_sums = sums.map(|sum| scale * sum as f32);
}
