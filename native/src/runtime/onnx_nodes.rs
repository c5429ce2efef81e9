//! Just enough of ONNX's protobuf to read which nodes a model has and which attributes they carry.
//!
//! ONNX Runtime does not check the attribute names of custom operators, and its kernel interface cannot list them; an
//! attribute that nobody reads would be accepted and ignored. So the names are read here, before the session is built.
//! Owns nothing. Knows no operator. Source: onnx.proto3, ModelProto.graph = 7, GraphProto.node = 1.
//!
//! I1: never reads outside the bytes, whatever they are; a message that ends early is an error.

use crate::failure::{Code, Failure, Outcome};

/// One node as the protobuf spells it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OnnxNode {
    pub name: String,
    pub operator: String,
    pub domain: String,
    pub attributes: Vec<OnnxAttribute>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct OnnxAttribute {
    pub name: String,
    /// `AttributeProto.AttributeType`: 1 float, 2 integer, 3 string.
    pub kind: u64,
}

/// The value of a field: numbers of fixed width are stepped over, because no field read here has one.
enum Field<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

/// All nodes of the model's graph, in file order. Subgraphs do not exist in our operators and are not followed.
pub fn read_nodes(model: &[u8]) -> Outcome<Vec<OnnxNode>> {
    let mut nodes = Vec::new();
    for_each_field(model, &mut |number, field| match (number, field) {
        (7, Field::Bytes(graph)) => for_each_field(graph, &mut |number, field| {
            if let (1, Field::Bytes(node)) = (number, field) {
                nodes.push(read_node(node)?);
            }
            Ok(())
        }),
        _ => Ok(()),
    })?;
    Ok(nodes)
}

fn read_node(bytes: &[u8]) -> Outcome<OnnxNode> {
    let mut node = OnnxNode::default();
    for_each_field(bytes, &mut |number, field| {
        match (number, field) {
            (3, Field::Bytes(value)) => node.name = text(value)?,
            (4, Field::Bytes(value)) => node.operator = text(value)?,
            (5, Field::Bytes(value)) => node.attributes.push(read_attribute(value)?),
            (7, Field::Bytes(value)) => node.domain = text(value)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn read_attribute(bytes: &[u8]) -> Outcome<OnnxAttribute> {
    let mut attribute = OnnxAttribute::default();
    for_each_field(bytes, &mut |number, field| {
        match (number, field) {
            (1, Field::Bytes(value)) => attribute.name = text(value)?,
            (20, Field::Number(value)) => attribute.kind = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok(attribute)
}

fn for_each_field<'a>(
    bytes: &'a [u8],
    visit: &mut dyn FnMut(u64, Field<'a>) -> Outcome<()>,
) -> Outcome<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => visit(key >> 3, Field::Number(varint(&mut rest)?))?,
            1 => drop(take(&mut rest, 8)?),
            2 => {
                let length = varint(&mut rest)?;
                visit(key >> 3, Field::Bytes(take(&mut rest, length)?))?;
            }
            5 => drop(take(&mut rest, 4)?),
            other => return Err(broken(&format!("wire type {other}"))),
        }
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Outcome<&'a [u8]> {
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length <= rest.len())
        .ok_or_else(|| broken("a field longer than its message"))?;
    let (head, tail) = rest.split_at(length);
    *rest = tail;
    Ok(head)
}

fn varint(rest: &mut &[u8]) -> Outcome<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest
            .split_first()
            .ok_or_else(|| broken("a number cut short"))?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken("a number of more than ten bytes"))
}

fn text(bytes: &[u8]) -> Outcome<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| broken("a name that is not UTF-8"))
}

fn broken(what: &str) -> Failure {
    Failure::new(
        Code::BadGraph,
        format_args!("not a serialized ONNX model: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, bytes.len() as u8];
        out.extend_from_slice(bytes);
        out
    }

    fn model() -> Vec<u8> {
        let attribute = [field(1, b"weight"), vec![0xa0, 0x01, 0x03]].concat();
        let node = [
            field(3, b"n"),
            field(4, b"Linear"),
            field(5, &attribute),
            field(7, b"ingot"),
        ]
        .concat();
        // A varint field (irVersion) before the graph must be stepped over.
        [vec![0x08, 0x0a], field(7, &field(1, &node))].concat()
    }

    #[test]
    fn names_operators_domains_and_attributes_are_read() {
        let expected = OnnxNode {
            name: "n".into(),
            operator: "Linear".into(),
            domain: "ingot".into(),
            attributes: vec![OnnxAttribute {
                name: "weight".into(),
                kind: 3,
            }],
        };
        assert_eq!(read_nodes(&model()).unwrap(), vec![expected]);
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_ends_in_a_value_or_an_error() {
        let bytes = model();
        for end in 0..bytes.len() {
            let _ = read_nodes(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let _ = read_nodes(&damaged);
            }
        }
    }
}
