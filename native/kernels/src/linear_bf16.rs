//! bf16 weights times activations rounded to bf16: products of pairs are exact, and summed in f32.
//!
//! Per output: acc = fma(x[k], w[k], acc), k ascending: the bits of the f32 path on rounded activations. `vdpbf16ps` does two
//! such steps, the upper half of a word first, so the lower k of a pair lies in the upper half, of weights (as packed) and
//! activations alike. It flushes subnormals; none occur, because activations below 2^-50 are staged as 0 and weights below
//! 2^-62 packed as 0: every sum is a multiple of 2^-126. An odd k ends with a weight of 0 and an activation of −0.

use std::ops::Range;

use half::bf16;

use crate::attention_bf16::store_rounded;
#[cfg(target_arch = "x86_64")]
use crate::cpu::multiplies_bf16;
use crate::linear::{TILE_ROWS, Target, row_tiles};
use crate::linear_ahead::Ahead;
use crate::packed_linear::TILE_COLUMNS;
use crate::simd::{LANES, Simd};

/// Weights of smaller magnitude are packed as 0.
const SMALLEST_WEIGHT: f32 = f32::from_bits((127 - 62) << 23);

/// Words of a column between two askings for weights of the next tile, and the cache lines of a tile that they are.
const STEP: usize = 8;
const STEP_LINES: usize = STEP * TILE_COLUMNS * 4 / 64;

/// Byte of a weight in its tile.
fn byte_at(k: usize, column: usize) -> usize {
    ((k / 2 * TILE_COLUMNS + column) * 2 + (1 - k % 2)) * 2
}

/// Write one stored row as one column of a zeroed tile.
pub(crate) fn pack_column(row: &[u8], column: usize, tile: &mut [u8]) {
    for (k, bytes) in row.chunks_exact(2).enumerate() {
        let weight = bf16::from_le_bytes([bytes[0], bytes[1]]);
        let is_nothing = weight.to_f32().abs() < SMALLEST_WEIGHT;
        let kept = weight.to_bits() & if is_nothing { 0x8000 } else { 0xffff };
        tile[byte_at(k, column)..][..2].copy_from_slice(&kept.to_le_bytes());
    }
}

/// All values of a column. @param out - k of them
pub(crate) fn read_column(tile: &[u8], column: usize, out: &mut [f32]) {
    for (k, value) in out.iter_mut().enumerate() {
        let at = byte_at(k, column);
        *value = bf16::from_le_bytes([tile[at], tile[at + 1]]).to_f32();
    }
}

/// Round rows of `x` (k values each) to pairs, k.div_ceil(2) words a row.
///
/// # Safety
/// `x` has the rows of `range`; so has `out`.
pub(crate) unsafe fn round_pairs(x: *const f32, k: usize, range: Range<usize>, out: *mut u32) {
    for row in range {
        let (from, to) = (x.add(row * k), out.add(row * k.div_ceil(2)));
        crate::dispatch!(round_row(from: *const f32, k: usize, to: *mut u32));
    }
}

/// One row of `round_pairs`.
///
/// # Safety
/// `from` is valid for k reads, `to` for k.div_ceil(2) writes.
#[inline(always)]
pub(crate) unsafe fn round_row<S: Simd>(from: *const f32, k: usize, to: *mut u32) {
    let whole = k / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        store_pairs::<S>(to.add(at / 2), S::load(from.add(at)), LANES / 2);
    }
    if whole < k {
        let mut rest = [-0.0; LANES];
        rest[..k - whole].copy_from_slice(std::slice::from_raw_parts(from.add(whole), k - whole));
        store_pairs::<S>(
            to.add(whole / 2),
            S::load(rest.as_ptr()),
            (k - whole).div_ceil(2),
        );
    }
}

/// Eight words, the first `count` of which are written.
#[inline(always)]
unsafe fn store_pairs<S: Simd>(to: *mut u32, values: S::F, count: usize) {
    let mut words = [0_u32; LANES / 2];
    store_rounded::<S>(words.as_mut_ptr().cast(), values);
    for (at, word) in words[..count].iter().enumerate() {
        // In memory the first of two halves is the lower one.
        to.add(at).write(word.rotate_left(16));
    }
}

