//! Error-compensating quantisation, GPTQ (Frantar et al., arXiv:2210.17323): inputs are rounded one after the other, and
//! what rounding one loses is made good by those that follow, weighed by how inputs occur together in a calibration text.
//!
//! H = X·Xᵀ over calibration rows, plus damping. With Hinv = Uᵀ·U (U upper triangular) and input i rounded with error
//! e = (w_i − q_i) / U_ii, every later input j becomes w_j − e·U_ij. Scales of a group are chosen when it is reached.
//! Without H this is rounding to nearest. G1: rows do not depend on each other. G2: codes, scales and zero points are
//! those of `compressed-tensors`: value = (code − zero) · scale, code 0 … 2^bits − 1.

use std::sync::Mutex;

use crate::error::KernelError;
use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::simd::Simd;

/// How rows are cut into groups and rounded.
#[derive(Clone, Copy, Debug)]
pub struct GroupQuantiser {
    /// 4 or 8.
    pub bits: u32,
    /// Inputs that share a scale; divides the number of inputs.
    pub group: usize,
    /// Zero point in the middle.
    pub is_symmetric: bool,
    /// Look for the scale with the least squared error instead of taking the one that reaches all values.
    pub searches_scale: bool,
}

/// Rows in codes, row after row.
pub struct GroupQuantised {
    pub codes: Vec<u8>,
    /// One a row and group, rounded to bf16 as they are stored.
    pub scales: Vec<f32>,
    pub zeros: Vec<u8>,
}

/// Rows that share a pass over U.
const TILE_ROWS: usize = 16;
/// Share of H's mean diagonal that is added to it, as in the paper's code.
const DAMPING: f64 = 0.01;

/// Upper triangular U with inverse(H + damping) = Uᵀ·U, `[k][k]`.
///
/// # Errors
/// When H is not finite or not positive definite even when damped.
///
/// Cost: about k³ / 3 multiply-adds in f64; holds two matrices of k² f64 while it runs.
pub fn inverse_factor(moments: &[f32], k: usize) -> Result<Vec<f32>, KernelError> {
    assert_eq!(moments.len(), k * k, "a square matrix");
    let mean = (0..k).map(|i| f64::from(moments[i * k + i])).sum::<f64>() / k as f64;
    if !(mean.is_finite() && mean > 0.0) {
        return Err(KernelError::new(
            "no calibration row reached this weight, or one was not a number",
        ));
    }
    // In reverse order: with H' = Rᵀ·R of the reversed H, U is the reversed transpose of R's inverse.
    let mut matrix = vec![0.0_f64; k * k];
    for i in 0..k {
        for j in i..k {
            matrix[i * k + j] = f64::from(moments[(k - 1 - i) * k + (k - 1 - j)]);
        }
        let diagonal = &mut matrix[i * k + i];
        // An input that never occurred: any weight does.
        *diagonal = if *diagonal == 0.0 { mean } else { *diagonal } + DAMPING * mean;
    }
    let mut inverse = vec![0.0_f64; k * k];
    #[inline(always)]
    unsafe fn body<S: Simd>(matrix: &mut [f64], inverse: &mut [f64], k: usize, is_good: &mut bool) {
        *is_good = factor(matrix, k);
        if *is_good {
            invert(matrix, inverse, k);
        }
    }
    let (from, to, mut is_good) = (&mut matrix[..], &mut inverse[..], false);
    let good = &mut is_good;
    crate::dispatch!(body(from: &mut [f64], to: &mut [f64], k: usize, good: &mut bool));
    if !is_good {
        return Err(KernelError::new(
            "the calibration's second moments are not positive definite",
        ));
    }
    let mut upper = vec![0.0_f32; k * k];
    for i in 0..k {
        for j in i..k {
            upper[i * k + j] = inverse[(k - 1 - j) * k + (k - 1 - i)] as f32;
        }
    }
    Ok(upper)
}

/// `matrix` (its upper half) becomes R with matrix = Rᵀ·R.
#[inline(always)]
fn factor(matrix: &mut [f64], k: usize) -> bool {
    for i in 0..k {
        let (done, rest) = matrix.split_at_mut((i + 1) * k);
        let row = &mut done[i * k..];
        let diagonal = row[i].sqrt();
        if !(diagonal.is_finite() && diagonal > 0.0) {
            return false;
        }
        for value in &mut row[i..] {
            *value /= diagonal;
        }
        for j in i + 1..k {
            let factor = row[j];
            let target = &mut rest[(j - i - 1) * k..][..k];
            for (value, other) in target[j..].iter_mut().zip(&row[j..]) {
                *value -= factor * other;
            }
        }
    }
    true
}

/// The inverse of the upper triangular `matrix`, upper triangular too.
#[inline(always)]
fn invert(matrix: &[f64], inverse: &mut [f64], k: usize) {
    for i in (0..k).rev() {
        let (before, after) = inverse.split_at_mut((i + 1) * k);
        let row = &mut before[i * k..];
        row[i] = 1.0;
        for j in i + 1..k {
            let factor = matrix[i * k + j];
            let other = &after[(j - i - 1) * k..][..k];
            for (value, other) in row[j..].iter_mut().zip(&other[j..]) {
                *value -= factor * other;
            }
        }
        let diagonal = matrix[i * k + i];
        for value in &mut row[i..] {
            *value /= diagonal;
        }
    }
}

