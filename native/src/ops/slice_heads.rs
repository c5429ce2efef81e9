//! `SliceHeads`: x `[T, numHeads · G]` → `[T, numHeads · width]`, columns `offset … offset + width` of each group of G.

use std::sync::Arc;

use ingot_kernels::slice_heads;

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, required};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct SliceHeads {
    runtime: Arc<ModelRuntime>,
    num_heads: usize,
    offset: usize,
    width: usize,
}

impl SliceHeads {
    /// G of an input this wide, when the columns lie within it.
    fn group(&self, input_width: usize) -> Result<usize, String> {
        let group = input_width / self.num_heads;
        if input_width.is_multiple_of(self.num_heads) && self.offset + self.width <= group {
            return Ok(group);
        }
        Err(format!(
            "input 0 is {input_width} wide, which is not {} groups with columns {} to {}",
            self.num_heads,
            self.offset,
            self.offset + self.width
        ))
    }
}

impl Operation for SliceHeads {
    const NAME: &'static str = "SliceHeads";
    const INPUTS: &'static [Element] = &[Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("numHeads", Kind::Integer),
        required("offset", Kind::Integer),
        required("width", Kind::Integer),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let slice = Self {
            runtime: runtime.clone(),
            num_heads: node.count("numHeads", 1)?,
            offset: node.count("offset", 0)?,
            width: node.count("width", 1)?,
        };
        if let Some(width) = node.static_width(0) {
            slice.group(width as usize).map_err(bad)?;
        }
        Ok(slice)
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.integer("numHeads")?
            .checked_mul(node.integer("width")?)
            .filter(|&width| width > 0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let x = call.matrix(0)?;
        let group = self
            .group(x.width)
            .map_err(|what| Failure::new(Code::StepFailed, what))?;
        let out = call.output(0, x.rows, self.num_heads * self.width)?;
        slice_heads(
            x.data,
            x.rows,
            self.num_heads,
            group,
            self.offset,
            self.width,
            out,
            &self.runtime.pool,
        );
        Ok(())
    }
}
