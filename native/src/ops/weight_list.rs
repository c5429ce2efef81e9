//! The weights of a family (one an expert, one a head), named by one attribute: a name with `{}` in the number's place.

use std::sync::Arc;

use ingot_kernels::PackedLinear;

use super::node::{Node, bad};
use crate::failure::Outcome;
use crate::runtime::model_runtime::ModelRuntime;

/// The name of member `index`.
pub fn member(pattern: &str, index: usize) -> String {
    pattern.replace("{}", &index.to_string())
}

/// `count` matrices of one shape, under attribute `name`.
pub fn matrices(
    node: &Node,
    runtime: &ModelRuntime,
    name: &str,
    count: usize,
) -> Outcome<Vec<Arc<PackedLinear>>> {
    let pattern = node.text(name)?;
    let mut found: Vec<Arc<PackedLinear>> = Vec::new();
    for index in 0..count {
        let weight = runtime.weights.linear(&member(&pattern, index))?;
        let shape = |weight: &PackedLinear| [weight.n(), weight.k()];
        if let Some(first) = found.first().filter(|first| shape(first) != shape(&weight)) {
            return Err(bad(format!(
                "weight \"{}\" is {:?}, but that of number 0 is {:?}",
                member(&pattern, index),
                shape(&weight),
                shape(first)
            )));
        }
        found.push(weight);
    }
    Ok(found)
}

/// `count` vectors as long as each other's matrices have rows, under attribute `name`; nothing when it is absent.
pub fn vectors(
    node: &Node,
    runtime: &ModelRuntime,
    name: &str,
    count: usize,
    len: usize,
) -> Outcome<Vec<Option<Arc<[f32]>>>> {
    let Some(pattern) = node
        .optional_text(name)
        .filter(|pattern| !pattern.is_empty())
    else {
        return Ok(vec![None; count]);
    };
    (0..count)
        .map(|index| {
            let values = runtime.weights.vector(&member(&pattern, index))?;
            if values.len() == len {
                return Ok(Some(values));
            }
            Err(bad(format!(
                "weight \"{}\" has {} numbers, but {name} needs {len}",
                member(&pattern, index),
                values.len()
            )))
        })
        .collect()
}
