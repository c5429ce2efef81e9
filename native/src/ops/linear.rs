//! `Linear`: x `[R, K]` → `[R, N]`, x · weightᵀ + bias, and what a row's adapter adds.
//!
//! A node that takes over a weight's multiplication must take over its deltas too: it declares the weight, or adapters of
//! that weight are refused.

use std::sync::Arc;

use ingot_kernels::{PackedLinear, linear};

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct Linear {
    name: String,
    runtime: Arc<ModelRuntime>,
    weight: Arc<PackedLinear>, // [N, K]
    bias: Option<Arc<[f32]>>,  // [N]
}

impl Operation for Linear {
    const NAME: &'static str = "Linear";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] =
        &[required("weight", Kind::Text), optional("bias", Kind::Text)];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let name = node.text("weight")?;
        let weight = runtime.weights.linear(&name)?;
        node.expect_width(0, weight.k(), &format!("weight \"{name}\""))?;
        let bias = match node.optional_text("bias").filter(|bias| !bias.is_empty()) {
            Some(bias) => {
                let values = runtime.weights.vector(&bias)?;
                if values.len() != weight.n() {
                    return Err(bad(format!(
                        "bias \"{bias}\" has {} numbers, but weight \"{name}\" has {} rows",
                        values.len(),
                        weight.n()
                    )));
                }
                Some(values)
            }
            None => None,
        };
        runtime.adapters.declare(&name, weight.k(), weight.n());
        Ok(Self {
            name,
            runtime: runtime.clone(),
            weight,
            bias,
        })
    }

    fn output_width(node: &Inference, runtime: &ModelRuntime) -> Option<i64> {
        let weight = runtime.weights.linear(&node.text("weight")?).ok()?;
        Some(weight.n() as i64)
    }

    fn detail(&self) -> String {
        format!("{} → {}", self.weight.k(), self.weight.n())
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let x = call.matrix_of(0, self.weight.k())?;
        let out = call.output(0, x.rows, self.weight.n())?;
        self.runtime.saw(&self.name, x.data);
        let scratch = &mut self.runtime.scratch();
        let pool = &self.runtime.pool;
        let (k, n) = (self.weight.k(), self.weight.n());
        linear(
            &self.weight,
            x.data,
            x.rows,
            self.bias.as_deref(),
            self.runtime.activations,
            out,
            scratch,
            pool,
        );
        let adapters = &self.runtime.adapters;
        adapters.add(&self.name, x.data, k, out, n, scratch, pool);
        Ok(())
    }
}
