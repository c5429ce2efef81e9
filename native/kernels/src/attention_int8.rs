//! int8 KV: keys and values have 8 bits and a scale for each token and KV head; queries and weights have 15 bits in two
//! limbs, so that what is lost is lost in the stored KV alone. All sums of a split are whole numbers, exact in any order.
//!
//! ```text
//! k = (k8 − 128) · kScale[t]      q = (128 · high + low) · qScale          high, low signed
//! v = v8 · vScale[t]              p[t] · vScale[t] = (128 · high + low) · factor     high, low unsigned
//! s[t] = kScale[t] · qScale · Σ_d q k8 − 128 · Σ_d q                      a[d] = factor · Σ_t p v8
//! ```
//! The largest sum is 127 · 127 · 128 · headDim for scores and 32,767 · 127 · 256 for values: both fit 32 bits.
//! Error of a number: at most 1/254 of its head's largest for K and V, 1/32,512 for q, 1/65,534 of the split's largest
//! weight for p.

use std::ops::Range;

use crate::attention_softmax::{Prepared, softmax};
use crate::attention_tile::{Arithmetic, SPLIT, Work};
use crate::attention_view::View;
use crate::simd::{LANES, Simd};

/// Largest weight, in limbs of 8 and 7 bits.
const LARGEST_WEIGHT: f32 = 32_767.0;
/// Largest query number: 127 · 128, so that the rounded high limb fits a signed byte.
pub(crate) const LARGEST_QUERY: f32 = 16_256.0;

/// A staged query: high limbs, low limbs, −128 · Σ high, −128 · Σ low, scale (f32 bits).
pub(crate) const fn query_words(steps: usize) -> usize {
    2 * steps + 3
}

pub(crate) struct Int8;

// SAFETY: pointers and CPU features are the caller's promise.
unsafe impl<S: Simd> Arithmetic<S> for Int8 {
    type Key = S::W;
    type Score = [S::W; 2];
    type Scales = S::F;
    const SUMS: usize = 2;
    const KEY_BYTES: usize = 64;
    const JOINED: usize = 4;

    #[inline(always)]
    unsafe fn load_key(from: *const u8) -> S::W {
        S::load_words(from.cast())
    }
    #[inline(always)]
    unsafe fn start_score(query: *const u32, steps: usize) -> [S::W; 2] {
        [
            S::splat_word(*query.add(2 * steps)),
            S::splat_word(*query.add(2 * steps + 1)),
        ]
    }
    #[inline(always)]
    unsafe fn add_key(
        score: [S::W; 2],
        key: S::W,
        query: *const u32,
        step: usize,
        steps: usize,
    ) -> [S::W; 2] {
        let (high, low) = (*query.add(step), *query.add(steps + step));
        [
            S::dot_quads(score[0], key, S::splat_word(high)),
            S::dot_quads(score[1], key, S::splat_word(low)),
        ]
    }
    #[inline(always)]
    unsafe fn key_scales(view: &View<'_>, position: usize) -> S::F {
        S::load(view.key_scales(position))
    }
    #[inline(always)]
    unsafe fn finish_score(
        score: [S::W; 2],
        scales: S::F,
        query: *const u32,
        steps: usize,
    ) -> S::F {
        let scale = S::splat(f32::from_bits(*query.add(2 * steps + 2)));
        let scales = S::mul(scales, scale);
        S::mul(S::join_limbs(score[0], score[1]), scales)
    }

    #[inline(always)]
    unsafe fn fetch_scales(view: &View<'_>, position: usize) {
        S::fetch(view.key_scales(position).cast());
        S::fetch(view.value_scales(position).cast());
    }

    type Value = S::W;
    type Total = [S::W; 2];
    const TOKENS: usize = 4;
    const COLUMNS: usize = 2;
    const VALUE_BYTES: usize = 64;

    #[inline(always)]
    unsafe fn weights(
        work: &mut Work,
        vector: usize,
        visible: &Range<usize>,
        prepared: &Prepared,
        view: &View<'_>,
        start: usize,
    ) {
        (work.max[vector], work.sum[vector]) = softmax::<S>(&mut work.scores[vector], prepared);
        let groups = visible.start / LANES * LANES..visible.end.next_multiple_of(LANES);
        let weights = work.scores[vector].as_mut_ptr();
        for t in groups.clone().step_by(LANES) {
            let scales = S::load(view.value_scales(start + t));
            S::store(weights.add(t), S::mul(S::load(weights.add(t)), scales));
        }
        // The scale of a hidden token might not be a number.
        work.scores[vector][groups.start..visible.start].fill(0.0);
        work.scores[vector][visible.end..groups.end].fill(0.0);
        let weights = work.scores[vector].as_ptr();
        let mut largest = 0.0_f32;
        for t in groups.clone().step_by(LANES) {
            let group = S::load(weights.add(t));
            let of_group = S::max_magnitude(group, group);
            // A NaN is above all, as integers.
            largest = f32::from_bits(largest.to_bits().max(of_group.to_bits()));
        }
        let (inverse, factor) = if largest < 1e-30 {
            (0.0, 0.0)
        } else if largest < f32::INFINITY {
            (LARGEST_WEIGHT / largest, largest / LARGEST_WEIGHT)
        } else {
            (0.0, f32::NAN)
        };
        work.factors[vector] = factor;
        let high = work.staged[vector].as_mut_ptr().cast::<u8>();
        for t in groups.step_by(LANES) {
            let scaled = S::mul(S::load(weights.add(t)), S::splat(inverse));
            S::store_limbs(high.add(t), high.add(SPLIT + t), scaled);
        }
    }
    #[inline(always)]
    unsafe fn load_value(from: *const u8) -> S::W {
        S::load_words(from.cast())
    }
    /// The weights of hidden tokens are 0, and any byte times 0 is 0.
    #[inline(always)]
    unsafe fn hide(value: S::W, _visible: &Range<usize>, _t: usize) -> S::W {
        value
    }
    #[inline(always)]
    unsafe fn zero_total() -> [S::W; 2] {
        [S::splat_word(0); 2]
    }
    #[inline(always)]
    unsafe fn add_value(
        total: [S::W; 2],
        value: S::W,
        work: &Work,
        vector: usize,
        t: usize,
    ) -> [S::W; 2] {
        let limbs = work.staged[vector].as_ptr();
        let (high, low) = (*limbs.add(t / 4), *limbs.add(SPLIT / 4 + t / 4));
        [
            S::dot_quads(total[0], S::splat_word(high), value),
            S::dot_quads(total[1], S::splat_word(low), value),
        ]
    }
    #[inline(always)]
    unsafe fn finish_total(total: [S::W; 2], work: &Work, vector: usize) -> S::F {
        S::mul(
            S::join_limbs(total[0], total[1]),
            S::splat(work.factors[vector]),
        )
    }
}
