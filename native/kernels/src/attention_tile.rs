//! Attention of up to six query vectors that share a KV head: each K and V element is loaded once for all of them.
//!
//! Positions are cut into splits of 256, at absolute positions. Of each split a vector gets (max, sum, weighted V) from
//! its own visible positions, all started from nothing; splits are then joined in ascending order:
//! ```text
//! scores  s[t] = scale · Σ_d q[d] k[t][d]          d ascending, 16 tokens a vector; then c · tanh(s / c) if soft-capped
//! split   m = max s;  p[t] = e^(s[t] − m);  l = Σ p (16 lanes, then the tree);  a[d] = Σ_t p[t] v[t][d]   t ascending
//! join    M' = max(M, m);  L = L·e^(M − M') + l·e^(m − M');  A likewise;  a sink is M and L = 1 before the first split
//! ```
//! A window hides positions before a vector's first: splits wholly before it are skipped, and within its split the
//! hidden ones take no part, so what is left is added in the same order. Nothing here depends on which vectors share the tile, so a row has the same bits in prefill and in decode.

use std::ops::Range;

use crate::attention_values::weigh;
use crate::kv_pool::{KvDtype, KvLayer, KvPool, MAX_VALUE_DIM};
use crate::simd::{LANES, Simd};

/// Query vectors a tile holds: 6 × 2 score accumulators, or 6 × 4 of V, fill 24 of 32 registers.
pub(crate) const MAX_VECTORS: usize = 6;
pub(crate) const SPLIT: usize = 256;

pub(crate) struct Tile {
    pub queries: [*const f32; MAX_VECTORS], // each [head_dim]
    pub outputs: [*mut f32; MAX_VECTORS],   // each [value_dim]
    /// Each vector sees the positions `first … limit`, at least one.
    pub firsts: [usize; MAX_VECTORS],
    pub limits: [usize; MAX_VECTORS],
    pub sinks: [Option<f32>; MAX_VECTORS],
    pub count: usize,
    pub scale: f32,
    /// 0 = none.
    pub softcap: f32,
    /// Ask ahead for the next K and the own V: pays where KV comes from memory and little is computed with it, as when
    /// one row decodes. One thread, 8 sequences at context 4096 (Zen 5, 2026-11-23): bf16 2,094 -> 839 µs, f32
    /// 2,502 -> 2,093; a prefill from cache would lose 6 %.
    pub fetches: bool,
    pub task: Task,
}

/// What to do with a tile. `Split` for every split from the first visible one and then `Join` gives the bits of `Whole`,
/// in parallel.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    Whole,
    /// Leave the result of this split in `part_len` floats at `to`.
    Split {
        index: usize,
        to: *mut f32,
    },
    /// Join the results of all splits from `first` on, which lie one after the other.
    Join {
        first: usize,
        from: *const f32,
    },
}

/// Floats of one tile's result of one split: for each vector the weighted V, then max and sum.
pub(crate) fn part_len(layer: &KvLayer) -> usize {
    MAX_VECTORS * (layer.v_stride + LANES)
}

impl Tile {
    pub fn new(count: usize, task: Task) -> Self {
        Self {
            queries: [std::ptr::null(); MAX_VECTORS],
            outputs: [std::ptr::null_mut(); MAX_VECTORS],
            firsts: [0; MAX_VECTORS],
            limits: [0; MAX_VECTORS],
            sinks: [None; MAX_VECTORS],
            count,
            scale: 1.0,
            softcap: 0.0,
            fetches: false,
            task,
        }
    }

    /// What each vector sees of the split at `start`, as offsets; empty ranges are `0..0`.
    fn visible<const Q: usize>(&self, start: usize) -> [Range<usize>; Q] {
        std::array::from_fn(|vector| {
            let first = self.firsts[vector].saturating_sub(start);
            let last = self.limits[vector].saturating_sub(start).min(SPLIT);
            if first < last { first..last } else { 0..0 }
        })
    }
}

/// An element type of the pool.
pub(crate) trait Element: Copy {
    unsafe fn load<S: Simd>(from: *const Self) -> S::F;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f32) -> S::F {
        S::load(from)
    }
}

/// bf16 bits.
impl Element for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u16) -> S::F {
        S::load_bf16(from)
    }
}

