//! `ConcatHeads`: a `[T, numHeads · A]`, b `[T, numHeads · B]` → `[T, numHeads · (A + B)]`, joined head by head.

use std::sync::Arc;

use ingot_kernels::concat_heads;

use super::call::{Call, Matrix, same_rows};
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, required};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct ConcatHeads {
    runtime: Arc<ModelRuntime>,
    num_heads: usize,
}

impl Operation for ConcatHeads {
    const NAME: &'static str = "ConcatHeads";
    const INPUTS: &'static [Element] = &[Element::F32, Element::F32];
    const ATTRIBUTES: &'static [Attribute] = &[required("numHeads", Kind::Integer)];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let num_heads = node.count("numHeads", 1)?;
        for input in 0..2 {
            let width = node.static_width(input).unwrap_or(0);
            if !(width as usize).is_multiple_of(num_heads) {
                return Err(bad(format!(
                    "input {input} is {width} wide, which is not {num_heads} equal heads"
                )));
            }
        }
        Ok(Self {
            runtime: runtime.clone(),
            num_heads,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.width(0)?.checked_add(node.width(1)?)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let (a, b) = (call.matrix(0)?, call.matrix(1)?);
        same_rows(&a, &b)?;
        let head_width = |matrix: &Matrix<'_>| {
            if matrix.width.is_multiple_of(self.num_heads) {
                return Ok(matrix.width / self.num_heads);
            }
            Err(Failure::new(
                Code::StepFailed,
                format_args!("an input is {} wide, not whole heads", matrix.width),
            ))
        };
        let (a_width, b_width) = (head_width(&a)?, head_width(&b)?);
        let out = call.output(0, a.rows, a.width + b.width)?;
        concat_heads(
            a.data,
            a_width,
            b.data,
            b_width,
            a.rows,
            self.num_heads,
            out,
            &self.runtime.pool,
        );
        Ok(())
    }
}
