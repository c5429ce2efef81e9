//! `RmsNorm`: x `[T, H]` → `[T, H]`, x / rms(x) · (weight + weightOffset).

use std::sync::Arc;

use ingot_kernels::rms_norm;

use super::call::Call;
use super::node::Node;
use super::norm::{ATTRIBUTES, Norm};
use super::operation::{Attribute, Element, Inference, Operation};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct RmsNorm {
    runtime: Arc<ModelRuntime>,
    norm: Norm,
}

impl Operation for RmsNorm {
    const NAME: &'static str = "RmsNorm";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = ATTRIBUTES;

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        Ok(Self {
            norm: Norm::read(node, runtime, 1)?,
            runtime: runtime.clone(),
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let norm = &self.norm;
        let x = call.matrix_of(0, norm.weight.len())?;
        let out = call.output(0, x.rows, x.width)?;
        rms_norm(
            x.data,
            &norm.weight,
            norm.epsilon,
            norm.weight_offset,
            x.rows,
            out,
            &self.runtime.pool,
        );
        Ok(())
    }
}