/// # Safety
/// `blocks` names a block of the pool for every position below the tile's limits, whose KV of `layer` has been written;
/// queries are valid for the layer's `head_dim` values, outputs for its `value_dim`; 1 ≤ count ≤ 6.
pub(crate) unsafe fn attend_tile(
    kv: &KvPool,
    layer: &KvLayer,
    blocks: &[i32],
    head: usize,
    tile: &Tile,
) {
    macro_rules! by_count {
        ($name:ident, $element:ty, $count:literal) => {{
            #[inline(always)]
            unsafe fn $name<S: Simd>(kv: &KvPool, layer: &KvLayer, blocks: &[i32], head: usize, tile: &Tile) {
                attend::<S, $element, $count>(kv, layer, blocks, head, tile);
            }
            crate::dispatch!($name(kv: &KvPool, layer: &KvLayer, blocks: &[i32], head: usize, tile: &Tile))
        }};
    }
    macro_rules! by_element {
        ($element:ty) => {
            match tile.count {
                1 => by_count!(one, $element, 1),
                2 => by_count!(two, $element, 2),
                3 => by_count!(three, $element, 3),
                4 => by_count!(four, $element, 4),
                5 => by_count!(five, $element, 5),
                _ => by_count!(six, $element, 6),
            }
        };
    }
    match kv.dtype {
        KvDtype::F32 => by_element!(f32),
        KvDtype::Bf16 => by_element!(u16),
    }
}

/// Working memory of one tile, on the stack.
#[repr(align(64))]
pub(crate) struct Work<const Q: usize> {
    pub scores: [[f32; SPLIT]; Q],
    joined: [[f32; MAX_VALUE_DIM]; Q],
    pub split: [[f32; MAX_VALUE_DIM]; Q],
    max: [f32; Q],
    sum: [f32; Q],
}

#[inline(always)]
unsafe fn attend<S: Simd, E: Element, const Q: usize>(
    kv: &KvPool,
    layer: &KvLayer,
    blocks: &[i32],
    head: usize,
    tile: &Tile,
) {
    let mut work = std::mem::MaybeUninit::<Work<Q>>::uninit();
    let work = &mut *work.as_mut_ptr();
    let stride = layer.v_stride;
    for vector in 0..Q {
        (work.max[vector], work.sum[vector]) = match tile.sinks[vector] {
            Some(sink) => (sink, 1.0),
            None => (f32::NEG_INFINITY, 0.0),
        };
        for d in (0..stride).step_by(LANES) {
            S::store(work.joined[vector].as_mut_ptr().add(d), S::splat(0.0));
        }
    }
    let longest = tile.limits[..Q].iter().copied().max().unwrap_or(0);
    let earliest = tile.firsts[..Q].iter().copied().min().unwrap_or(0);
    let part_stride = stride + LANES;
    let starts = match tile.task {
        Task::Split { index, .. } => index * SPLIT..longest.min((index + 1) * SPLIT),
        Task::Whole | Task::Join { .. } => earliest / SPLIT * SPLIT..longest,
    };
    for start in starts.step_by(SPLIT) {
        let visible = tile.visible::<Q>(start);
        if let Task::Join { first, from } = tile.task {
            let part = from.add((start / SPLIT - first) * MAX_VECTORS * part_stride);
            for vector in (0..Q).filter(|&vector| !visible[vector].is_empty()) {
                let part = part.add(vector * part_stride);
                let (max, sum) = (*part.add(stride), *part.add(stride + 1));
                join::<S, Q>(work, vector, max, sum, part, stride);
            }
            continue;
        }
        let (mut split_max, mut split_sum) = ([0.0; Q], [0.0; Q]);
        let seen = earliest.saturating_sub(start)..(longest - start).min(SPLIT);
        scores::<S, E, Q>(kv, layer, blocks, head, tile, start, &seen, work);
        for vector in (0..Q).filter(|&vector| !visible[vector].is_empty()) {
            (split_max[vector], split_sum[vector]) =
                softmax::<S>(&mut work.scores[vector], &visible[vector], tile);
        }
        weigh::<S, E, Q>(kv, layer, blocks, head, start, &visible, work);
        for vector in (0..Q).filter(|&vector| !visible[vector].is_empty()) {
            let (max, sum) = (split_max[vector], split_sum[vector]);
            let split = work.split[vector].as_ptr();
            if let Task::Split { to, .. } = tile.task {
                let part = to.add(vector * part_stride);
                std::ptr::copy_nonoverlapping(split, part, stride);
                *part.add(stride) = max;
                *part.add(stride + 1) = sum;
            } else {
                join::<S, Q>(work, vector, max, sum, split, stride);
            }
        }
    }
    if matches!(tile.task, Task::Split { .. }) {
        return;
    }
    for vector in 0..Q {
        let sum = work.sum[vector];
        for d in 0..layer.shape.value_dim {
            *tile.outputs[vector].add(d) = work.joined[vector][d] / sum;
        }
    }
}

/// Add one split of one vector to what is joined so far.
#[inline(always)]
unsafe fn join<S: Simd, const Q: usize>(
    work: &mut Work<Q>,
    vector: usize,
    max: f32,
    sum: f32,
    split: *const f32,
    stride: usize,
) {
    let largest = if max > work.max[vector] {
        max
    } else {
        work.max[vector]
    };
    let old = exp_of::<S>(work.max[vector] - largest);
    let new = exp_of::<S>(max - largest);
    work.max[vector] = largest;
    work.sum[vector] = work.sum[vector].mul_add(old, sum * new);
    let (old, new) = (S::splat(old), S::splat(new));
    for d in (0..stride).step_by(LANES) {
        let joined = work.joined[vector].as_mut_ptr().add(d);
        let part = S::mul(S::load(split.add(d)), new);
        S::store(joined, S::fma(S::load(joined), old, part));
    }
}

