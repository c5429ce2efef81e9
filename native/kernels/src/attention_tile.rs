//! Attention of up to six query vectors that share a KV head, over one split: each K and V element is loaded once for all.
//!
//! Positions are cut into splits of 256, at absolute positions. Of each split a vector gets (max, sum, weighted V) from
//! its own visible positions, all started from nothing; splits are then joined in ascending order (`attention_join`):
//! ```text
//! scores  s[t] = scale · Σ_d q[d] k[t][d]          d ascending, 16 tokens a vector; then c · tanh(s / c) if soft-capped
//! split   m = max s;  p[t] = e^(s[t] − m);  l = Σ p (16 lanes, then the tree);  a[d] = Σ_t p[t] v[t][d]   t ascending
//! ```
//! A window hides positions before a vector's first: splits wholly before it are skipped, and within its split the
//! hidden ones take no part, so what is left is added in the same order. Nothing here depends on which vectors share the
//! tile, so a row has the same bits in prefill and in decode. How numbers are multiplied is an `Arithmetic`, one for each
//! element type of the pool.

use std::ops::Range;

use crate::attention_bf16::Bf16;
use crate::attention_float::{F16, Float};
use crate::attention_int8::Int8;
use crate::attention_values::weigh;
use crate::attention_view::View;
use crate::kv_pool::{KvDtype, MAX_VALUE_DIM};
use crate::simd::{LANES, Simd};

/// Query vectors a tile holds: 6 × 2 score accumulators, or 6 × 4 of V, fill 24 of 32 registers.
pub(crate) const MAX_VECTORS: usize = 6;
pub(crate) const SPLIT: usize = 256;

pub(crate) struct Tile {
    /// Each as `attention_store` staged it for the pool's element type.
    pub queries: [*const u32; MAX_VECTORS],
    /// Each vector sees the positions `first … limit`, at least one.
    pub firsts: [usize; MAX_VECTORS],
    pub limits: [usize; MAX_VECTORS],
    pub count: usize,
    pub scale: f32,
    /// 0 = none.
    pub softcap: f32,
    /// Ask ahead for the next K and the own V: pays where KV comes from memory and little is computed with it, as when
    /// one row decodes. One thread, 8 sequences at context 4096 (Zen 5, 2026-11-23): bf16 2,094 -> 839 µs, f32
    /// 2,502 -> 2,093; a prefill from cache would lose 6 %.
    pub fetches: bool,
}

impl Tile {
    /// What each vector sees of the split at `start`, as offsets; empty ranges are `0..0`.
    fn visible<const Q: usize>(&self, start: usize) -> [Range<usize>; Q] {
        std::array::from_fn(|vector| {
            let first = self.firsts[vector].saturating_sub(start);
            let last = self.limits[vector].saturating_sub(start).min(SPLIT);
            if first < last { first..last } else { 0..0 }
        })
    }
}

/// Working memory and results of one tile and split.
#[repr(align(64))]
pub(crate) struct Work {
    pub scores: [[f32; SPLIT]; MAX_VECTORS],
    /// Weights as an `Arithmetic` multiplies them: bf16, or high and low bytes.
    pub staged: [[u32; SPLIT / 2]; MAX_VECTORS],
    /// What whole sums of weights and values are multiplied with.
    pub factors: [f32; MAX_VECTORS],
    /// Results, in the vectors that see something of the split: weighted V, largest score, sum of weights.
    pub values: [[f32; MAX_VALUE_DIM]; MAX_VECTORS],
    pub max: [f32; MAX_VECTORS],
    pub sum: [f32; MAX_VECTORS],
    pub is_seen: [bool; MAX_VECTORS],
}

/// How queries meet keys and weights meet values. `S` is the CPU, the implementing type the pool's elements.
///
/// # Safety
/// As `Simd`: called only in functions compiled for the CPU's features, with pointers into the pool and staged queries.
pub(crate) unsafe trait Arithmetic<S: Simd> {
    /// Sixteen tokens' next numbers of K, `KEY_BYTES` apart.
    type Key: Copy;
    type Score: Copy;
    const KEY_BYTES: usize;
    /// Numbers of a key that one `Key` covers.
    const JOINED: usize;

