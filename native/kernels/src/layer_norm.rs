//! LayerNorm: y = (x − mean) / √(variance + ε) · w + b.
//!
//! Two passes over a row, each over 16 lanes, k ascending, then one tree (D5): the mean, then the mean of the squared
//! distances from it. Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.

use crate::norm::in_row_chunks;
use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::simd::{LANES, Simd};

/// `x` and `out` are `[rows, width]`, width = `weight.len()`; a bias is as long.
pub fn layer_norm(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    rows: usize,
    out: &mut [f32],
    pool: &Pool,
) {
    let width = weight.len();
    assert!(x.len() == rows * width && out.len() == rows * width);
    assert!(bias.is_none_or(|bias| bias.len() == width));
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        let x = x[row * width..].as_ptr();
        // SAFETY: rows are disjoint; all slices hold `rows` rows of `width`.
        unsafe { layer_row(x, weight, bias, epsilon, out.get().add(row * width)) }
    });
}

unsafe fn layer_row(
    x: *const f32,
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    out: *mut f32,
) {
    crate::dispatch!(layer_body(x: *const f32, weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: *mut f32));
}

#[inline(always)]
unsafe fn layer_body<S: Simd>(
    x: *const f32,
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    out: *mut f32,
) {
    let width = weight.len();
    let whole = width / LANES * LANES;
    let mut sums = S::splat(0.0);
    for k in (0..whole).step_by(LANES) {
        sums = S::add(sums, S::load(x.add(k)));
    }
    let mut total = S::sum(sums);
    for k in whole..width {
        total += *x.add(k);
    }
    let mean = total / width as f32;
    let center = S::splat(mean);
    let mut squares = S::splat(0.0);
    for k in (0..whole).step_by(LANES) {
        let distance = S::sub(S::load(x.add(k)), center);
        squares = S::fma(distance, distance, squares);
    }
    let mut total = S::sum(squares);
    for k in whole..width {
        let distance = *x.add(k) - mean;
        total = distance.mul_add(distance, total);
    }
    let factor = 1.0 / (total / width as f32 + epsilon).sqrt();
    let scale = S::splat(factor);
    for k in (0..whole).step_by(LANES) {
        let normed = S::mul(S::sub(S::load(x.add(k)), center), scale);
        let gain = S::load(weight.as_ptr().add(k));
        let value = match bias {
            Some(bias) => S::fma(normed, gain, S::load(bias.as_ptr().add(k))),
            None => S::mul(normed, gain),
        };
        S::store(out.add(k), value);
    }
    for k in whole..width {
        let normed = (*x.add(k) - mean) * factor;
        *out.add(k) = match bias {
            Some(bias) => normed.mul_add(weight[k], bias[k]),
            None => normed * weight[k],
        };
    }
}
