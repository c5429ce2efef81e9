//! `Embedding`: ids i32 `[T]` (of tokens, or positions) → `[T, H]`. An id's row of a matrix, dequantized, times `scale`.

use std::sync::Arc;

use ingot_kernels::{PackedLinear, embedding};

use super::call::Call;
use super::node::Node;
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct Embedding {
    runtime: Arc<ModelRuntime>,
    weight: Arc<PackedLinear>, // [vocab, H]
    scale: f32,
}

impl Operation for Embedding {
    const NAME: &'static str = "Embedding";
    const INPUTS: &'static [Element] = &[Element::I32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("weight", Kind::Text),
        optional("scale", Kind::Float),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        Ok(Self {
            weight: runtime.weights.linear(&node.text("weight")?)?,
            scale: node.float_or("scale", 1.0)?,
            runtime: runtime.clone(),
        })
    }

    fn output_width(node: &Inference, runtime: &ModelRuntime) -> Option<i64> {
        let weight = runtime.weights.linear(&node.text("weight")?).ok()?;
        Some(weight.k() as i64)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let (ids, _) = call.integers(0)?;
        let out = call.output(0, ids.len(), self.weight.k())?;
        embedding(&self.weight, ids, self.scale, out, &self.runtime.pool)
            .map_err(|error| Failure::new(Code::StepFailed, error))
    }
}
