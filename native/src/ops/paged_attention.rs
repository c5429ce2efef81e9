//! `PagedAttention`: qkv `[T, (Hq + 2 Hkv) D]` and the step's index arrays → `[T, Hq D]`.
//!
//! Rotates, stores K and V to their slots, then attends causally through the block tables; the kernel does all three.

use std::sync::Arc;

use ingot_kernels::{AttentionArgs, RopeStyle, RopeTable, paged_attention};

use super::call::Call;
use super::node::{Node, bad};
use super::operation::{Attribute, Element, Inference, Kind, Operation, optional, required};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::model_runtime::ModelRuntime;

pub struct PagedAttention {
    runtime: Arc<ModelRuntime>,
    layer: usize,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    scale: f32,
    rope_style: RopeStyle,
    rope: Option<Arc<RopeTable>>,
}

impl Operation for PagedAttention {
    const NAME: &'static str = "PagedAttention";
    const INPUTS: &'static [Element] = &[
        Element::F32, // qkv
        Element::I32, // positions
        Element::I32, // slotMapping
        Element::I32, // queryStarts
        Element::I32, // contextLengths
        Element::I32, // blockTables
    ];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("layer", Kind::Integer),
        required("numHeads", Kind::Integer),
        required("numKvHeads", Kind::Integer),
        required("headDim", Kind::Integer),
        required("scale", Kind::Float),
        required("ropeStyle", Kind::Text),
        optional("ropeFrequencies", Kind::Text),
        optional("ropeScale", Kind::Float),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let layer = node.count("layer", 0)?;
        let num_heads = node.count("numHeads", 1)?;
        let num_kv_heads = node.count("numKvHeads", 1)?;
        let head_dim = node.count("headDim", 1)?;
        let shape = runtime.kv_layers.get(layer).ok_or_else(|| {
            bad(format!(
                "layer {layer} has no KV; the model was made with {} layers",
                runtime.kv_layers.len()
            ))
        })?;
        if shape.num_kv_heads != num_kv_heads || shape.head_dim != head_dim {
            return Err(bad(format!(
                "numKvHeads and headDim are {num_kv_heads} and {head_dim}, but the KV of layer {layer} has {} and {}",
                shape.num_kv_heads, shape.head_dim
            )));
        }
        if num_heads % num_kv_heads != 0 {
            return Err(bad(format!(
                "numHeads {num_heads} must be a multiple of numKvHeads {num_kv_heads}"
            )));
        }
        let width = (num_heads + 2 * num_kv_heads) * head_dim;
        node.expect_width(0, width, "(numHeads + 2 numKvHeads) headDim")?;
        let (rope_style, rope) = read_rope(node, runtime, head_dim)?;
        Ok(Self {
            runtime: runtime.clone(),
            layer,
            num_heads,
            num_kv_heads,
            head_dim,
            scale: node.float("scale")?,
            rope_style,
            rope,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        node.integer("numHeads")?
            .checked_mul(node.integer("headDim")?)
            .filter(|&width| width > 0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let heads = self.num_heads + 2 * self.num_kv_heads;
        let qkv = call.matrix_of(0, heads * self.head_dim)?;
        let (context_lengths, _) = call.integers(4)?;
        let (block_tables, max_blocks_per_seq) = call.integers(5)?;
        let out = call.output(0, qkv.rows, self.num_heads * self.head_dim)?;
        let mut kv = self.runtime.kv();
        let args = AttentionArgs {
            kv: &mut kv,
            layer: self.layer,
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            scale: self.scale,
            rope_style: self.rope_style,
            rope: self.rope.as_deref(),
            qkv: qkv.data,
            positions: call.integers(1)?.0,
            slot_mapping: call.integers(2)?.0,
            query_starts: call.integers(3)?.0,
            context_lengths,
            block_tables,
            max_blocks_per_seq,
            num_seqs: context_lengths.len(),
            num_tokens: qkv.rows,
        };
        paged_attention(args, out, &mut self.runtime.scratch(), &self.runtime.pool)
            .map_err(|error| Failure::new(Code::StepFailed, error))
    }
}

fn read_rope(
    node: &Node,
    runtime: &ModelRuntime,
    head_dim: usize,
) -> Outcome<(RopeStyle, Option<Arc<RopeTable>>)> {
    let scale = node.float_or("ropeScale", 1.0)?;
    let frequencies = node
        .optional_text("ropeFrequencies")
        .filter(|name| !name.is_empty());
    let style = match node.text("ropeStyle")?.as_str() {
        "none" => RopeStyle::None,
        "half" => RopeStyle::Half,
        "interleaved" => RopeStyle::Interleaved,
        other => {
            return Err(bad(format!(
                "attribute ropeStyle must be none, half or interleaved, got {other}"
            )));
        }
    };
    if style == RopeStyle::None {
        return match frequencies {
            None => Ok((style, None)),
            Some(_) => Err(bad("ropeFrequencies needs a ropeStyle".to_owned())),
        };
    }
    let name = frequencies.ok_or_else(|| bad("attribute ropeFrequencies is missing".to_owned()))?;
    let rotary_dim = 2 * runtime.weights.vector(&name)?.len();
    if rotary_dim > head_dim {
        return Err(bad(format!(
            "ropeFrequencies \"{name}\" rotates {rotary_dim} numbers, but headDim is {head_dim}"
        )));
    }
    Ok((style, Some(runtime.rope(&name, scale)?)))
}
