//! Strict reading of a graph's nodes before ONNX Runtime sees them: domain, operator, attribute names and types.
//!
//! I1: an attribute that no operator reads is an error, never ignored.

use super::operation::Attribute;
use super::{attributes_of, domain};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::onnx_nodes::{OnnxNode, read_nodes};

/// Check every node of a serialized model. The error names the node.
pub fn check_nodes(onnx: &[u8]) -> Outcome<()> {
    let nodes = read_nodes(onnx)?;
    if nodes.is_empty() {
        return Err(Failure::new(
            Code::BadGraph,
            "not a serialized ONNX model: it has no nodes",
        ));
    }
    nodes.iter().try_for_each(|node| {
        check_node(node).map_err(|what| {
            Failure::new(
                Code::BadGraph,
                format_args!("node \"{}\" ({}): {what}", node.name, node.operator),
            )
        })
    })
}

fn check_node(node: &OnnxNode) -> Result<(), String> {
    if node.domain != domain::NAME {
        return Err(format!(
            "domain must be {}, got \"{}\"",
            domain::NAME,
            node.domain
        ));
    }
    let known = attributes_of(&node.operator).ok_or("no such operator")?;
    for (index, attribute) in node.attributes.iter().enumerate() {
        let name = attribute.name.as_str();
        let Some(expected) = known.iter().find(|known| known.name == name) else {
            return Err(format!(
                "attribute {name} is unknown; it takes {}",
                listed(known)
            ));
        };
        if attribute.kind != expected.kind as u64 {
            return Err(format!(
                "attribute {name} must be of type {:?}",
                expected.kind
            ));
        }
        if node.attributes[..index]
            .iter()
            .any(|earlier| earlier.name == name)
        {
            return Err(format!("attribute {name} is given twice"));
        }
    }
    let is_given = |name: &str| node.attributes.iter().any(|given| given.name == name);
    match known
        .iter()
        .find(|known| known.required && !is_given(known.name))
    {
        Some(missing) => Err(format!("attribute {} is missing", missing.name)),
        None => Ok(()),
    }
}

fn listed(known: &[Attribute]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = known.iter().map(|known| known.name).collect();
    names.join(", ")
}
