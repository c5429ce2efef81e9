//! A gated MLP as one job: down(unit(gate_up(x))), whose widest intermediate, `[rows, 2 I]`, never exists.
//!
//! An output tile is 32 columns and a block of activations is 32 numbers: gates and ups of 32 columns are multiplied for some
//! rows, joined, and written in the form that down multiplies, while they are in the first caches (`gated_mlp_fused`).
//!
//! M1 The bits are those of `linear`, `gated` and `linear` in turn: the same kernels see the same tiles and rows.
//! M2 Weights that multiply f32, take their inputs in another order, or are not whole tiles go one layer after the other.

use crate::activation::{Gated, gated};
use crate::gated_mlp_fused::Fused;
use crate::linear::{Activations, linear};
use crate::packed_linear::PackedLinear;
use crate::pool::Pool;
use crate::scratch::{Scratch, grow};

/// Weights and biases; `down` takes half of what `gate_up` gives.
#[derive(Clone, Copy)]
pub struct GatedMlp<'a> {
    pub gate_up: &'a PackedLinear, // [2 I, K]
    pub gate_up_bias: Option<&'a [f32]>,
    pub unit: Gated,
    pub down: &'a PackedLinear, // [N, I]
    pub down_bias: Option<&'a [f32]>,
}

/// The two products of a gated MLP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MlpLayer {
    GateUp,
    Down,
}

/// Called behind each layer with what it took, and with what it gave, which may be changed.
pub type AfterLayer<'a> = dyn FnMut(MlpLayer, &[f32], &mut [f32], &mut Scratch) + 'a;

/// What goes from one layer to the next where they are apart.
#[derive(Default)]
pub(crate) struct LayersApart {
    gate_up: Vec<f32>,
    inner: Vec<f32>,
}

impl GatedMlp<'_> {
    /// I, the width between the layers.
    pub(crate) fn inner(&self) -> usize {
        self.down.k()
    }

    fn check(&self, x: usize, rows: usize, out: usize) {
        let (gate_up, down) = (self.gate_up, self.down);
        assert_eq!(gate_up.n(), 2 * down.k(), "gates and ups of down's inputs");
        assert!(
            x == rows * gate_up.k() && out == rows * down.n(),
            "x {x} and out {out} of {rows} rows"
        );
        let is_whole = |bias: Option<&[f32]>, n| bias.is_none_or(|bias| bias.len() == n);
        assert!(is_whole(self.gate_up_bias, gate_up.n()) && is_whole(self.down_bias, down.n()));
    }
}

/// `x` is `[rows, K]`, `out` `[rows, N]`. Panics when lengths or the weights' shapes disagree.
///
/// Thread: the caller's and the pool's. Cost: rows · I · (2 K + N) multiply-adds; no allocation once `scratch` has grown.
pub fn gated_mlp(
    mlp: &GatedMlp<'_>,
    x: &[f32],
    rows: usize,
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    mlp.check(x.len(), rows, out.len());
    match Fused::of(mlp, activations) {
        _ if rows == 0 => {}
        Some(fused) => fused.compute(x, rows, out, &mut scratch.mlp_rooms, pool),
        None => {
            let nothing: &mut AfterLayer<'_> = &mut |_, _, _, _| {};
            gated_mlp_in_turn(mlp, x, rows, activations, out, scratch, pool, nothing);
        }
    }
}

/// As `gated_mlp`, one layer after the other through memory.
///
/// Cost: as `gated_mlp`, and rows · 3 I numbers that stay in `scratch`.
#[allow(clippy::too_many_arguments)]
pub fn gated_mlp_in_turn(
    mlp: &GatedMlp<'_>,
    x: &[f32],
    rows: usize,
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
    after: &mut AfterLayer<'_>,
) {
    mlp.check(x.len(), rows, out.len());
    let mut buffers = std::mem::take(&mut scratch.mlp_apart);
    let inner = mlp.inner();
    let wide = grow(&mut buffers.gate_up, rows * 2 * inner, 0.0);
    let (weight, bias) = (mlp.gate_up, mlp.gate_up_bias);
    linear(weight, x, rows, bias, activations, wide, scratch, pool);
    after(MlpLayer::GateUp, x, wide, scratch);
    let middle = grow(&mut buffers.inner, rows * inner, 0.0);
    gated(mlp.unit, wide, rows, inner, middle, pool);
    let (weight, bias) = (mlp.down, mlp.down_bias);
    linear(weight, middle, rows, bias, activations, out, scratch, pool);
    after(MlpLayer::Down, middle, out, scratch);
    scratch.mlp_apart = buffers;
}
