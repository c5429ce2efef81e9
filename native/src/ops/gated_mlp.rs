//! `GatedMlp`: x `[T, K]` → `[T, N]`, down · unit(gateUp · x): what `Linear`, `GatedActivation` and `Linear` give in turn.
//!
//! I1: the bits are those of the three. A step in which one of the two weights is observed, or some row's adapter changes it,
//! goes through them one after the other, because the numbers between them are then wanted.

use std::sync::Arc;

use ingot_kernels::{Gated, GatedMlp as Mlp, MlpLayer, PackedLinear, gated_mlp, gated_mlp_in_turn};

use super::call::Call;
use super::gated_activation::read_gated;
use super::linear::read_bias;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct GatedMlp {
    runtime: Arc<ModelRuntime>,
    unit: Gated,
    gate_up: Layer, // [2 I, K]
    down: Layer,    // [N, I]
}

struct Layer {
    name: String,
    weight: Arc<PackedLinear>,
    bias: Option<Arc<[f32]>>,
}

impl Layer {
    /// Reads the attributes `weight` and `bias`; takes over the weight's deltas.
    fn bind(node: &Node, runtime: &Arc<ModelRuntime>, weight: &str, bias: &str) -> Outcome<Self> {
        let name = node.text(weight)?;
        let weight = runtime.weights.linear(&name)?;
        let bias = read_bias(node, runtime, bias, &name, weight.n())?;
        runtime.adapters.declare(&name, weight.k(), weight.n());
        Ok(Self { name, weight, bias })
    }

    fn is_watched(&self, runtime: &ModelRuntime) -> bool {
        runtime.observes(&self.name) || runtime.adapters.change(&self.name)
    }
}

impl Operation for GatedMlp {
    const NAME: &'static str = "GatedMlp";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("gateUp", Kind::Text),
        optional("gateUpBias", Kind::Text),
        required("down", Kind::Text),
        optional("downBias", Kind::Text),
        required("kind", Kind::Text),
        optional("layout", Kind::Text),
        optional("limit", Kind::Float),
        optional("alpha", Kind::Float),
        optional("upOffset", Kind::Float),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let gate_up = Layer::bind(node, runtime, "gateUp", "gateUpBias")?;
        let down = Layer::bind(node, runtime, "down", "downBias")?;
        let (up, back) = (&gate_up.weight, &down.weight);
        node.expect_width(0, up.k(), &format!("weight \"{}\"", gate_up.name))?;
        if up.n() != 2 * back.k() {
            return Err(bad(format!(
                "gateUp \"{}\" is [{}, {}], but down \"{}\" is [{}, {}]",
                gate_up.name,
                up.n(),
                up.k(),
                down.name,
                back.n(),
                back.k()
            )));
        }
        Ok(Self {
            runtime: runtime.clone(),
            unit: read_gated(node)?,
            gate_up,
            down,
        })
    }

    fn output_width(node: &Inference, runtime: &ModelRuntime) -> Option<i64> {
        let down = runtime.weights.linear(&node.text("down")?).ok()?;
        Some(down.n() as i64)
    }

    fn detail(&self) -> String {
        let (up, down) = (&self.gate_up.weight, &self.down.weight);
        format!("{} → 2 × {} → {}", up.k(), down.k(), down.n())
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let Self {
            runtime,
            unit,
            gate_up,
            down,
        } = self;
        let x = call.matrix_of(0, gate_up.weight.k())?;
        let out = call.output(0, x.rows, down.weight.n())?;
        let mlp = Mlp {
            gate_up: &gate_up.weight,
            gate_up_bias: gate_up.bias.as_deref(),
            unit: *unit,
            down: &down.weight,
            down_bias: down.bias.as_deref(),
        };
        let scratch = &mut runtime.scratch();
        let (activations, pool) = (runtime.activations, &runtime.pool);
        if !gate_up.is_watched(runtime) && !down.is_watched(runtime) {
            gated_mlp(&mlp, x.data, x.rows, activations, out, scratch, pool);
            return Ok(());
        }
        gated_mlp_in_turn(
            &mlp,
            x.data,
            x.rows,
            activations,
            out,
            scratch,
            pool,
            &mut |layer, x, out, scratch| {
                let layer = match layer {
                    MlpLayer::GateUp => &*gate_up,
                    MlpLayer::Down => &*down,
                };
                let (k, n) = (layer.weight.k(), layer.weight.n());
                runtime.saw(&layer.name, x);
                let adapters = &runtime.adapters;
                adapters.add(&layer.name, x, k, out, n, scratch, pool);
            },
        );
        Ok(())
    }
}
