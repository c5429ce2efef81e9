//! `SwiGlu`: gateUp `[T, 2 I]`, gate first → `[T, I]`, silu(gate) · up.

use std::sync::Arc;

use ingot_kernels::{Gated, gated};

use super::call::Call;
use super::gated_activation::{inner_width, whole_pairs};
use super::node::Node;
use super::operation::{Attribute, Element, Inference, Operation};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct SwiGlu {
    runtime: Arc<ModelRuntime>,
}

impl Operation for SwiGlu {
    const NAME: &'static str = "SwiGlu";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        whole_pairs(node)?;
        Ok(Self {
            runtime: runtime.clone(),
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0).map(|width| width / 2)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let gate_up = call.matrix(0)?;
        let inner = inner_width(&gate_up)?;
        let out = call.output(0, gate_up.rows, inner)?;
        let pool = &self.runtime.pool;
        gated(Gated::SWIGLU, gate_up.data, gate_up.rows, inner, out, pool);
        Ok(())
    }
}
