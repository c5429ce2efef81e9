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

/// What one split gave one vector: m, l and a.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub max: f32,
    pub sum: f32,
    pub values: *const f32,
}

/// Those of a tile's vectors; `None` = nothing of the split is seen.
pub(crate) type Parts = [Option<Part>; MAX_VECTORS];

/// What is joined so far, on the stack; only as much of `values` is touched as the model's stride needs.
#[repr(align(64))]
pub(crate) struct Joined {
    values: [f32; VECTORS_A_PIECE * MAX_VALUE_DIM],
    max: [f32; VECTORS_A_PIECE],
    sum: [f32; VECTORS_A_PIECE],
    /// A is 0, and not written yet.
    is_blank: [bool; VECTORS_A_PIECE],
}

impl Joined {
    /// `vector` < `VECTORS_A_PIECE`.
    pub fn start(&mut self, vector: usize, sink: Option<f32>) {
        (self.max[vector], self.sum[vector]) = match sink {
            Some(sink) => (sink, 1.0),
            None => (f32::NEG_INFINITY, 0.0),
        };
        self.is_blank[vector] = true;
    }

    /// Add one split of the vectors from `first` on, all of which were started.
    ///
    /// # Safety
    /// The parts' values are valid for `stride` reads; `stride` ≤ `MAX_VALUE_DIM`.
    pub unsafe fn add(&mut self, first: usize, stride: usize, parts: &Parts) {
        #[inline(always)]
        unsafe fn body<S: Simd>(joined: &mut Joined, first: usize, stride: usize, parts: &Parts) {
            joined.add_parts::<S>(first, stride, parts);
        }
        let joined = self;
        crate::dispatch!(body(joined: &mut Joined, first: usize, stride: usize, parts: &Parts));
    }

    #[inline(always)]
    unsafe fn add_parts<S: Simd>(&mut self, first: usize, stride: usize, parts: &Parts) {
        // Of all vectors at once: M - M', and from lane 8 on m - M'.
        let mut exponents = [0.0; LANES];
        for (lane, part) in parts.iter().enumerate() {
            if let Some(part) = part {
                let before = self.max[first + lane];
                let largest = if part.max > before { part.max } else { before };
                self.max[first + lane] = largest;
                exponents[lane] = before - largest;
                exponents[lane + LANES / 2] = part.max - largest;
            }
        }
        let factors = S::to_array(S::exp(S::load(exponents.as_ptr())));
        for (lane, part) in parts.iter().enumerate() {
            let Some(part) = part else { continue };
            let (old, new) = (factors[lane], factors[lane + LANES / 2]);
            let vector = first + lane;
            self.sum[vector] = self.sum[vector].mul_add(old, part.sum * new);
            let to = self.values.as_mut_ptr().add(vector * stride);
            let (old, new) = (S::splat(old), S::splat(new));
            if std::mem::replace(&mut self.is_blank[vector], false) {
                for d in (0..stride).step_by(LANES) {
                    let part = S::fma(S::load(part.values.add(d)), new, S::splat(0.0));
                    S::store(to.add(d), part);
                }
            } else {
                for d in (0..stride).step_by(LANES) {
                    let part = S::mul(S::load(part.values.add(d)), new);
                    S::store(to.add(d), S::fma(S::load(to.add(d)), old, part));
                }
            }
        }
    }

    /// Write the first vectors to where each of `outs` says.
    ///
    /// # Safety
    /// Each of `outs` is valid for `value_dim` writes, and each vector has at least one split.
    pub unsafe fn finish(&self, stride: usize, value_dim: usize, outs: &[*mut f32]) {
        #[inline(always)]
        unsafe fn body<S: Simd>(
            joined: &Joined,
            stride: usize,
            value_dim: usize,
            outs: &[*mut f32],
        ) {
            for (vector, &out) in outs.iter().enumerate() {
                let values = joined.values.as_ptr().add(vector * stride);
                let sum = joined.sum[vector];
                for d in (0..value_dim).step_by(LANES) {
                    let divided = S::div(S::load(values.add(d)), S::splat(sum));
                    if d + LANES <= value_dim {
                        S::store(out.add(d), divided);
                    } else {
                        let rest = S::to_array(divided);
                        std::ptr::copy_nonoverlapping(rest.as_ptr(), out.add(d), value_dim - d);
                    }
                }
            }
        }
        let joined = self;
        crate::dispatch!(body(joined: &Joined, stride: usize, value_dim: usize, outs: &[*mut f32]));
    }
}

/// Floats of one tile's results of one split: for each vector the weighted V, then largest score, sum and whether any
/// position of the split was seen.
pub(crate) fn part_len(stride: usize) -> usize {
    MAX_VECTORS * (stride + LANES)
}

/// # Safety
/// `to` is valid for `part_len` writes; `work` holds the results of `count` vectors.
pub(crate) unsafe fn keep_parts(work: &Work, count: usize, stride: usize, to: *mut f32) {
    for vector in 0..count {
        let to = to.add(vector * (stride + LANES));
        std::ptr::copy_nonoverlapping(work.values[vector].as_ptr(), to, stride);
        *to.add(stride) = work.max[vector];
        *to.add(stride + 1) = work.sum[vector];
        *to.add(stride + 2) = f32::from(u8::from(work.is_seen[vector]));
    }
}

/// What `keep_parts` wrote.
///
/// # Safety
/// `from` is valid for `part_len` reads, as long as the parts are used.
pub(crate) unsafe fn kept_parts(from: *const f32, count: usize, stride: usize) -> Parts {
    let mut parts = [None; MAX_VECTORS];
    for (vector, part) in parts[..count].iter_mut().enumerate() {
        let from = from.add(vector * (stride + LANES));
        if *from.add(stride + 2) != 0.0 {
            *part = Some(Part {
                max: *from.add(stride),
                sum: *from.add(stride + 1),
                values: from,
            });
        }
    }
    parts
}
