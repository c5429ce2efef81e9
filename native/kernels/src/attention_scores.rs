//! The first half of attention over one split: queries times K, for all vectors of a tile at once.
//!
//! A score is summed over the head's numbers ascending, 16 tokens side by side. Knows nothing of softmax or of V, except
//! that V is asked for ahead.

use std::ops::Range;

use crate::attention_ahead::Half;
use crate::attention_tile::{Arithmetic, Tile, Work};
use crate::attention_view::View;
use crate::simd::{LANES, Simd};

/// Raw scores of the positions `seen` of the split at `start` for all vectors, widened to whole groups of 16; those that
/// a vector does not see are never read.
#[inline(always)]
pub(crate) unsafe fn scores<S: Simd, A: Arithmetic<S>, const Q: usize>(
    view: &View<'_>,
    tile: &Tile<'_>,
    start: usize,
    seen: &Range<usize>,
    work: &mut Work,
) {
    let seen = seen.start / LANES * LANES..seen.end;
    let mut at = seen.start;
    if Q * 2 * A::SUMS < 12 && S::REGISTERS >= 32 {
        // Few sums at a time would wait for each other.
        while at + 3 * LANES < seen.end {
            groups::<S, A, Q, 4>(view, tile, start, at, &seen, work);
            at += 4 * LANES;
        }
    }
    while at + LANES < seen.end {
        groups::<S, A, Q, 2>(view, tile, start, at, &seen, work);
        at += 2 * LANES;
    }
    if at < seen.end {
        groups::<S, A, Q, 1>(view, tile, start, at, &seen, work);
    }
    if let Some(ahead) = tile.ahead {
        let groups = seen.len().div_ceil(LANES);
        ahead.fetch_rest::<S>(groups, Half::Keys, LANES * view.layer.k_token_bytes);
    }
}

/// Scores of `G` times 16 positions from `at` on, an offset as those of `seen`.
#[inline(always)]
unsafe fn groups<S: Simd, A: Arithmetic<S>, const Q: usize, const G: usize>(
    view: &View<'_>,
    tile: &Tile<'_>,
    start: usize,
    at: usize,
    seen: &Range<usize>,
    work: &mut Work,
) {
    let steps = view.layer.shape.head_dim.div_ceil(A::JOINED);
    let mut keys = [view.keys(start + at); G];
    let mut scales = [A::key_scales(view, start + at); G];
    // Lines to ask for: the next split's K, and of this one the K that follows and V.
    let mut lines = [[keys[0]; 3]; G];
    for group in 0..G {
        let at = at + group * LANES;
        keys[group] = view.keys(start + at);
        scales[group] = A::key_scales(view, start + at);
        if let Some(ahead) = tile.ahead {
            let following = at + G * LANES;
            lines[group] = [
                ahead.next((at - seen.start) / LANES, Half::Keys, keys[group]),
                if following < seen.end {
                    view.keys(start + following)
                } else {
                    keys[group]
                },
                view.values(start + at),
            ];
            if following < seen.end {
                A::fetch_scales(view, start + following);
            }
        }
    }
    let mut sums = [[A::start_score(tile.queries[0], steps); G]; Q];
    for vector in 1..Q {
        sums[vector] = [A::start_score(tile.queries[vector], steps); G];
    }
    for step in 0..steps {
        let byte = step * A::KEY_BYTES;
        if let Some(ahead) = tile.ahead {
            if ahead.has_next() {
                for [next, _, _] in lines {
                    S::fetch_far(next.wrapping_add(byte));
                }
            }
            for [_, following, _] in lines {
                S::fetch(following.wrapping_add(byte));
            }
            if ahead.is_first {
                for [_, _, values] in lines {
                    S::fetch_far(values.wrapping_add(byte));
                }
            }
        }
        let mut loaded = [A::load_key(keys[0].add(byte)); G];
        for group in 1..G {
            loaded[group] = A::load_key(keys[group].add(byte));
        }
        for vector in 0..Q {
            for group in 0..G {
                let query = tile.queries[vector];
                sums[vector][group] =
                    A::add_key(sums[vector][group], loaded[group], query, step, steps);
            }
        }
    }
    for vector in 0..Q {
        let to = work.scores[vector].as_mut_ptr().add(at);
        for group in 0..G {
            let query = tile.queries[vector];
            let score = A::finish_score(sums[vector][group], scales[group], query, steps);
            S::store(to.add(group * LANES), score);
        }
    }
}
