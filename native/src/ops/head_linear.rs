//! `HeadLinear`: x `[T, numHeads · K]` → `[T, numHeads · N]`, each head's columns times a matrix of its own.

use std::sync::Arc;

use ingot_kernels::{PackedLinear, head_linear};

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, required};
use super::weight_list::{matrices, member};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct HeadLinear {
    runtime: Arc<ModelRuntime>,
    heads: Vec<Arc<PackedLinear>>, // each [N, K]
}

impl Operation for HeadLinear {
    const NAME: &'static str = "HeadLinear";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("weight", Kind::Text),
        required("numHeads", Kind::Integer),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let heads = matrices(node, runtime, "weight", node.count("numHeads", 1)?)?;
        if heads.iter().any(|head| head.has_order()) {
            return Err(bad(
                "a head's inputs cannot be in an order of their own".to_owned()
            ));
        }
        node.expect_width(0, heads.len() * heads[0].k(), "numHeads K")?;
        Ok(Self {
            runtime: runtime.clone(),
            heads,
        })
    }

    fn output_width(node: &Inference, runtime: &ModelRuntime) -> Option<i64> {
        let first = member(&node.text("weight")?, 0);
        let rows = runtime.weights.linear(&first).ok()?.n() as i64;
        node.integer("numHeads")?
            .checked_mul(rows)
            .filter(|&width| width > 0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let (count, n, k) = (self.heads.len(), self.heads[0].n(), self.heads[0].k());
        let x = call.matrix_of(0, count * k)?;
        let out = call.output(0, x.rows, count * n)?;
        head_linear(
            &self.heads,
            x.data,
            x.rows,
            self.runtime.activations,
            out,
            &mut self.runtime.scratch(),
            &self.runtime.pool,
        );
        Ok(())
    }
}
