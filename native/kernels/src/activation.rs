//! Elementwise nonlinearities, alone and gated; both run the same vector code on every value, tails included, so that a
//! value's bits depend on nothing but itself.
//!
//! Sources: GELU, arXiv:1606.08415 (`gelu_tanh` is its approximation); gated units, arXiv:2002.05202; squared ReLU,
//! arXiv:2109.08668; the clamped gate: the model card and reference code of gpt-oss.

use crate::norm::in_row_chunks;
use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::simd::{LANES, Simd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Curve {
    /// x / (1 + e^-x)
    Silu,
    /// x / 2 · (1 + erf(x / √2))
    Gelu,
    /// x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    GeluTanh,
    /// max(x, 0)
    Relu,
    /// max(x, 0)²
    Relu2,
    /// x / (1 + e^(-1.702 x))
    QuickGelu,
}

impl Curve {
    /// By the name the graph gives it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "silu" => Self::Silu,
            "gelu" => Self::Gelu,
            "gelu_tanh" => Self::GeluTanh,
            "relu" => Self::Relu,
            "relu2" => Self::Relu2,
            "quick_gelu" => Self::QuickGelu,
            _ => return None,
        })
    }
}

/// A gated unit: curve(gate) · (up + `up_offset`), gate at most `limit` and up within ±`limit`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gated {
    pub curve: Curve,
    /// Gate and up alternate; else all gates come first.
    pub is_interleaved: bool,
    /// Infinite: none.
    pub limit: f32,
    /// SiLU becomes gate / (1 + e^(−alpha · gate)); other curves do not know it.
    pub alpha: f32,
    pub up_offset: f32,
}

impl Gated {
    pub const SWIGLU: Self = Self {
        curve: Curve::Silu,
        is_interleaved: false,
        limit: f32::INFINITY,
        alpha: 1.0,
        up_offset: 0.0,
    };
}

/// `x` and `out` are `[rows, width]`.
pub fn activation(curve: Curve, x: &[f32], rows: usize, out: &mut [f32], pool: &Pool) {
    assert!(x.len() == out.len() && (rows == 0 || x.len().is_multiple_of(rows)));
    let width = x.len().checked_div(rows).unwrap_or(0);
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        let x = x[row * width..].as_ptr();
        // SAFETY: rows are disjoint; lengths were asserted above.
        unsafe { curve_row(curve, x, width, out.get().add(row * width)) }
    });
}

/// `gate_up` is `[rows, 2 · inner]`, `out` `[rows, inner]`.
pub fn gated(
    gated: Gated,
    gate_up: &[f32],
    rows: usize,
    inner: usize,
    out: &mut [f32],
    pool: &Pool,
) {
    assert!(gate_up.len() == rows * 2 * inner && out.len() == rows * inner);
    let out = SendPointer(out.as_mut_ptr());
    in_row_chunks(rows, pool, &|row| {
        let from = gate_up[row * 2 * inner..].as_ptr();
        // SAFETY: rows are disjoint; lengths were asserted above.
        unsafe { gated_row(gated, from, inner, out.get().add(row * inner)) }
    });
}

unsafe fn curve_row(curve: Curve, x: *const f32, width: usize, out: *mut f32) {
    crate::dispatch!(curve_body(curve: Curve, x: *const f32, width: usize, out: *mut f32));
}

#[inline(always)]
unsafe fn curve_body<S: Simd>(curve: Curve, x: *const f32, width: usize, out: *mut f32) {
    let whole = width / LANES * LANES;
    for k in (0..whole).step_by(LANES) {
        S::store(out.add(k), curve_of::<S>(curve, S::load(x.add(k)), 1.0));
    }
    if whole < width {
        let mut values = [0.0_f32; LANES];
        for k in whole..width {
            values[k - whole] = *x.add(k);
        }
        let tail = S::to_array(curve_of::<S>(curve, S::load(values.as_ptr()), 1.0));
        for k in whole..width {
            *out.add(k) = tail[k - whole];
        }
    }
}

/// One row of `gated`.
///
/// # Safety
/// `gate_up` is valid for 2 · inner reads, `out` for inner writes.
pub(crate) unsafe fn gated_row(gated: Gated, gate_up: *const f32, inner: usize, out: *mut f32) {
    crate::dispatch!(gated_body(gated: Gated, gate_up: *const f32, inner: usize, out: *mut f32));
}

/// As `gated_row`.
///
/// # Safety
/// As `gated_row`, within a function compiled for the CPU's features.
#[inline(always)]
pub(crate) unsafe fn gated_body<S: Simd>(
    gated: Gated,
    gate_up: *const f32,
    inner: usize,
    out: *mut f32,
) {
    let whole = inner / LANES * LANES;
    let whole = if gated.is_interleaved { 0 } else { whole };
    let up = gate_up.add(inner);
    if gated == Gated::SWIGLU {
        // What `gate_of` computes, without asking each vector what it is.
        for k in (0..whole).step_by(LANES) {
            let value = S::silu(S::load(gate_up.add(k)), 1.0);
            S::store(out.add(k), S::mul(value, S::load(up.add(k))));
        }
    } else {
        for k in (0..whole).step_by(LANES) {
            let value = gate_of::<S>(gated, S::load(gate_up.add(k)), S::load(up.add(k)));
            S::store(out.add(k), value);
        }
    }
    for first in (whole..inner).step_by(LANES) {
        let (mut gates, mut ups) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        let lanes = LANES.min(inner - first);
        for lane in 0..lanes {
            let k = first + lane;
            (gates[lane], ups[lane]) = if gated.is_interleaved {
                (*gate_up.add(2 * k), *gate_up.add(2 * k + 1))
            } else {
                (*gate_up.add(k), *up.add(k))
            };
        }
        let values = gate_of::<S>(gated, S::load(gates.as_ptr()), S::load(ups.as_ptr()));
        let values = S::to_array(values);
        for lane in 0..lanes {
            *out.add(first + lane) = values[lane];
        }
    }
}

#[inline(always)]
unsafe fn gate_of<S: Simd>(gated: Gated, gate: S::F, up: S::F) -> S::F {
    let (mut gate, mut up) = (gate, up);
    if gated.limit < f32::INFINITY {
        // The value is the second operand, so that a NaN stays one.
        let (most, least) = (S::splat(gated.limit), S::splat(-gated.limit));
        gate = S::min(most, gate);
        up = S::max(least, S::min(most, up));
    }
    if gated.up_offset != 0.0 {
        up = S::add(up, S::splat(gated.up_offset));
    }
    S::mul(curve_of::<S>(gated.curve, gate, gated.alpha), up)
}

#[inline(always)]
unsafe fn curve_of<S: Simd>(curve: Curve, x: S::F, alpha: f32) -> S::F {
    match curve {
        Curve::Silu => S::silu(x, alpha),
        Curve::QuickGelu => S::silu(x, 1.702),
        Curve::Gelu => {
            let erf = S::erf(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2)));
            S::mul(S::mul(S::splat(0.5), x), S::add(S::splat(1.0), erf))
        }
        // (1 + tanh u) / 2 = 1 / (1 + e^(−2u)), without the cancellation.
        Curve::GeluTanh => {
            let cubed = S::mul(S::mul(x, x), x);
            let inner = S::fma(S::splat(0.044_715), cubed, x);
            let exponent = S::mul(S::splat(-1.595_769), inner);
            S::div(x, S::add(S::splat(1.0), S::exp(exponent)))
        }
        Curve::Relu => S::max(S::splat(0.0), x),
        Curve::Relu2 => {
            let positive = S::max(S::splat(0.0), x);
            S::mul(positive, positive)
        }
    }
}
