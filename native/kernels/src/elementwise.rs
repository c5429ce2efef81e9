//! What needs no reduction: sums, the gated activation, and rows of an embedding table.

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

/// `gate_up` is `[rows, 2 · inner]`, gate first; `out` `[rows, inner]` = gate / (1 + e^-gate) · up.
pub fn swiglu(gate_up: &[f32], rows: usize, inner: usize, out: &mut [f32], pool: &Pool) {
    assert!(gate_up.len() == rows * 2 * inner && out.len() == rows * inner);
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        let gate = gate_up[row * 2 * inner..].as_ptr();
        // SAFETY: rows are disjoint; lengths were asserted above.
        unsafe { swiglu_row(gate, inner, out.get().add(row * inner)) }
    });
}

unsafe fn swiglu_row(gate: *const f32, inner: usize, out: *mut f32) {
    crate::dispatch!(swiglu_body(gate: *const f32, inner: usize, out: *mut f32));
}

#[inline(always)]
unsafe fn swiglu_body<S: Simd>(gate: *const f32, inner: usize, out: *mut f32) {
    let up = gate.add(inner);
    let whole = inner / LANES * LANES;
    for k in (0..whole).step_by(LANES) {
        S::store(
            out.add(k),
            gated::<S>(S::load(gate.add(k)), S::load(up.add(k))),
        );
    }
    if whole < inner {
        // The tail goes through the same vector code, so that width does not change a value's bits.
        let (mut gates, mut ups) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        for k in whole..inner {
            gates[k - whole] = *gate.add(k);
            ups[k - whole] = *up.add(k);
        }
        let tail = S::to_array(gated::<S>(S::load(gates.as_ptr()), S::load(ups.as_ptr())));
        for k in whole..inner {
            *out.add(k) = tail[k - whole];
        }
    }
}

#[inline(always)]
unsafe fn gated<S: Simd>(gate: S::F, up: S::F) -> S::F {
    let negative = S::sub(S::splat(0.0), gate);
    let sigmoid = S::div(gate, S::add(S::splat(1.0), S::exp(negative)));
    S::mul(sigmoid, up)
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
            "token id {id} is outside the table of {} rows",
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