    unsafe fn load_key(from: *const u8) -> Self::Key;
    unsafe fn start_score(query: *const u32, steps: usize) -> Self::Score;
    unsafe fn add_key(
        score: Self::Score,
        key: Self::Key,
        query: *const u32,
        step: usize,
        steps: usize,
    ) -> Self::Score;
    /// Scores of the 16 tokens at `position`.
    unsafe fn finish_score(
        score: Self::Score,
        view: &View<'_>,
        position: usize,
        query: *const u32,
        steps: usize,
    ) -> S::F;

    /// Sixteen columns of one row of values, which holds `TOKENS` tokens.
    type Value: Copy;
    type Total: Copy;
    const TOKENS: usize;
    /// Registers of columns worked at once.
    const COLUMNS: usize;
    const VALUE_BYTES: usize;

    /// From raw scores to weights that are ready to be multiplied, with their sum and the largest finished score;
    /// `start` is the split's position.
    unsafe fn weights(
        work: &mut Work,
        vector: usize,
        visible: &Range<usize>,
        tile: &Tile,
        view: &View<'_>,
        start: usize,
    );
    unsafe fn load_value(from: *const u8) -> Self::Value;
    /// The value with 0 for the tokens of the row that are not in `visible`; `t` is the row's first.
    unsafe fn hide(value: Self::Value, visible: &Range<usize>, t: usize) -> Self::Value;
    unsafe fn zero_total() -> Self::Total;
    unsafe fn add_value(
        total: Self::Total,
        value: Self::Value,
        work: &Work,
        vector: usize,
        t: usize,
    ) -> Self::Total;
    unsafe fn finish_total(total: Self::Total, work: &Work, vector: usize) -> S::F;
}

