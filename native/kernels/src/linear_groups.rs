//! Several linear layers as one job, each on rows of its own: the experts of a mixture, the heads of a block-diagonal
//! matrix. The arithmetic is `linear`'s, tile by tile.
//!
//! G1 y[t][n] has the bits that `linear` gives it: groups and chunks change who computes a tile, never its order over k.

use crate::linear::{Activations, Target, linear, with_bf16};
use crate::linear_inputs::{Form, Inputs};
use crate::packed_linear::{PackedLinear, PackedPart, SendPointer, TILE_COLUMNS};
use crate::pool::Pool;
use crate::scratch::{Scratch, grow};

/// One weight with its rows, which lie together in `x`.
pub struct Group<'a> {
    pub weight: &'a PackedLinear,
    pub bias: Option<&'a [f32]>,
    /// Row of `x` that is its first.
    pub first_row: usize,
    pub rows: usize,
    /// Where its first output goes, and how far apart its rows' outputs are.
    pub out_at: usize,
    pub out_stride: usize,
}

/// What a tile costs besides its rows, in rows: its weights are read once.
const TILE_COST: usize = 4;
/// Chunks for each thread; tiles are claimed, so that a slow thread takes fewer.
const CHUNKS_A_THREAD: usize = 4;

impl Group<'_> {
    fn tiles(&self) -> usize {
        self.weight.parts.iter().map(|part| part.tiles()).sum()
    }

    fn tile_cost(&self) -> usize {
        self.rows + TILE_COST
    }

    fn cost(&self) -> usize {
        self.tiles() * self.tile_cost()
    }

    fn check(&self, k: usize, x_len: usize, out_len: usize) {
        let n = self.weight.n();
        assert_eq!(self.weight.k(), k, "weights of equally many inputs");
        assert!(self.bias.is_none_or(|bias| bias.len() == n));
        assert!((self.first_row + self.rows) * k <= x_len && n <= self.out_stride);
        assert!(
            self.rows == 0 || self.out_at + (self.rows - 1) * self.out_stride + n <= out_len,
            "a group's outputs end within out"
        );
    }
}

/// `x` is rows of k values, k being that of every weight; no two groups write the same output. Panics when a group's
/// rows or outputs lie outside.
///
/// Thread: the caller's and the pool's. Cost: Σ rows · n · k multiply-adds; each weight with rows is read once.
pub fn linear_groups(
    groups: &[Group<'_>],
    x: &[f32],
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let Some(k) = groups.first().map(|group| group.weight.k()) else {
        return;
    };
    groups
        .iter()
        .for_each(|group| group.check(k, x.len(), out.len()));
    if groups.iter().any(|group| group.weight.has_order()) {
        return one_by_one(groups, x, activations, out, scratch, pool);
    }
    let needs_rounded = activations == Activations::Bf16
        && forms_of(groups, activations).any(|form| form == Form::Float);
    if needs_rounded {
        return with_bf16(x, scratch, |x, scratch| {
            multiply_groups(groups, x, activations, out, scratch, pool);
        });
    }
    multiply_groups(groups, x, activations, out, scratch, pool);
}

fn forms_of(groups: &[Group<'_>], activations: Activations) -> impl Iterator<Item = Form> {
    let parts = groups.iter().flat_map(|group| &group.weight.parts);
    parts.map(move |part| Form::of(part.kind, activations))
}

/// As `linear_groups`, which checked everything and rounded `x` where some part takes it rounded.
fn multiply_groups(
    groups: &[Group<'_>],
    x: &[f32],
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let k = groups[0].weight.k();
    let inputs = Inputs::new(x, k, forms_of(groups, activations), scratch);
    pool.run(groups.len(), &|index| {
        let group = &groups[index];
        // SAFETY: groups' rows are disjoint and within `x`.
        unsafe { inputs.starting_at(group.first_row).stage(0..group.rows) }
    });
    let total: usize = groups.iter().map(Group::cost).sum();
    let tiles: usize = groups.iter().map(Group::tiles).sum();
    let chunks = (pool.threads() * CHUNKS_A_THREAD).min(tiles);
    let has_floats = forms_of(groups, activations).any(|form| form == Form::Float);
    let panel_len = if has_floats { k * TILE_COLUMNS } else { 0 };
    let panels = SendPointer(grow(&mut scratch.panels, panel_len * chunks, 0.0).as_mut_ptr());
    let out = SendPointer(out.as_mut_ptr());
    pool.run(chunks, &|chunk| {
        let (from, to) = (total * chunk / chunks, total * (chunk + 1) / chunks);
        let mut start = 0;
        for group in groups {
            // The tiles whose cost begins within the chunk's part of the whole.
            let tile_at = |cost: usize| cost.saturating_sub(start).div_ceil(group.tile_cost());
            let tiles = tile_at(from).min(group.tiles())..tile_at(to).min(group.tiles());
            start += group.cost();
            if tiles.is_empty() || group.rows == 0 {
                continue;
            }
            // SAFETY: chunks have disjoint tiles, so each writes outputs and a panel of its own; all lie within what was
            // checked and grown above.
            unsafe {
                let inputs = inputs.starting_at(group.first_row);
                let panel = panels.get().add(chunk * panel_len);
                for (part, tile) in tiles_of(group.weight, tiles) {
                    let column = part.first + tile * TILE_COLUMNS;
                    let target = Target {
                        out: out.get().add(group.out_at + column),
                        stride: group.out_stride,
                        width: part.tile_width(tile),
                        bias: group.bias.map(|bias| bias[column..].as_ptr()),
                    };
                    let form = Form::of(part.kind, activations);
                    inputs.multiply(form, part, tile, 0..group.rows, panel, &target);
                }
            }
        }
    });
}

/// Weights that take their inputs in an order of their own share nothing. Panics when outputs do not lie together.
fn one_by_one(
    groups: &[Group<'_>],
    x: &[f32],
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    for group in groups {
        let (weight, rows, bias) = (group.weight, group.rows, group.bias);
        let (n, k) = (weight.n(), weight.k());
        assert_eq!(
            group.out_stride, n,
            "outputs of ordered weights lie together"
        );
        let x = &x[group.first_row * k..][..rows * k];
        let out = &mut out[group.out_at..][..rows * n];
        linear(weight, x, rows, bias, activations, out, scratch, pool);
    }
}

/// Tiles of a weight by their number over all its parts.
fn tiles_of(
    weight: &PackedLinear,
    range: std::ops::Range<usize>,
) -> impl Iterator<Item = (&PackedPart, usize)> {
    let all = weight
        .parts
        .iter()
        .flat_map(|part| (0..part.tiles()).map(move |tile| (part, tile)));
    all.skip(range.start).take(range.len())
}
