//! A mixture of experts: each row through the experts that its router chose, summed by their gains.
//!
//! Rows are brought together by expert, so that an expert's weights are read once for all rows that chose it, and the two
//! linear layers of all experts are one job each. Cost follows the experts chosen, not those there are.
//!
//! M1 out[t] = Σ gain · expert(x[t]), summed over t's experts by ascending id: bits never depend on other rows (D5).
//! M2 Working memory is bounded: long steps go through in passes of rows.

use std::sync::Arc;

use crate::activation::{Gated, gated};
use crate::linear::Activations;
use crate::linear_groups::{Group, linear_groups};
use crate::norm::in_row_chunks;
use crate::packed_linear::{PackedLinear, SendPointer};
use crate::pool::Pool;
use crate::router::{Router, RouterScratch};
use crate::scratch::{Scratch, grow};
use crate::simd::{LANES, Simd};

/// One expert: down(unit(gate_up(x))).
pub struct Expert {
    pub gate_up: Arc<PackedLinear>, // [2 I, H]
    pub gate_up_bias: Option<Arc<[f32]>>,
    pub down: Arc<PackedLinear>, // [H, I]
    pub down_bias: Option<Arc<[f32]>>,
}

/// f32 numbers that the rows of one pass may take between them.
const PASS_NUMBERS: usize = 1 << 24;

/// What a pass holds: assignments are pairs of a row and an expert it chose, sorted by expert.
#[derive(Default)]
pub(crate) struct MoeBuffers {
    chosen: Vec<u32>,
    gains: Vec<f32>,
    /// Row of each assignment, and the assignment of each (row, choice).
    sources: Vec<u32>,
    places: Vec<u32>,
    gathered: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
    down: Vec<f32>,
}

/// `x` and `out` are `[rows, H]`, `logits` `[rows, experts]`. Panics when lengths or the experts' shapes disagree.
///
/// Thread: the caller's and the pool's. No allocation once `scratch` has grown, but for the list of an expert's groups.
#[allow(clippy::too_many_arguments)]
pub fn moe(
    experts: &[Expert],
    unit: Gated,
    router: &Router<'_>,
    x: &[f32],
    logits: &[f32],
    rows: usize,
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let width = experts[0].gate_up.k();
    let wide = experts[0].gate_up.n();
    assert!(experts.len() == router.num_experts && logits.len() == rows * experts.len());
    assert!(x.len() == rows * width && out.len() == rows * width);
    assert!(experts.iter().all(|expert| {
        let (gate_up, down) = (&expert.gate_up, &expert.down);
        (gate_up.n(), gate_up.k(), down.n(), 2 * down.k()) == (wide, width, width, wide)
    }));
    let numbers = router.top_k * (2 * width + wide + wide / 2);
    let rows_a_pass = (PASS_NUMBERS / numbers).max(1);
    let mut buffers = std::mem::take(&mut scratch.moe);
    for first in (0..rows).step_by(rows_a_pass) {
        let pass = first..rows.min(first + rows_a_pass);
        let logits = &logits[pass.start * experts.len()..pass.end * experts.len()];
        let range = pass.start * width..pass.end * width;
        let (x, out) = (&x[range.clone()], &mut out[range]);
        sort_by_expert(router, logits, pass.len(), &mut buffers, pool);
        let run = Pass {
            experts,
            unit,
            activations,
            top_k: router.top_k,
            rows: pass.len(),
        };
        run.compute(x, out, &mut buffers, scratch, pool);
    }
    scratch.moe = buffers;
}

/// Route every row, then number the assignments by expert, rows ascending within one.
fn sort_by_expert(
    router: &Router<'_>,
    logits: &[f32],
    rows: usize,
    buffers: &mut MoeBuffers,
    pool: &Pool,
) {
    let (experts, top_k) = (router.num_experts, router.top_k);
    let chosen = SendPointer(grow(&mut buffers.chosen, rows * top_k, 0).as_mut_ptr());
    let gains = SendPointer(grow(&mut buffers.gains, rows * top_k, 0.0).as_mut_ptr());
    let rows_a_chunk = 32;
    pool.run(rows.div_ceil(rows_a_chunk), &|chunk| {
        let mut scratch = RouterScratch::default();
        for row in chunk * rows_a_chunk..rows.min((chunk + 1) * rows_a_chunk) {
            let logits = &logits[row * experts..][..experts];
            // SAFETY: rows are disjoint parts of buffers of `rows · top_k`.
            let (chosen, gains) = unsafe {
                (
                    std::slice::from_raw_parts_mut(chosen.get().add(row * top_k), top_k),
                    std::slice::from_raw_parts_mut(gains.get().add(row * top_k), top_k),
                )
            };
            router.route(logits, chosen, gains, &mut scratch);
        }
    });
    let chosen = &buffers.chosen[..rows * top_k];
    let mut next = vec![0_u32; experts];
    for &expert in chosen {
        next[expert as usize] += 1;
    }
    let mut start = 0;
    for count in &mut next {
        start += std::mem::replace(count, start);
    }
    grow(&mut buffers.sources, rows * top_k, 0);
    grow(&mut buffers.places, rows * top_k, 0);
    for (index, &expert) in chosen.iter().enumerate() {
        let place = &mut next[expert as usize];
        buffers.places[index] = *place;
        buffers.sources[*place as usize] = (index / top_k) as u32;
        *place += 1;
    }
}