/// Raw scores of the positions `seen` of the split at `start` for all vectors, widened to whole groups of 16; those that
/// a vector does not see are never read.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn scores<S: Simd, E: Element, const Q: usize>(
    kv: &KvPool,
    layer: &KvLayer,
    blocks: &[i32],
    head: usize,
    tile: &Tile,
    start: usize,
    seen: &Range<usize>,
    work: &mut Work<Q>,
) {
    let dim = layer.shape.head_dim;
    let end = start + seen.end;
    let group_at = |position: usize| {
        let (block, offset) = (
            blocks[position / kv.block_size] as usize,
            position % kv.block_size,
        );
        kv.k(layer, block, head).cast::<E>().add(offset * dim)
    };
    let value_at = |position: usize| {
        let (block, offset) = (
            blocks[position / kv.block_size] as usize,
            position % kv.block_size,
        );
        let values = kv.v(layer, block, head).cast::<E>();
        values.add(offset * layer.v_stride)
    };
    let mut position = start + seen.start / LANES * LANES;
    while position + LANES < end {
        let (first, second) = (group_at(position), group_at(position + LANES));
        let mut sums = [[S::splat(0.0); 2]; Q];
        let fetches = tile.fetches;
        let next = if fetches && position + 3 * LANES < end {
            [
                group_at(position + 2 * LANES),
                group_at(position + 3 * LANES),
            ]
        } else {
            [first, second]
        };
        let values = [value_at(position), value_at(position + LANES)];
        for d in 0..dim {
            if fetches {
                S::fetch(next[0].add(d * LANES).cast());
                S::fetch(next[1].add(d * LANES).cast());
                S::fetch(values[0].add(d * LANES).cast());
                S::fetch(values[1].add(d * LANES).cast());
            }
            let (a, b) = (
                E::load::<S>(first.add(d * LANES)),
                E::load::<S>(second.add(d * LANES)),
            );
            for vector in 0..Q {
                let query = S::splat(*tile.queries[vector].add(d));
                sums[vector][0] = S::fma(query, a, sums[vector][0]);
                sums[vector][1] = S::fma(query, b, sums[vector][1]);
            }
        }
        for vector in 0..Q {
            let to = work.scores[vector].as_mut_ptr().add(position - start);
            S::store(to, sums[vector][0]);
            S::store(to.add(LANES), sums[vector][1]);
        }
        position += 2 * LANES;
    }
    if position < end {
        let first = group_at(position);
        let mut sums = [S::splat(0.0); Q];
        for d in 0..dim {
            let a = E::load::<S>(first.add(d * LANES));
            for vector in 0..Q {
                sums[vector] = S::fma(S::splat(*tile.queries[vector].add(d)), a, sums[vector]);
            }
        }
        for vector in 0..Q {
            S::store(
                work.scores[vector].as_mut_ptr().add(position - start),
                sums[vector],
            );
        }
    }
}

/// Scores to weights in place; returns the largest finished score and the sum of weights.
#[inline(always)]
unsafe fn softmax<S: Simd>(
    scores: &mut [f32; SPLIT],
    visible: &Range<usize>,
    tile: &Tile,
) -> (f32, f32) {
    let groups = visible.start / LANES..visible.end.div_ceil(LANES);
    if tile.softcap > 0.0 {
        let (cap, factor) = (S::splat(tile.softcap), S::splat(tile.scale / tile.softcap));
        for group in groups.clone() {
            let at = scores.as_mut_ptr().add(group * LANES);
            S::store(at, S::mul(S::tanh(S::mul(S::load(at), factor)), cap));
        }
    }
    scores[groups.start * LANES..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..groups.end * LANES].fill(f32::NEG_INFINITY);
    let scores = scores.as_mut_ptr();
    let factor = S::splat(if tile.softcap > 0.0 { 1.0 } else { tile.scale });
    let mut largest = S::splat(f32::NEG_INFINITY);
    for group in groups.clone() {
        let at = scores.add(group * LANES);
        let scaled = S::mul(S::load(at), factor);
        S::store(at, scaled);
        largest = S::max(largest, scaled);
    }
    let largest = S::max_lane(largest);
    let mut sums = S::splat(0.0);
    for group in groups {
        let at = scores.add(group * LANES);
        let weight = S::exp(S::sub(S::load(at), S::splat(largest)));
        S::store(at, weight);
        sums = S::add(sums, weight);
    }
    (largest, S::sum(sums))
}

#[inline(always)]
unsafe fn exp_of<S: Simd>(x: f32) -> f32 {
    S::to_array(S::exp(S::splat(x)))[0]
}