impl GroupQuantiser {
    /// Quantise rows of `k` values; `values` are used up. @param factor - of `inverse_factor`; `None` rounds to nearest
    ///
    /// # Errors
    /// When a value is not finite.
    pub fn quantise(
        self,
        values: &mut [f32],
        k: usize,
        factor: Option<&[f32]>,
        pool: &Pool,
    ) -> Result<GroupQuantised, KernelError> {
        let groups = k / self.group;
        assert!(
            groups * self.group == k && values.len().is_multiple_of(k),
            "whole groups of {} in rows of {k}",
            self.group
        );
        let rows = values.len() / k;
        let mut out = GroupQuantised {
            codes: vec![0; rows * k],
            scales: vec![0.0; rows * groups],
            zeros: vec![0; rows * groups],
        };
        let pointers = (
            SendPointer(values.as_mut_ptr()),
            SendPointer(out.codes.as_mut_ptr()),
            SendPointer(out.scales.as_mut_ptr()),
            SendPointer(out.zeros.as_mut_ptr()),
        );
        let failed = Mutex::new(false);
        pool.run(rows.div_ceil(TILE_ROWS), &|tile| {
            let first = tile * TILE_ROWS;
            let count = TILE_ROWS.min(rows - first);
            // SAFETY: each tile has rows of its own in all four.
            let mut part = unsafe {
                Tile {
                    values: slice(pointers.0, first * k, count * k),
                    codes: slice(pointers.1, first * k, count * k),
                    scales: slice(pointers.2, first * groups, count * groups),
                    zeros: slice(pointers.3, first * groups, count * groups),
                }
            };
            if !part.values.iter().all(|value| value.is_finite()) {
                *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
                return;
            }
            #[inline(always)]
            unsafe fn body<S: Simd>(
                quantiser: GroupQuantiser,
                part: &mut Tile<'_>,
                k: usize,
                factor: Option<&[f32]>,
            ) {
                quantiser.tile(part, k, factor);
            }
            let (quantiser, part) = (self, &mut part);
            // SAFETY: plain arithmetic, compiled for the family.
            crate::dispatch!(body(quantiser: GroupQuantiser, part: &mut Tile<'_>, k: usize, factor: Option<&[f32]>));
        });
        if failed
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            return Err(KernelError::new("a weight is not a number"));
        }
        Ok(out)
    }

    #[inline(always)]
    fn tile(self, part: &mut Tile<'_>, k: usize, factor: Option<&[f32]>) {
        let (rows, groups) = (part.values.len() / k, k / self.group);
        for i in 0..k {
            if i % self.group == 0 {
                for row in 0..rows {
                    let grid = self.grid(&part.values[row * k + i..][..self.group]);
                    part.scales[row * groups + i / self.group] = grid.0;
                    part.zeros[row * groups + i / self.group] = grid.1;
                }
            }
            for row in 0..rows {
                let at = row * groups + i / self.group;
                let (scale, zero) = (part.scales[at], f32::from(part.zeros[at]));
                let value = part.values[row * k + i];
                let code = self.code(value, scale, zero);
                part.codes[row * k + i] = code as u8;
                let Some(factor) = factor else { continue };
                let line = &factor[i * k..][..k];
                let error = (value - (code - zero) * scale) / line[i];
                let rest = &mut part.values[row * k..][..k];
                for (value, weight) in rest[i + 1..].iter_mut().zip(&line[i + 1..]) {
                    *value -= error * weight;
                }
            }
        }
    }

    #[inline(always)]
    fn code(self, value: f32, scale: f32, zero: f32) -> f32 {
        let most = ((1_u32 << self.bits) - 1) as f32;
        let quant = if scale == 0.0 {
            0.0
        } else {
            (value / scale).round_ties_even()
        };
        (quant + zero).max(0.0).min(most)
    }

    /// Scale, rounded to bf16, and zero point of a group.
    #[inline(always)]
    fn grid(self, values: &[f32]) -> (f32, u8) {
        let (mut low, mut high) = (0.0_f32, 0.0_f32);
        for &value in values {
            low = low.min(value);
            high = high.max(value);
        }
        if !self.searches_scale {
            return self.grid_of(low, high);
        }
        let mut best = (f32::INFINITY, (0.0, 0));
        for step in 0..SEARCH_STEPS {
            let share = 1.0 - 0.5 * step as f32 / SEARCH_STEPS as f32;
            let grid = self.grid_of(low * share, high * share);
            let zero = f32::from(grid.1);
            let mut error = 0.0;
            for &value in values {
                let rounded = (self.code(value, grid.0, zero) - zero) * grid.0;
                error += (value - rounded) * (value - rounded);
            }
            if error < best.0 {
                best = (error, grid);
            }
        }
        best.1
    }

    #[inline(always)]
    fn grid_of(self, low: f32, high: f32) -> (f32, u8) {
        let most = ((1_u32 << self.bits) - 1) as f32;
        let middle = 1_u8 << (self.bits - 1);
        let bf16 = |value: f32| half::bf16::from_f32(value).to_f32();
        if self.is_symmetric {
            return (bf16(high.max(-low) * 2.0 / most), middle);
        }
        let scale = bf16((high - low) / most);
        let zero = if scale == 0.0 {
            0.0
        } else {
            (-low / scale).round_ties_even()
        };
        (scale, zero.max(0.0).min(most) as u8)
    }
}

const SEARCH_STEPS: usize = 25;

struct Tile<'a> {
    values: &'a mut [f32],
    codes: &'a mut [u8],
    scales: &'a mut [f32],
    zeros: &'a mut [u8],
}

/// # Safety
/// The range is valid and nobody else's.
unsafe fn slice<'a, T>(base: SendPointer<T>, from: usize, len: usize) -> &'a mut [T] {
    std::slice::from_raw_parts_mut(base.get().add(from), len)
}