struct Pass<'a> {
    experts: &'a [Expert],
    unit: Gated,
    activations: Activations,
    top_k: usize,
    rows: usize,
}

impl Pass<'_> {
    fn compute(
        &self,
        x: &[f32],
        out: &mut [f32],
        buffers: &mut MoeBuffers,
        scratch: &mut Scratch,
        pool: &Pool,
    ) {
        let width = self.experts[0].gate_up.k();
        let wide = self.experts[0].gate_up.n();
        let assignments = self.rows * self.top_k;
        let gathered = grow(&mut buffers.gathered, assignments * width, 0.0);
        let target = SendPointer(gathered.as_mut_ptr());
        let sources = &buffers.sources;
        in_row_chunks(assignments, pool, &|place| {
            let from = &x[sources[place] as usize * width..][..width];
            // SAFETY: places are disjoint rows of a buffer of `assignments` rows.
            unsafe { std::slice::from_raw_parts_mut(target.get().add(place * width), width) }
                .copy_from_slice(from);
        });
        let gate_up = grow(&mut buffers.gate_up, assignments * wide, 0.0);
        let groups = self.groups(&buffers.chosen, |expert| {
            (&*expert.gate_up, expert.gate_up_bias.as_deref())
        });
        linear_groups(&groups, gathered, self.activations, gate_up, scratch, pool);
        let inner = grow(&mut buffers.inner, assignments * (wide / 2), 0.0);
        gated(self.unit, gate_up, assignments, wide / 2, inner, pool);
        let down = grow(&mut buffers.down, assignments * width, 0.0);
        let groups = self.groups(&buffers.chosen, |expert| {
            (&*expert.down, expert.down_bias.as_deref())
        });
        linear_groups(&groups, inner, self.activations, down, scratch, pool);
        let (places, gains) = (&buffers.places, &buffers.gains);
        let (down, target) = (&*down, SendPointer(out.as_mut_ptr()));
        in_row_chunks(self.rows, pool, &|row| {
            for choice in row * self.top_k..(row + 1) * self.top_k {
                let from = down[places[choice] as usize * width..][..width].as_ptr();
                let is_first = choice == row * self.top_k;
                // SAFETY: rows of `out` are disjoint; both sides are `width` long.
                unsafe {
                    let to = target.get().add(row * width);
                    add_scaled(from, gains[choice], width, is_first, to);
                }
            }
        });
    }

    /// The experts that rows chose, with where those rows lie.
    fn groups<'a>(
        &'a self,
        chosen: &[u32],
        part: impl Fn(&'a Expert) -> (&'a PackedLinear, Option<&'a [f32]>),
    ) -> Vec<Group<'a>> {
        let mut counts = vec![0; self.experts.len()];
        for &expert in &chosen[..self.rows * self.top_k] {
            counts[expert as usize] += 1;
        }
        let mut first_row = 0;
        let mut groups = Vec::new();
        for (expert, &rows) in self.experts.iter().zip(&counts) {
            let (weight, bias) = part(expert);
            if rows > 0 {
                groups.push(Group {
                    weight,
                    bias,
                    first_row,
                    rows,
                    out_at: first_row * weight.n(),
                    out_stride: weight.n(),
                });
            }
            first_row += rows;
        }
        groups
    }
}

/// to = from · gain, plus what is there unless it is the first.
unsafe fn add_scaled(from: *const f32, gain: f32, width: usize, is_first: bool, to: *mut f32) {
    #[inline(always)]
    unsafe fn body<S: Simd>(
        from: *const f32,
        gain: f32,
        width: usize,
        is_first: bool,
        to: *mut f32,
    ) {
        let whole = width / LANES * LANES;
        for k in (0..whole).step_by(LANES) {
            let scaled = S::mul(S::load(from.add(k)), S::splat(gain));
            let sum = if is_first {
                scaled
            } else {
                S::add(S::load(to.add(k)), scaled)
            };
            S::store(to.add(k), sum);
        }
        for k in whole..width {
            let scaled = *from.add(k) * gain;
            *to.add(k) = if is_first {
                scaled
            } else {
                *to.add(k) + scaled
            };
        }
    }
    crate::dispatch!(body(from: *const f32, gain: f32, width: usize, is_first: bool, to: *mut f32));
}
