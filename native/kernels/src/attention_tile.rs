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

use crate::attention_ahead::Ahead;
use crate::attention_bf16::Bf16;
use crate::attention_float::{F16, Float};
use crate::attention_int8::Int8;
use crate::attention_join::{Part, Parts};
use crate::attention_scores::scores;
use crate::attention_softmax::{Prepared, prepare};
use crate::attention_values::weigh;
use crate::attention_view::View;
use crate::kv_pool::{KvDtype, MAX_VALUE_DIM};
use crate::simd::Simd;

/// Query vectors a tile holds: 6 × 2 score accumulators, or 6 × 4 of V, fill 24 of 32 registers.
pub(crate) const MAX_VECTORS: usize = 6;
pub(crate) const SPLIT: usize = 256;

pub(crate) struct Tile<'a> {
    /// Each as `attention_store` staged it for the pool's element type.
    pub queries: [*const u32; MAX_VECTORS],
    /// Each vector sees the positions `first … limit`, at least one.
    pub firsts: [usize; MAX_VECTORS],
    pub limits: [usize; MAX_VECTORS],
    pub count: usize,
    pub scale: f32,
    /// 0 = none.
    pub softcap: f32,
    /// Where K and V come from memory.
    pub ahead: Option<&'a Ahead>,
}

impl Tile<'_> {
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

impl Work {
    /// Results of the first `count` vectors.
    pub fn parts(&self, count: usize) -> Parts {
        let mut parts = [None; MAX_VECTORS];
        for (vector, part) in parts[..count].iter_mut().enumerate() {
            if self.is_seen[vector] {
                *part = Some(Part {
                    max: self.max[vector],
                    sum: self.sum[vector],
                    values: self.values[vector].as_ptr(),
                });
            }
        }
        parts
    }
}

/// How queries meet keys and weights meet values. `S` is the CPU, the implementing type the pool's elements.
///
/// # Safety
/// As `Simd`: called only in functions compiled for the CPU's features, with pointers into the pool and staged queries.
pub(crate) unsafe trait Arithmetic<S: Simd> {
    /// Sixteen tokens' next numbers of K, `KEY_BYTES` apart.
    type Key: Copy;
    type Score: Copy;
    /// Of 16 tokens' keys, where they have any.
    type Scales: Copy;
    /// Vectors in a score.
    const SUMS: usize;
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
    /// Of the keys of the 16 tokens at `position`.
    unsafe fn key_scales(view: &View<'_>, position: usize) -> Self::Scales;
    unsafe fn finish_score(
        score: Self::Score,
        scales: Self::Scales,
        query: *const u32,
        steps: usize,
    ) -> S::F;

    /// Ask ahead for the scales of 16 tokens' keys and values, if there are any.
    #[inline(always)]
    unsafe fn fetch_scales(_view: &View<'_>, _position: usize) {}

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
        prepared: &Prepared,
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
pub(crate) unsafe fn attend_split(view: &View<'_>, tile: &Tile<'_>, start: usize, work: &mut Work) {
    macro_rules! by_count {
        ($name:ident, $arithmetic:ty, $count:literal) => {{
            #[inline(always)]
            unsafe fn $name<S: Simd>(view: &View<'_>, tile: &Tile<'_>, start: usize, work: &mut Work) {
                attend::<S, $arithmetic, $count>(view, tile, start, work);
            }
            crate::dispatch!($name(view: &View<'_>, tile: &Tile<'_>, start: usize, work: &mut Work))
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
    pub unsafe fn attend(view: &View<'_>, tile: &Tile<'_>, start: usize, work: &mut Work) {
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
    unsafe fn of<const Q: usize>(view: &View<'_>, tile: &Tile<'_>, start: usize, work: &mut Work) {
        super::attend::<Avx512, NativeBf16, Q>(view, tile, start, work);
    }
}

#[inline(always)]
unsafe fn attend<S: Simd, A: Arithmetic<S>, const Q: usize>(
    view: &View<'_>,
    tile: &Tile<'_>,
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
    let mut prepared = [const { Prepared::NOTHING }; Q];
    for (vector, visible) in visible.iter().enumerate() {
        work.is_seen[vector] = !visible.is_empty();
        if work.is_seen[vector] {
            prepared[vector] = prepare::<S>(&mut work.scores[vector], visible, tile);
        }
    }
    for (vector, visible) in visible.iter().enumerate() {
        if work.is_seen[vector] {
            A::weights(work, vector, visible, &prepared[vector], view, start);
        }
    }
    weigh::<S, A, Q>(view, tile, start, &seen, &visible, work);
}
