//! `LayerNorm`: x `[T, H]` → `[T, H]`, (x − mean) / √(variance + ε) · weight + bias.

use std::sync::Arc;

use ingot_kernels::layer_norm;

use super::call::Call;
use super::node::{Node, bad};
use super::norm::Norm;
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct LayerNorm {
    runtime: Arc<ModelRuntime>,
    norm: Norm,
    bias: Option<Arc<[f32]>>, // [H]
}

impl Operation for LayerNorm {
    const NAME: &'static str = "LayerNorm";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("weight", Kind::Text),
        required("epsilon", Kind::Float),
        optional("bias", Kind::Text),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let norm = Norm::read(node, runtime, 1)?;
        let bias = match node.optional_text("bias").filter(|bias| !bias.is_empty()) {
            Some(bias) => {
                let values = runtime.weights.vector(&bias)?;
                if values.len() != norm.weight.len() {
                    return Err(bad(format!(
                        "bias \"{bias}\" has {} numbers, but the weight has {}",
                        values.len(),
                        norm.weight.len()
                    )));
                }
                Some(values)
            }
            None => None,
        };
        Ok(Self {
            runtime: runtime.clone(),
            norm,
            bias,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let norm = &self.norm;
        let x = call.matrix_of(0, norm.weight.len())?;
        let out = call.output(0, x.rows, x.width)?;
        layer_norm(
            x.data,
            &norm.weight,
            self.bias.as_deref(),
            norm.epsilon,
            x.rows,
            out,
            &self.runtime.pool,
        );
        Ok(())
    }
}
