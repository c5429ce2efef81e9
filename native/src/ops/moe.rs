//! `Moe`: x `[T, H]`, routerLogits `[T, E]` → `[T, H]`, each row through the experts that its router chose.
//!
//! Reads the router's and the experts' attributes; the kernel routes, computes and sums by ascending expert id.

use std::sync::Arc;

use ingot_kernels::{Expert, Gated, Router, Scoring, moe};

use super::call::{Call, same_rows};
use super::gated_activation::read_gated;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use super::weight_list::{matrices, vectors};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct Moe {
    runtime: Arc<ModelRuntime>,
    experts: Vec<Expert>,
    unit: Gated,
    /// Without its correction, which lives beside it.
    router: Router<'static>,
    correction: Option<Arc<[f32]>>, // [E]
}

impl Operation for Moe {
    const NAME: &'static str = "Moe";
    const INPUTS: &'static [Element] = &[Element::F32, Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("numExperts", Kind::Integer),
        required("topK", Kind::Integer),
        required("scoring", Kind::Text),
        required("normalize", Kind::Integer),
        optional("gainScale", Kind::Float),
        optional("correction", Kind::Text),
        required("numGroups", Kind::Integer),
        required("topGroups", Kind::Integer),
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
        let experts = read_experts(node, runtime)?;
        let correction = match node
            .optional_text("correction")
            .filter(|name| !name.is_empty())
        {
            Some(name) => Some(runtime.weights.vector(&name)?),
            None => None,
        };
        let router = read_router(node, experts.len())?;
        let corrected = Router {
            correction: correction.as_deref(),
            ..router
        };
        if let Some(fault) = corrected.fault() {
            return Err(bad(fault));
        }
        node.expect_width(0, experts[0].gate_up.k(), "an expert")?;
        node.expect_width(1, experts.len(), "numExperts")?;
        Ok(Self {
            runtime: runtime.clone(),
            unit: read_gated(node)?,
            experts,
            router,
            correction,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let x = call.matrix_of(0, self.experts[0].gate_up.k())?;
        let logits = call.matrix_of(1, self.experts.len())?;
        same_rows(&x, &logits)?;
        let router = Router {
            correction: self.correction.as_deref(),
            ..self.router
        };
        moe(
            &self.experts,
            self.unit,
            &router,
            x.data,
            logits.data,
            x.rows,
            self.runtime.activations,
            call.output(0, x.rows, x.width)?,
            &mut self.runtime.scratch(),
            &self.runtime.pool,
        );
        Ok(())
    }
}

fn read_router(node: &Node, num_experts: usize) -> Outcome<Router<'static>> {
    let scoring = match node.text("scoring")?.as_str() {
        "softmax" => Scoring::Softmax,
        "softmax_chosen" => Scoring::SoftmaxChosen,
        "sigmoid" => Scoring::Sigmoid,
        other => {
            return Err(bad(format!(
                "attribute scoring must be softmax, softmax_chosen or sigmoid, got {other}"
            )));
        }
    };
    let normalise = node.count("normalize", 0)?;
    if normalise > 1 {
        return Err(bad(format!(
            "attribute normalize must be 0 or 1, got {normalise}"
        )));
    }
    Ok(Router {
        num_experts,
        top_k: node.count("topK", 1)?,
        scoring,
        normalise: normalise == 1,
        scale: node.float_or("gainScale", 1.0)?,
        correction: None,
        groups: node.count("numGroups", 1)?,
        top_groups: node.count("topGroups", 1)?,
    })
}

/// Experts of one shape: down takes half of what gateUp gives, and gives what gateUp takes.
fn read_experts(node: &Node, runtime: &ModelRuntime) -> Outcome<Vec<Expert>> {
    let count = node.count("numExperts", 1)?;
    let gate_up = matrices(node, runtime, "gateUp", count)?;
    let down = matrices(node, runtime, "down", count)?;
    let (wide, width) = (gate_up[0].n(), gate_up[0].k());
    if 2 * down[0].k() != wide || down[0].n() != width {
        return Err(bad(format!(
            "gateUp is [{wide}, {width}], but down is [{}, {}]",
            down[0].n(),
            down[0].k()
        )));
    }
    let gate_up_biases = vectors(node, runtime, "gateUpBias", count, wide)?;
    let down_biases = vectors(node, runtime, "downBias", count, width)?;
    Ok(gate_up
        .into_iter()
        .zip(gate_up_biases)
        .zip(down.into_iter().zip(down_biases))
        .map(|((gate_up, gate_up_bias), (down, down_bias))| Expert {
            gate_up,
            gate_up_bias,
            down,
            down_bias,
        })
        .collect())
}
