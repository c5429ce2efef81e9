//! From the raw scores of one vector and split to weights: scale, soft cap, largest score, powers, sum.
//!
//! Sums run over 16 lanes, groups ascending, then one tree. A hidden position is -inf, so its weight adds nothing.

use std::ops::Range;

use crate::attention_tile::{SPLIT, Tile};
use crate::simd::{LANES, Simd};

/// Scores that are not yet scaled, with what they are to be multiplied with: hidden ones are -inf, soft-capped ones are
/// finished, and their factor is 1.
pub(crate) struct Prepared {
    pub groups: Range<usize>,
    pub factor: f32,
    /// Times `factor`; the factor is positive, so this is the largest finished score.
    pub largest: f32,
}

impl Prepared {
    pub const NOTHING: Self = Self {
        groups: 0..0,
        factor: 1.0,
        largest: f32::NEG_INFINITY,
    };
}

/// Cap, hide, and find the largest.
#[inline(always)]
pub(crate) unsafe fn prepare<S: Simd>(
    scores: &mut [f32; SPLIT],
    visible: &Range<usize>,
    tile: &Tile<'_>,
) -> Prepared {
    let groups = visible.start / LANES..visible.end.div_ceil(LANES);
    let mut factor = tile.scale;
    if tile.softcap > 0.0 {
        let (cap, inner) = (S::splat(tile.softcap), S::splat(tile.scale / tile.softcap));
        for group in groups.clone() {
            let at = scores.as_mut_ptr().add(group * LANES);
            S::store(at, S::mul(S::tanh(S::mul(S::load(at), inner)), cap));
        }
        factor = 1.0;
    }
    scores[groups.start * LANES..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..groups.end * LANES].fill(f32::NEG_INFINITY);
    let mut largest = S::splat(f32::NEG_INFINITY);
    for group in groups.clone() {
        largest = S::max(largest, S::load(scores.as_ptr().add(group * LANES)));
    }
    let largest = S::max_lane(largest) * factor;
    Prepared {
        groups,
        factor,
        largest,
    }
}

/// Scores to weights in place; returns the largest finished score and the sum of weights.
#[inline(always)]
pub(crate) unsafe fn softmax<S: Simd>(
    scores: &mut [f32; SPLIT],
    prepared: &Prepared,
) -> (f32, f32) {
    let (factor, largest) = (prepared.factor, prepared.largest);
    let mut sums = S::splat(0.0);
    for group in prepared.groups.clone() {
        let at = scores.as_mut_ptr().add(group * LANES);
        let score = S::mul(S::load(at), S::splat(factor));
        let weight = S::exp(S::sub(score, S::splat(largest)));
        S::store(at, weight);
        sums = S::add(sums, weight);
    }
    (largest, S::sum(sums))
}
