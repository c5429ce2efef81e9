//! `Activation`: x `[T, H]` → `[T, H]`, one nonlinearity on every value.

use std::sync::Arc;

use ingot_kernels::{Curve, activation};

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, required};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct Activation {
    runtime: Arc<ModelRuntime>,
    curve: Curve,
}

impl Operation for Activation {
    const NAME: &'static str = "Activation";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[required("kind", Kind::Text)];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        Ok(Self {
            curve: read_curve(node)?,
            runtime: runtime.clone(),
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let x = call.matrix(0)?;
        let out = call.output(0, x.rows, x.width)?;
        activation(self.curve, x.data, x.rows, out, &self.runtime.pool);
        Ok(())
    }
}

/// Attribute `kind`.
pub fn read_curve(node: &Node) -> Outcome<Curve> {
    let kind = node.text("kind")?;
    Curve::parse(&kind).ok_or_else(|| {
        bad(format!(
            "attribute kind must be silu, gelu, gelu_tanh, relu, relu2 or quick_gelu, got {kind}"
        ))
    })
}
