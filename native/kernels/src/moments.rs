//! Second moments of a layer's inputs, Xᵀ·X summed over rows: what calibration needs to know of a text.
//!
//! Sums are f32, rows in the order in which they come; the upper half is kept, `whole` mirrors it.

use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::simd::Simd;

pub struct Moments {
    k: usize,
    /// `[k][k]`, of which the upper half counts.
    sums: Vec<f32>,
}

/// Rows of the matrix that a chunk works on.
const CHUNK: usize = 32;

impl Moments {
    pub fn new(k: usize) -> Self {
        Self {
            k,
            sums: vec![0.0; k * k],
        }
    }

    /// Add rows of k values. Cost: rows · k² / 2 multiply-adds, shared by the pool.
    pub fn add(&mut self, x: &[f32], pool: &Pool) {
        let k = self.k;
        assert!(x.len().is_multiple_of(k), "rows of {k}");
        let sums = SendPointer(self.sums.as_mut_ptr());
        pool.run(k.div_ceil(CHUNK), &|chunk| {
            let first = chunk * CHUNK;
            let rows = CHUNK.min(k - first);
            // SAFETY: each chunk has rows of its own.
            let part =
                unsafe { std::slice::from_raw_parts_mut(sums.get().add(first * k), rows * k) };
            #[inline(always)]
            unsafe fn body<S: Simd>(part: &mut [f32], first: usize, x: &[f32], k: usize) {
                for row in x.chunks_exact(k) {
                    for (i, sums) in part.chunks_exact_mut(k).enumerate() {
                        let factor = row[first + i];
                        for (sum, value) in sums[first + i..].iter_mut().zip(&row[first + i..]) {
                            *sum += factor * value;
                        }
                    }
                }
            }
            crate::dispatch!(body(part: &mut [f32], first: usize, x: &[f32], k: usize));
        });
    }

    /// The whole symmetric matrix.
    pub fn whole(&self) -> Vec<f32> {
        let k = self.k;
        let mut whole = self.sums.clone();
        for i in 0..k {
            for j in 0..i {
                whole[i * k + j] = whole[j * k + i];
            }
        }
        whole
    }
}
