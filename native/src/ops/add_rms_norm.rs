//! `AddRmsNorm`: x `[T, H]`, residual `[T, H]` → sum `[T, H]`, normed `[T, H]`; the sum is read once instead of twice.

use std::sync::Arc;

use ingot_kernels::add_rms_norm;

use super::call::{Call, same_rows};
use super::node::Node;
use super::norm::{ATTRIBUTES, Norm};
use super::operation::{Attribute, Element, Inference, Operation};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct AddRmsNorm {
    runtime: Arc<ModelRuntime>,
    norm: Norm,
}

impl Operation for AddRmsNorm {
    const NAME: &'static str = "AddRmsNorm";
    const INPUTS: &'static [Element] = &[Element::F32, Element::F32];
    const NUM_OUTPUTS: usize = 2;
    const ATTRIBUTES: &'static [Attribute] = ATTRIBUTES;

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        Ok(Self {
            norm: Norm::read(node, runtime, 2)?,
            runtime: runtime.clone(),
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let norm = &self.norm;
        let x = call.matrix_of(0, norm.weight.len())?;
        let residual = call.matrix_of(1, norm.weight.len())?;
        same_rows(&x, &residual)?;
        let sum = call.output(0, x.rows, x.width)?;
        let normed = call.output(1, x.rows, x.width)?;
        add_rms_norm(
            x.data,
            residual.data,
            &norm.weight,
            norm.epsilon,
            norm.weight_offset,
            x.rows,
            sum,
            normed,
            &self.runtime.pool,
        );
        Ok(())
    }
}
