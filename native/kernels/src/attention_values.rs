//! The second half of attention over one split: weights times V, for all vectors of a tile at once.
//!
//! Each output is summed over positions ascending, by one fused operation a position; a vector's hidden positions take no
//! part. Knows nothing of scores or of how splits are joined (`attention_tile`).

use std::ops::Range;

use crate::attention_tile::{Element, Work};
use crate::kv_pool::{KvLayer, KvPool};
use crate::simd::{LANES, Simd};

/// V columns worked at once, in vectors.
const COLUMNS: usize = 4;

/// work.split[vector] = Σ_t p[t] · v[t], over each vector's own visible positions of this split.
#[inline(always)]
pub(crate) unsafe fn weigh<S: Simd, E: Element, const Q: usize>(
    kv: &KvPool,
    layer: &KvLayer,
    blocks: &[i32],
    head: usize,
    start: usize,
    visible: &[Range<usize>; Q],
    work: &mut Work<Q>,
) {
    let (stride, block_size) = (layer.v_stride, kv.block_size);
    let seeing = || visible.iter().filter(|range| !range.is_empty());
    let any_start = seeing().map(|range| range.start).min().unwrap_or(0);
    let any_end = seeing().map(|range| range.end).max().unwrap_or(0);
    // What all see: everything but the edges of windows and of causality.
    let all_start = visible.iter().map(|range| range.start).max().unwrap_or(0);
    let all_end = visible.iter().map(|range| range.end).min().unwrap_or(0);
    let all = if all_start < all_end {
        all_start..all_end
    } else {
        any_end..any_end
    };
    let value_at = |offset: usize| {
        let position = start + offset;
        let block = blocks[position / block_size] as usize;
        kv.v(layer, block, head)
            .cast::<E>()
            .add(position % block_size * stride)
    };
    let mut first = 0;
    while first < stride {
        let columns = ((stride - first) / LANES).min(COLUMNS);
        let mut sums = [[S::splat(0.0); COLUMNS]; Q];
        // Positions that only some vectors see: a hidden value is not even multiplied by 0, it might not be a number.
        macro_rules! edge {
            ($range:expr) => {
                for t in $range {
                    let value = value_at(t).add(first);
                    for column in 0..COLUMNS {
                        if column >= columns {
                            break;
                        }
                        let loaded = E::load::<S>(value.add(column * LANES));
                        for vector in 0..Q {
                            if visible[vector].contains(&t) {
                                let weight = S::splat(work.scores[vector][t]);
                                sums[vector][column] = S::fma(weight, loaded, sums[vector][column]);
                            }
                        }
                    }
                }
            };
        }
        edge!(any_start..all.start);
        if columns == COLUMNS {
            let mut t = all.start;
            while t < all.end {
                // Sixteen positions at most between two looks into the block table.
                let values = value_at(t).add(first);
                let run = (LANES - (start + t) % LANES).min(all.end - t);
                for step in 0..run {
                    let value = values.add(step * stride);
                    let mut loaded = [S::splat(0.0); COLUMNS];
                    for (column, loaded) in loaded.iter_mut().enumerate() {
                        *loaded = E::load::<S>(value.add(column * LANES));
                    }
                    for vector in 0..Q {
                        let weight = S::splat(*work.scores[vector].as_ptr().add(t + step));
                        for column in 0..COLUMNS {
                            sums[vector][column] =
                                S::fma(weight, loaded[column], sums[vector][column]);
                        }
                    }
                }
                t += run;
            }
        } else {
            for t in all.clone() {
                let value = value_at(t).add(first);
                for column in 0..COLUMNS {
                    if column >= columns {
                        break;
                    }
                    let loaded = E::load::<S>(value.add(column * LANES));
                    for vector in 0..Q {
                        let weight = S::splat(work.scores[vector][t]);
                        sums[vector][column] = S::fma(weight, loaded, sums[vector][column]);
                    }
                }
            }
        }
        edge!(all.end..any_end);
        for vector in 0..Q {
            for column in 0..columns {
                S::store(
                    work.split[vector].as_mut_ptr().add(first + column * LANES),
                    sums[vector][column],
                );
            }
        }
        first += columns * LANES;
    }
}
