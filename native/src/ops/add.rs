//! `Add`: a, b `[T, H]` → `[T, H]`, a · scale + b.

use std::sync::Arc;

use ingot_kernels::{add, scaled_add};

use super::call::{Call, same_rows};
use super::node::Node;
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

pub struct Add {
    scale: f32,
}

impl Operation for Add {
    const NAME: &'static str = "Add";
    const INPUTS: &'static [Element] = &[Element::F32, Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[optional("scale", Kind::Float)];

    fn bind(node: &Node, _runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        if let Some(width) = node.static_width(0) {
            node.expect_width(1, width as usize, "input 0")?;
        }
        Ok(Self {
            scale: node.float_or("scale", 1.0)?,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let a = call.matrix(0)?;
        let b = call.matrix_of(1, a.width)?;
        same_rows(&a, &b)?;
        let out = call.output(0, a.rows, a.width)?;
        if self.scale == 1.0 {
            add(a.data, b.data, out);
        } else {
            scaled_add(a.data, self.scale, b.data, out);
        }
        Ok(())
    }
}
