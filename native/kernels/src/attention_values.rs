//! The second half of attention over one split: weights times V, for all vectors of a tile at once.
//!
//! Each output is summed over positions ascending, row of values after row; a vector's hidden positions take no part.
//! Knows nothing of scores or of how splits are joined.

use std::ops::Range;

use crate::attention_ahead::{Ahead, Half};
use crate::attention_tile::{Arithmetic, Tile, Work};
use crate::attention_view::View;
use crate::simd::{LANES, Simd};

const MAX_COLUMNS: usize = 4;

/// work.values[vector] = Σ_t p[t] · v[t], over each vector's own visible positions of the split at `start`.
/// `seen` spans what any of them sees.
#[inline(always)]
pub(crate) unsafe fn weigh<S: Simd, A: Arithmetic<S>, const Q: usize>(
    view: &View<'_>,
    tile: &Tile<'_>,
    start: usize,
    seen: &Range<usize>,
    visible: &[Range<usize>; Q],
    work: &mut Work,
) {
    let stride = view.layer.v_stride;
    let row_bytes = stride * A::VALUE_BYTES / LANES;
    // Rows that all see wholly: everything but the edges of windows and of causality.
    let last_start = visible.iter().map(|range| range.start).max().unwrap_or(0);
    let first_end = visible.iter().map(|range| range.end).min().unwrap_or(0);
    let shared = last_start.next_multiple_of(A::TOKENS)..first_end / A::TOKENS * A::TOKENS;
    let seen = seen.start / A::TOKENS * A::TOKENS..seen.end;
    let shared = if shared.start < shared.end {
        shared
    } else {
        seen.end..seen.end
    };
    // Values that are needed next are asked for in step with what is read here, once.
    let mut fetched_bytes = if tile.ahead.is_some_and(Ahead::has_next) {
        A::TOKENS * view.layer.v_token_bytes
    } else {
        0
    };
    let mut first = 0;
    while first < stride {
        let columns = ((stride - first) / LANES).min(A::COLUMNS);
        let at_column = first / LANES * A::VALUE_BYTES;
        let mut totals = [[A::zero_total(); MAX_COLUMNS]; Q];
        // Rows that only some vectors see, or see in part: a hidden value is not even multiplied by 0, it might not be a
        // number.
        macro_rules! edge {
            ($range:expr) => {
                for t in $range.step_by(A::TOKENS) {
                    let row = view.values(start + t).add(at_column);
                    for vector in 0..Q {
                        let range = &visible[vector];
                        if range.end <= t || t + A::TOKENS <= range.start {
                            continue;
                        }
                        for column in 0..A::COLUMNS {
                            if column >= columns {
                                break;
                            }
                            let value = A::load_value(row.add(column * A::VALUE_BYTES));
                            let value = A::hide(value, range, t);
                            let total = totals[vector][column];
                            totals[vector][column] = A::add_value(total, value, work, vector, t);
                        }
                    }
                }
            };
        }
        edge!((seen.start..shared.start));
        let mut t = shared.start;
        while t < shared.end {
            // Sixteen positions at most between two looks into the block table.
            let rows = view.values(start + t).add(at_column);
            let run = (LANES - t % LANES).min(shared.end - t);
            let next = tile.ahead.map_or(rows, |ahead| {
                // `rows` less what is added to it below.
                let here = rows.wrapping_sub(t % LANES * view.layer.v_token_bytes);
                ahead.next(t / LANES - seen.start / LANES, Half::Values, here)
            });
            for step in (0..run).step_by(A::TOKENS) {
                let next = next.wrapping_add((t % LANES + step) * view.layer.v_token_bytes);
                for line in (0..fetched_bytes).step_by(64) {
                    S::fetch_far(next.wrapping_add(line));
                }
                let row = rows.add(step / A::TOKENS * row_bytes);
                if columns == A::COLUMNS {
                    let mut loaded = [A::load_value(row); MAX_COLUMNS];
                    for column in 1..A::COLUMNS {
                        loaded[column] = A::load_value(row.add(column * A::VALUE_BYTES));
                    }
                    for vector in 0..Q {
                        for column in 0..A::COLUMNS {
                            let (total, value) = (totals[vector][column], loaded[column]);
                            totals[vector][column] =
                                A::add_value(total, value, work, vector, t + step);
                        }
                    }
                } else {
                    for column in 0..A::COLUMNS {
                        if column >= columns {
                            break;
                        }
                        let value = A::load_value(row.add(column * A::VALUE_BYTES));
                        for vector in 0..Q {
                            let total = totals[vector][column];
                            totals[vector][column] =
                                A::add_value(total, value, work, vector, t + step);
                        }
                    }
                }
            }
            t += run;
        }
        edge!((shared.end..seen.end));
        for vector in 0..Q {
            for column in 0..A::COLUMNS {
                if column < columns {
                    let total = A::finish_total(totals[vector][column], work, vector);
                    let to = work.values[vector].as_mut_ptr();
                    S::store(to.add(first + column * LANES), total);
                }
            }
        }
        first += columns * LANES;
        fetched_bytes = 0;
    }
    if let Some(ahead) = tile.ahead {
        let groups = seen.end.div_ceil(LANES) - seen.start / LANES;
        ahead.fetch_rest::<S>(groups, Half::Values, LANES * view.layer.v_token_bytes);
    }
}
