//! Low-rank deltas of linear layers (LoRA): y += scale · B (A x), each row with the deltas of its own adapter or with none.
//!
//! Knows rows and matrices; knows no adapters' names. The arithmetic is `linear`'s in f32, whatever the activations of the
//! layer itself, on the row as the layer got it.
//! R1 y[t] is changed only where row t is listed, and has then the bits that it would have alone: A x and B h are reduced
//!    over k and over the rank ascending, and deltas are added in the order of the list.
//! R2 A row that is listed nowhere keeps its bits.

use crate::error::KernelError;
use crate::linear::Activations;
use crate::linear_groups::{Group, linear_groups};
use crate::norm::in_row_chunks;
use crate::packed_linear::{PackedLinear, SendPointer};
use crate::pool::Pool;
use crate::scratch::{Scratch, grow};
use crate::source::Part;

/// One adapter's delta of some outputs of a linear layer.
pub struct LowRank {
    down: PackedLinear, // A, [rank, k]
    up: PackedLinear,   // B, [outputs, rank]
    scale: f32,
    /// First output that it is added to.
    first: usize,
    /// Output of each row of B, counted from `first`; none: in B's order.
    order: Option<Box<[u32]>>,
}

/// What a delta is made of. `down` is `[rank, k]`, `up` `[outputs, rank]`.
pub struct LowRankParts<'a> {
    pub down: Part<'a>,
    pub up: Part<'a>,
    pub k: usize,
    pub scale: f32,
    pub first: usize,
    pub order: Option<Vec<u32>>,
}

impl LowRank {
    /// # Errors
    /// When bytes and shapes disagree, a weight or the scale is not finite, or the order is none.
    ///
    /// Cost: one pass over the bytes on this thread; holds about as many.
    pub fn pack(parts: LowRankParts<'_>) -> Result<Self, KernelError> {
        let alone = Pool::new(1);
        let down = PackedLinear::pack(&[parts.down], parts.k, &alone)?;
        let up = PackedLinear::pack(&[parts.up], down.n(), &alone)?;
        if !parts.scale.is_finite() || !is_finite(&down) || !is_finite(&up) {
            return Err(KernelError::new(
                "a weight or the scale is infinite or not a number",
            ));
        }
        if let Some(order) = &parts.order {
            let mut is_taken = vec![false; up.n()];
            let is_order = order.len() == up.n()
                && order.iter().all(|&output| {
                    let place = is_taken.get_mut(output as usize);
                    place.is_some_and(|taken| !std::mem::replace(taken, true))
                });
            if !is_order {
                return Err(KernelError::new(
                    "the order must name each output of the delta once",
                ));
            }
        }
        Ok(Self {
            down,
            up,
            scale: parts.scale,
            first: parts.first,
            order: parts.order.map(Vec::into_boxed_slice),
        })
    }

    pub fn rank(&self) -> usize {
        self.down.n()
    }

    /// Inputs of the layer.
    pub fn k(&self) -> usize {
        self.down.k()
    }

    /// Outputs of the layer that it changes.
    pub fn outputs(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.up.n()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let order = self.order.as_ref().map_or(0, |order| order.len() * 4);
        self.down.bytes() + self.up.bytes() + order
    }

    fn output(&self, index: usize) -> usize {
        let offset = match &self.order {
            Some(order) => order[index] as usize,
            None => index,
        };
        self.first + offset
    }
}

fn is_finite(weight: &PackedLinear) -> bool {
    let mut values = vec![0.0; weight.k()];
    (0..weight.n()).all(|row| {
        weight.row_into(row, &mut values);
        values.iter().all(|value| value.is_finite())
    })
}

/// The deltas of one adapter and the rows that it answers, each once.
pub struct LowRankUse<'a> {
    pub deltas: &'a [LowRank],
    pub rows: &'a [u32],
}

/// Working memory of `add_low_rank`.
#[derive(Default)]
pub(crate) struct LowRankBuffers {
    /// Rows by adapter, `[rows, k]`.
    x: Vec<f32>,
    /// A x of each delta, one after the other.
    hidden: Vec<f32>,
    /// B h of each delta, one after the other.
    delta: Vec<f32>,
}