/// Attend to the split that begins at position `start`, a multiple of 256; results are left in `work`.
///
/// # Safety
/// The view has a block for every position below the tile's limits, whose KV has been written; queries are staged for
/// the pool's element type; 1 ≤ count ≤ 6.
pub(crate) unsafe fn attend_split(view: &View<'_>, tile: &Tile, start: usize, work: &mut Work) {
    macro_rules! by_count {
        ($name:ident, $arithmetic:ty, $count:literal) => {{
            #[inline(always)]
            unsafe fn $name<S: Simd>(view: &View<'_>, tile: &Tile, start: usize, work: &mut Work) {
                attend::<S, $arithmetic, $count>(view, tile, start, work);
            }
            crate::dispatch!($name(view: &View<'_>, tile: &Tile, start: usize, work: &mut Work))
        }};
    }
    macro_rules! by_arithmetic {
        ($arithmetic:ty) => {
            match tile.count {
                1 => by_count!(one, $arithmetic, 1),
                2 => by_count!(two, $arithmetic, 2),
                3 => by_count!(three, $arithmetic, 3),
                4 => by_count!(four, $arithmetic, 4),
                5 => by_count!(five, $arithmetic, 5),
                _ => by_count!(six, $arithmetic, 6),
            }
        };
    }
    match view.kv.dtype {
        KvDtype::F32 => by_arithmetic!(Float<f32>),
        KvDtype::F16 => by_arithmetic!(Float<F16>),
        KvDtype::Int8 => by_arithmetic!(Int8),
        #[cfg(target_arch = "x86_64")]
        KvDtype::Bf16 if crate::cpu::multiplies_bf16() => native::attend(view, tile, start, work),
        KvDtype::Bf16 => by_arithmetic!(Bf16),
    }
}

/// bf16 on CPUs with an instruction for it.
#[cfg(target_arch = "x86_64")]
mod native {
    use super::{Tile, View, Work};
    use crate::attention_bf16::NativeBf16;
    use crate::simd_avx512::Avx512;

    /// # Safety
    /// As `attend_split`; the CPU has AVX-512 BF16.
    pub unsafe fn attend(view: &View<'_>, tile: &Tile, start: usize, work: &mut Work) {
        match tile.count {
            1 => of::<1>(view, tile, start, work),
            2 => of::<2>(view, tile, start, work),
            3 => of::<3>(view, tile, start, work),
            4 => of::<4>(view, tile, start, work),
            5 => of::<5>(view, tile, start, work),
            _ => of::<6>(view, tile, start, work),
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma,f16c")]
    unsafe fn of<const Q: usize>(view: &View<'_>, tile: &Tile, start: usize, work: &mut Work) {
        super::attend::<Avx512, NativeBf16, Q>(view, tile, start, work);
    }
}

#[inline(always)]
unsafe fn attend<S: Simd, A: Arithmetic<S>, const Q: usize>(
    view: &View<'_>,
    tile: &Tile,
    start: usize,
    work: &mut Work,
) {
    let visible = tile.visible::<Q>(start);
    let seeing = || visible.iter().filter(|range| !range.is_empty());
    let seen = Range {
        start: seeing().map(|range| range.start).min().unwrap_or(0),
        end: seeing().map(|range| range.end).max().unwrap_or(0),
    };
    scores::<S, A, Q>(view, tile, start, &seen, work);
    for (vector, visible) in visible.iter().enumerate() {
        work.is_seen[vector] = !visible.is_empty();
        if work.is_seen[vector] {
            A::weights(work, vector, visible, tile, view, start);
        }
    }
    weigh::<S, A, Q>(view, start, &seen, &visible, work);
}

/// Raw scores of the positions `seen` of the split at `start` for all vectors, widened to whole groups of 16; those that
/// a vector does not see are never read.
#[inline(always)]
unsafe fn scores<S: Simd, A: Arithmetic<S>, const Q: usize>(
    view: &View<'_>,
    tile: &Tile,
    start: usize,
    seen: &Range<usize>,
    work: &mut Work,
) {
    let steps = view.layer.shape.head_dim.div_ceil(A::JOINED);
    let end = start + seen.end;
    let mut position = start + seen.start / LANES * LANES;
    while position + LANES < end {
        let keys = [view.keys(position), view.keys(position + LANES)];
        let mut sums = [[A::start_score(tile.queries[0], steps); 2]; Q];
        for vector in 1..Q {
            sums[vector] = [A::start_score(tile.queries[vector], steps); 2];
        }
        let next = if tile.fetches && position + 3 * LANES < end {
            [
                view.keys(position + 2 * LANES),
                view.keys(position + 3 * LANES),
            ]
        } else {
            keys
        };
        let values = [view.values(position), view.values(position + LANES)];
        for step in 0..steps {
            let at = step * A::KEY_BYTES;
            if tile.fetches {
                for line in next.into_iter().chain(values) {
                    S::fetch(line.wrapping_add(at));
                }
            }
            let loaded = [A::load_key(keys[0].add(at)), A::load_key(keys[1].add(at))];
            for vector in 0..Q {
                for half in 0..2 {
                    let query = tile.queries[vector];
                    sums[vector][half] =
                        A::add_key(sums[vector][half], loaded[half], query, step, steps);
                }
            }
        }
        for vector in 0..Q {
            let to = work.scores[vector].as_mut_ptr().add(position - start);
            for half in 0..2 {
                let (query, at) = (tile.queries[vector], half * LANES);
                let score = A::finish_score(sums[vector][half], view, position + at, query, steps);
                S::store(to.add(at), score);
            }
        }
        position += 2 * LANES;
    }
    if position < end {
        let keys = view.keys(position);
        for vector in 0..Q {
            let query = tile.queries[vector];
            let mut sum = A::start_score(query, steps);
            for step in 0..steps {
                let key = A::load_key(keys.add(step * A::KEY_BYTES));
                sum = A::add_key(sum, key, query, step, steps);
            }
            let to = work.scores[vector].as_mut_ptr().add(position - start);
            S::store(to, A::finish_score(sum, view, position, query, steps));
        }
    }
}
