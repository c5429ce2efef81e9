//! f32 and f16 KV: everything is multiplied and summed in f32. With f32 this is the reference of the other types.

use std::marker::PhantomData;
use std::ops::Range;

use crate::attention_softmax::{Prepared, softmax};
use crate::attention_tile::{Arithmetic, Work};
use crate::attention_view::View;
use crate::simd::{LANES, Simd};

pub(crate) struct Float<E>(PhantomData<E>);

/// f16 bits.
#[derive(Clone, Copy)]
pub(crate) struct F16(#[allow(dead_code)] u16); // Only its size is used.

pub(crate) trait Element: Copy {
    unsafe fn load<S: Simd>(from: *const Self) -> S::F;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f32) -> S::F {
        S::load(from)
    }
}

impl Element for F16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const F16) -> S::F {
        S::load_f16(from.cast())
    }
}

// SAFETY: pointers and CPU features are the caller's promise.
unsafe impl<S: Simd, E: Element> Arithmetic<S> for Float<E> {
    type Key = S::F;
    type Score = S::F;
    type Scales = ();
    const SUMS: usize = 1;
    const KEY_BYTES: usize = LANES * size_of::<E>();
    const JOINED: usize = 1;

    #[inline(always)]
    unsafe fn load_key(from: *const u8) -> S::F {
        E::load::<S>(from.cast())
    }
    #[inline(always)]
    unsafe fn start_score(_query: *const u32, _steps: usize) -> S::F {
        S::splat(0.0)
    }
    #[inline(always)]
    unsafe fn add_key(
        score: S::F,
        key: S::F,
        query: *const u32,
        step: usize,
        _steps: usize,
    ) -> S::F {
        S::fma(S::splat(*query.cast::<f32>().add(step)), key, score)
    }
    #[inline(always)]
    unsafe fn key_scales(_view: &View<'_>, _position: usize) {}
    #[inline(always)]
    unsafe fn finish_score(score: S::F, _scales: (), _query: *const u32, _steps: usize) -> S::F {
        score
    }

    type Value = S::F;
    type Total = S::F;
    const TOKENS: usize = 1;
    const COLUMNS: usize = 4;
    const VALUE_BYTES: usize = LANES * size_of::<E>();

    #[inline(always)]
    unsafe fn weights(
        work: &mut Work,
        vector: usize,
        _visible: &Range<usize>,
        prepared: &Prepared,
        _view: &View<'_>,
        _start: usize,
    ) {
        (work.max[vector], work.sum[vector]) = softmax::<S>(&mut work.scores[vector], prepared);
    }
    #[inline(always)]
    unsafe fn load_value(from: *const u8) -> S::F {
        E::load::<S>(from.cast())
    }
    #[inline(always)]
    unsafe fn hide(value: S::F, _visible: &Range<usize>, _t: usize) -> S::F {
        value
    }
    #[inline(always)]
    unsafe fn zero_total() -> S::F {
        S::splat(0.0)
    }
    #[inline(always)]
    unsafe fn add_value(total: S::F, value: S::F, work: &Work, vector: usize, t: usize) -> S::F {
        let weight = *work.scores[vector].as_ptr().add(t);
        S::fma(S::splat(weight), value, total)
    }
    #[inline(always)]
    unsafe fn finish_total(total: S::F, _work: &Work, _vector: usize) -> S::F {
        total
    }
}