/// Multiply the rows of `range` with one tile of pairs.
///
/// # Safety
/// `tile` is a tile of bf16 weights with `k` inputs; `x` has the range's rows as `round_pairs` writes them; `target` too.
pub(crate) unsafe fn bf16_rows(
    tile: &[u8],
    k: usize,
    x: *const u32,
    range: Range<usize>,
    target: &Target,
) {
    let (tile, words) = (tile.as_ptr().cast::<u32>(), k.div_ceil(2));
    #[cfg(target_arch = "x86_64")]
    if multiplies_bf16() {
        return native::rows(tile, words, x, range, target);
    }
    crate::dispatch!(rows_of(tile: *const u32, words: usize, x: *const u32, range: Range<usize>, target: &Target));
}

/// How two products are added to a sum.
trait Dot<S: Simd> {
    unsafe fn add(sum: S::F, x: S::W, weights: S::W) -> S::F;
}

/// In the operations every CPU has.
struct Fused;

impl<S: Simd> Dot<S> for Fused {
    #[inline(always)]
    unsafe fn add(sum: S::F, x: S::W, weights: S::W) -> S::F {
        S::dot_pairs(sum, x, weights)
    }
}

#[inline(always)]
unsafe fn rows_of<S: Simd>(
    tile: *const u32,
    words: usize,
    x: *const u32,
    range: Range<usize>,
    target: &Target,
) {
    row_tiles_of::<S, Fused>(tile, words, x, range, target);
}

#[inline(always)]
unsafe fn row_tiles_of<S: Simd, D: Dot<S>>(
    tile: *const u32,
    words: usize,
    x: *const u32,
    range: Range<usize>,
    target: &Target,
) {
    let bytes = std::slice::from_raw_parts(tile.cast::<u8>(), words * TILE_COLUMNS * 4);
    let num_row_tiles = range.len().div_ceil(TILE_ROWS);
    for (at, rows) in row_tiles(range).enumerate() {
        let (from, first) = (x.add(rows.start * words), rows.start);
        let ahead = Ahead::of_next(bytes, STEP_LINES, at, num_row_tiles);
        match rows.len() {
            1 => multiply::<S, D, 1>(tile, words, from, first, target, &ahead),
            2 => multiply::<S, D, 2>(tile, words, from, first, target, &ahead),
            3 => multiply::<S, D, 3>(tile, words, from, first, target, &ahead),
            4 => multiply::<S, D, 4>(tile, words, from, first, target, &ahead),
            5 => multiply::<S, D, 5>(tile, words, from, first, target, &ahead),
            _ => multiply::<S, D, TILE_ROWS>(tile, words, from, first, target, &ahead),
        }
    }
}

#[inline(always)]
unsafe fn multiply<S: Simd, D: Dot<S>, const ROWS: usize>(
    tile: *const u32,
    words: usize,
    x: *const u32,
    first_row: usize,
    target: &Target,
    ahead: &Ahead,
) {
    let mut sums = [[S::splat(0.0); 2]; ROWS];
    for at in 0..words {
        if at.is_multiple_of(STEP) {
            ahead.fetch(at * TILE_COLUMNS * 4);
        }
        let weights = tile.add(at * TILE_COLUMNS);
        let (low, high) = (S::load_words(weights), S::load_words(weights.add(LANES)));
        for row in 0..ROWS {
            let pair = S::splat_word(*x.add(row * words + at));
            sums[row][0] = D::add(sums[row][0], pair, low);
            sums[row][1] = D::add(sums[row][1], pair, high);
        }
    }
    for row in 0..ROWS {
        target.store::<S>(first_row + row, sums[row][0], sums[row][1]);
    }
}

#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::*;
    use std::mem::transmute;
    use std::ops::Range;

    use super::{Dot, Target, row_tiles_of};
    use crate::simd_avx512::Avx512;

    /// AVX-512 BF16's own.
    struct Native;

    impl Dot<Avx512> for Native {
        #[inline(always)]
        unsafe fn add(sum: __m512, x: __m512i, weights: __m512i) -> __m512 {
            // SAFETY: both are 64 bytes of bf16.
            _mm512_dpbf16_ps(
                sum,
                transmute::<__m512i, __m512bh>(x),
                transmute::<__m512i, __m512bh>(weights),
            )
        }
    }

    /// # Safety
    /// As `bf16_rows`; the CPU has AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma,f16c")]
    pub unsafe fn rows(
        tile: *const u32,
        words: usize,
        x: *const u32,
        range: Range<usize>,
        target: &Target,
    ) {
        row_tiles_of::<Avx512, Native>(tile, words, x, range, target);
    }
}