/// `x` is `[rows, k]`, `out` `[rows, n]`. Panics when a row or an output lies outside, or a delta has other inputs.
///
/// Thread: the caller's and the pool's. Cost: Σ rows · rank · (k + outputs) multiply-adds.
pub fn add_low_rank(
    uses: &[LowRankUse<'_>],
    x: &[f32],
    k: usize,
    out: &mut [f32],
    n: usize,
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let mut buffers = std::mem::take(&mut scratch.low_rank);
    let mut places = Vec::new();
    let (mut first_row, mut hidden_len, mut delta_len) = (0, 0, 0);
    for used in uses {
        let rows = used.rows.len();
        for delta in used.deltas {
            assert!(delta.k() == k && delta.outputs().end <= n);
            places.push(Place {
                delta,
                rows: used.rows,
                first_row,
                hidden_at: hidden_len,
                delta_at: delta_len,
            });
            hidden_len += rows * delta.rank();
            delta_len += rows * delta.up.n();
        }
        first_row += rows;
    }
    let gathered = grow(&mut buffers.x, first_row * k, 0.0);
    let all_rows = uses.iter().flat_map(|used| used.rows);
    for (to, &row) in gathered.chunks_exact_mut(k).zip(all_rows) {
        to.copy_from_slice(&x[row as usize * k..][..k]);
    }
    let hidden = grow(&mut buffers.hidden, hidden_len, 0.0);
    let groups: Vec<_> = places.iter().map(Place::down).collect();
    linear_groups(&groups, gathered, Activations::F32, hidden, scratch, pool);
    let deltas = grow(&mut buffers.delta, delta_len, 0.0);
    multiply_up(&places, hidden, deltas, scratch, pool);
    for place in &places {
        place.add(deltas, out, n, pool);
    }
    scratch.low_rank = buffers;
}

/// Where one delta's rows lie in the buffers.
struct Place<'a> {
    delta: &'a LowRank,
    rows: &'a [u32],
    first_row: usize,
    hidden_at: usize,
    delta_at: usize,
}

impl Place<'_> {
    fn down(&self) -> Group<'_> {
        Group {
            weight: &self.delta.down,
            bias: None,
            first_row: self.first_row,
            rows: self.rows.len(),
            out_at: self.hidden_at,
            out_stride: self.delta.rank(),
        }
    }

    /// out[row] += scale · delta.
    fn add(&self, deltas: &[f32], out: &mut [f32], n: usize, pool: &Pool) {
        let (delta, width) = (self.delta, self.delta.up.n());
        assert!(
            self.rows
                .iter()
                .all(|&row| (row as usize + 1) * n <= out.len())
        );
        let out = SendPointer(out.as_mut_ptr());
        in_row_chunks(self.rows.len(), pool, &|index| {
            let values = &deltas[self.delta_at + index * width..][..width];
            // SAFETY: an adapter's rows are each listed once, so no other chunk writes this row; it lies within `out`, as
            // was asserted above.
            let row = unsafe {
                std::slice::from_raw_parts_mut(out.get().add(self.rows[index] as usize * n), n)
            };
            for (column, value) in values.iter().enumerate() {
                row[delta.output(column)] += delta.scale * value;
            }
        });
    }
}

/// B h of all deltas; those of one rank that follow one another are one job.
fn multiply_up(
    places: &[Place<'_>],
    hidden: &[f32],
    deltas: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    for same in places.chunk_by(|a, b| a.delta.rank() == b.delta.rank()) {
        let rank = same[0].delta.rank();
        let start = same[0].hidden_at;
        let groups: Vec<_> = same
            .iter()
            .map(|place| Group {
                weight: &place.delta.up,
                bias: None,
                first_row: (place.hidden_at - start) / rank,
                rows: place.rows.len(),
                out_at: place.delta_at,
                out_stride: place.delta.up.n(),
            })
            .collect();
        let rows: usize = same.iter().map(|place| place.rows.len()).sum();
        let x = &hidden[start..][..rows * rank];
        linear_groups(&groups, x, Activations::F32, deltas, scratch, pool);
    }
}
