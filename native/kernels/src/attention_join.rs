//! Splits of one vector, joined in ascending order:
//! ```text
//! M' = max(M, m);  L = L·e^(M − M') + l·e^(m − M');  A = A·e^(M − M') + a·e^(m − M');  at the end A / L
//! ```
//! A sink is M and L = 1 before the first split. The same operations whether a split was computed just now or by another
//! thread before.

use crate::attention_tile::{MAX_VECTORS, Work};
use crate::kv_pool::MAX_VALUE_DIM;
use crate::simd::{LANES, Simd};

/// Vectors that one thread attends with at a time: each split of K and V is read from the outer caches once for all.
pub(crate) const VECTORS_A_PIECE: usize = 6 * MAX_VECTORS;

/// What is joined so far, on the stack; only as much of `values` is touched as the model's stride needs.
#[repr(align(64))]
pub(crate) struct Joined {
    values: [f32; VECTORS_A_PIECE * MAX_VALUE_DIM],
    max: [f32; VECTORS_A_PIECE],
    sum: [f32; VECTORS_A_PIECE],
}

impl Joined {
    /// # Safety
    /// `vector` < `VECTORS_A_PIECE`, `stride` ≤ `MAX_VALUE_DIM`, as in all calls below.
    pub unsafe fn start(&mut self, vector: usize, stride: usize, sink: Option<f32>) {
        (self.max[vector], self.sum[vector]) = match sink {
            Some(sink) => (sink, 1.0),
            None => (f32::NEG_INFINITY, 0.0),
        };
        self.values[vector * stride..][..stride].fill(0.0);
    }

    /// Add one split.
    ///
    /// # Safety
    /// `values` is valid for `stride` reads.
    pub unsafe fn add(
        &mut self,
        vector: usize,
        stride: usize,
        max: f32,
        sum: f32,
        values: *const f32,
    ) {
        let before = self.max[vector];
        let largest = if max > before { max } else { before };
        self.max[vector] = largest;
        let to = self.values.as_mut_ptr().add(vector * stride);
        let scales = [before - largest, max - largest];
        let sums = [self.sum[vector], sum];
        self.sum[vector] = join(scales, sums, values, to, stride);
    }

    /// # Safety
    /// `out` is valid for `value_dim` writes.
    pub unsafe fn finish(&self, vector: usize, stride: usize, value_dim: usize, out: *mut f32) {
        let sum = self.sum[vector];
        let values = &self.values[vector * stride..][..value_dim];
        for (d, value) in values.iter().enumerate() {
            *out.add(d) = value / sum;
        }
    }
}

/// Scale both sides by e^`exponents`, add `values` to `to`, and return the sum of weights.
unsafe fn join(
    exponents: [f32; 2],
    sums: [f32; 2],
    values: *const f32,
    to: *mut f32,
    stride: usize,
) -> f32 {
    let mut joined_sum = 0.0;
    #[inline(always)]
    unsafe fn body<S: Simd>(
        exponents: [f32; 2],
        sums: [f32; 2],
        values: *const f32,
        to: *mut f32,
        stride: usize,
        joined_sum: &mut f32,
    ) {
        let old = S::exp(S::splat(exponents[0]));
        let new = S::exp(S::splat(exponents[1]));
        let (old_factor, new_factor) = (S::to_array(old)[0], S::to_array(new)[0]);
        *joined_sum = sums[0].mul_add(old_factor, sums[1] * new_factor);
        for d in (0..stride).step_by(LANES) {
            let part = S::mul(S::load(values.add(d)), new);
            S::store(to.add(d), S::fma(S::load(to.add(d)), old, part));
        }
    }
    let sum = &mut joined_sum;
    crate::dispatch!(body(exponents: [f32; 2], sums: [f32; 2], values: *const f32, to: *mut f32, stride: usize, sum: &mut f32));
    joined_sum
}

/// Floats of one tile's results of one split: for each vector the weighted V, then largest score, sum and whether any
/// position of the split was seen.
pub(crate) fn part_len(stride: usize) -> usize {
    MAX_VECTORS * (stride + LANES)
}

/// # Safety
/// `to` is valid for `part_len` writes; `work` holds the results of `count` vectors.
pub(crate) unsafe fn keep_part(work: &Work, count: usize, stride: usize, to: *mut f32) {
    for vector in 0..count {
        let to = to.add(vector * (stride + LANES));
        std::ptr::copy_nonoverlapping(work.values[vector].as_ptr(), to, stride);
        *to.add(stride) = work.max[vector];
        *to.add(stride + 1) = work.sum[vector];
        *to.add(stride + 2) = f32::from(u8::from(work.is_seen[vector]));
    }
}
