//! What needs no reduction: sums, scaling with a soft cap, and rows of an embedding table.

use crate::error::KernelError;
use crate::norm::in_row_chunks;
use crate::packed_linear::{PackedLinear, SendPointer};
use crate::pool::Pool;
use crate::simd::{LANES, Simd};

/// out = a + b, all of one length.
pub fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
    assert!(a.len() == out.len() && b.len() == out.len());
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a + b;
    }
}

/// out = a · scale + b, the product rounded before the sum; all of one length.
pub fn scaled_add(a: &[f32], scale: f32, b: &[f32], out: &mut [f32]) {
    assert!(a.len() == out.len() && b.len() == out.len());
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a * scale + b;
    }
}

/// out = x · factor, then cap · tanh(that / cap) where there is a cap. `x` and `out` are `[rows, width]`.
pub fn scale(x: &[f32], factor: f32, cap: Option<f32>, rows: usize, out: &mut [f32], pool: &Pool) {
    assert!(x.len() == out.len() && (rows == 0 || x.len().is_multiple_of(rows)));
    let width = x.len().checked_div(rows).unwrap_or(0);
    let target = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        let x = x[row * width..].as_ptr();
        // SAFETY: rows are disjoint; lengths were asserted above.
        unsafe { scale_row(x, factor, cap, width, target.get().add(row * width)) }
    });
}

unsafe fn scale_row(x: *const f32, factor: f32, cap: Option<f32>, width: usize, out: *mut f32) {
    crate::dispatch!(scale_body(x: *const f32, factor: f32, cap: Option<f32>, width: usize, out: *mut f32));
}

#[inline(always)]
unsafe fn scale_body<S: Simd>(
    x: *const f32,
    factor: f32,
    cap: Option<f32>,
    width: usize,
    out: *mut f32,
) {
    let whole = width / LANES * LANES;
    for k in (0..whole).step_by(LANES) {
        S::store(out.add(k), scaled::<S>(S::load(x.add(k)), factor, cap));
    }
    if whole < width {
        // The tail goes through the same vector code, so that width does not change a value's bits.
        let mut values = [0.0_f32; LANES];
        for k in whole..width {
            values[k - whole] = *x.add(k);
        }
        let tail = S::to_array(scaled::<S>(S::load(values.as_ptr()), factor, cap));
        for k in whole..width {
            *out.add(k) = tail[k - whole];
        }
    }
}

#[inline(always)]
unsafe fn scaled<S: Simd>(x: S::F, factor: f32, cap: Option<f32>) -> S::F {
    let scaled = S::mul(x, S::splat(factor));
    match cap {
        None => scaled,
        Some(cap) => S::mul(S::tanh(S::div(scaled, S::splat(cap))), S::splat(cap)),
    }
}

/// `out` `[ids.len(), k]` = rows of the table, times `scale`.
///
/// # Errors
/// When an id is negative or beyond the table; `out` is then unspecified.
pub fn embedding(
    table: &PackedLinear,
    ids: &[i32],
    scale: f32,
    out: &mut [f32],
    pool: &Pool,
) -> Result<(), KernelError> {
    let width = table.k();
    assert_eq!(out.len(), ids.len() * width);
    if let Some(id) = ids
        .iter()
        .find(|&&id| !usize::try_from(id).is_ok_and(|id| id < table.n()))
    {
        return Err(KernelError::new(format!(
            "id {id} is outside the table of {} rows",
            table.n()
        )));
    }
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(ids.len(), pool, &|row| {
        // SAFETY: rows are disjoint.
        let out = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * width), width) };
        table.row_into(ids[row] as usize, out);
        if scale != 1.0 {
            out.iter_mut().for_each(|value| *value *= scale);
        }
    });
    Ok(())
}
