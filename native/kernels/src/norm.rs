//! RMSNorm, alone and with the residual add before it.
//!
//! y = x · (1 / √(mean(x²) + ε)) · (w + offset). The sum of squares runs over 16 lanes, k ascending, then one tree (D5).
//! Source: Zhang and Sennrich 2019, arXiv:1910.07467.

use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::simd::{LANES, Simd};

/// Rows that are worth another thread's attention.
const ROWS_A_CHUNK: usize = 8;

/// `x` and `out` are `[rows, width]`, width = `weight.len()`.
pub fn rms_norm(
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    weight_offset: f32,
    rows: usize,
    out: &mut [f32],
    pool: &Pool,
) {
    let width = weight.len();
    assert!(x.len() == rows * width && out.len() == rows * width);
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        // SAFETY: rows are disjoint; all slices hold `rows` rows of `width`.
        unsafe {
            norm_row(
                x[row * width..].as_ptr(),
                weight,
                epsilon,
                weight_offset,
                out.get().add(row * width),
            )
        }
    });
}

/// sum = x + residual; normed = RMSNorm(sum). All `[rows, width]`.
#[allow(clippy::too_many_arguments)]
pub fn add_rms_norm(
    x: &[f32],
    residual: &[f32],
    weight: &[f32],
    epsilon: f32,
    weight_offset: f32,
    rows: usize,
    sum: &mut [f32],
    normed: &mut [f32],
    pool: &Pool,
) {
    let width = weight.len();
    let len = rows * width;
    assert!(x.len() == len && residual.len() == len && sum.len() == len && normed.len() == len);
    let (sum, normed) = (
        SendPointer(sum.as_mut_ptr()),
        SendPointer(normed.as_mut_ptr()),
    );
    in_row_chunks(rows, pool, &|row| {
        let at = row * width;
        let (x, residual) = (x[at..].as_ptr(), residual[at..].as_ptr());
        // SAFETY: as above.
        unsafe {
            let (sum, normed) = (sum.get().add(at), normed.get().add(at));
            add_norm_row(x, residual, weight, epsilon, weight_offset, sum, normed);
        }
    });
}

unsafe fn add_norm_row(
    x: *const f32,
    residual: *const f32,
    weight: &[f32],
    epsilon: f32,
    weight_offset: f32,
    sum: *mut f32,
    normed: *mut f32,
) {
    crate::dispatch!(add_norm_body(x: *const f32, residual: *const f32, weight: &[f32], epsilon: f32, weight_offset: f32, sum: *mut f32, normed: *mut f32));
}

#[inline(always)]
unsafe fn add_norm_body<S: Simd>(
    x: *const f32,
    residual: *const f32,
    weight: &[f32],
    epsilon: f32,
    weight_offset: f32,
    sum: *mut f32,
    normed: *mut f32,
) {
    let whole = weight.len() / LANES * LANES;
    for k in (0..whole).step_by(LANES) {
        S::store(
            sum.add(k),
            S::add(S::load(x.add(k)), S::load(residual.add(k))),
        );
    }
    for k in whole..weight.len() {
        *sum.add(k) = *x.add(k) + *residual.add(k);
    }
    norm_body::<S>(sum, weight, epsilon, weight_offset, normed);
}

pub(crate) fn in_row_chunks(rows: usize, pool: &Pool, work: &(dyn Fn(usize) + Sync)) {
    let chunks = rows.div_ceil(ROWS_A_CHUNK).min(pool.threads() * 2);
    pool.run(chunks, &|chunk| {
        (rows * chunk / chunks..rows * (chunk + 1) / chunks).for_each(work)
    });
}

/// One row as wide as the weight.
///
/// # Safety
/// `x` is valid for as many reads as the weight is long, `out` for as many writes.
pub(crate) unsafe fn norm_row(
    x: *const f32,
    weight: &[f32],
    epsilon: f32,
    weight_offset: f32,
    out: *mut f32,
) {
    crate::dispatch!(norm_body(x: *const f32, weight: &[f32], epsilon: f32, weight_offset: f32, out: *mut f32));
}

#[inline(always)]
unsafe fn norm_body<S: Simd>(
    x: *const f32,
    weight: &[f32],
    epsilon: f32,
    weight_offset: f32,
    out: *mut f32,
) {
    let width = weight.len();
    let whole = width / LANES * LANES;
    let mut squares = S::splat(0.0);
    for k in (0..whole).step_by(LANES) {
        let value = S::load(x.add(k));
        squares = S::fma(value, value, squares);
    }
    let mut total = S::sum(squares);
    for k in whole..width {
        total = (*x.add(k)).mul_add(*x.add(k), total);
    }
    let factor = 1.0 / (total / width as f32 + epsilon).sqrt();
    let (scale, offset) = (S::splat(factor), S::splat(weight_offset));
    for k in (0..whole).step_by(LANES) {
        let gain = S::add(S::load(weight.as_ptr().add(k)), offset);
        S::store(out.add(k), S::mul(S::mul(S::load(x.add(k)), scale), gain));
    }
    for k in whole..width {
        *out.add(k) = *x.add(k) * factor * (weight[k] + weight_offset);
    }
}
