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
        let bias = read_bias(node, runtime, "bias", &name, weight.n())?;
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

/// The vector that `attribute` names, one number for each of the `rows` rows of `weight`; `None` when it names none.
pub fn read_bias(
    node: &Node,
    runtime: &ModelRuntime,
    attribute: &str,
    weight: &str,
    rows: usize,
) -> Outcome<Option<Arc<[f32]>>> {
    let Some(bias) = node
        .optional_text(attribute)
        .filter(|bias| !bias.is_empty())
    else {
        return Ok(None);
    };
    let values = runtime.weights.vector(&bias)?;
    if values.len() != rows {
        return Err(bad(format!(
            "bias \"{bias}\" has {} numbers, but weight \"{weight}\" has {rows} rows",
            values.len()
        )));
    }
    Ok(Some(values))
}
