//! `PagedAttention`: qkv `[T, (Hq + Hkv) D + Hkv Dv]` and the step's index arrays → `[T, Hq Dv]`, or `[L, Hq Dv]` with the
//! rows that are wanted as a last input.
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
    value_dim: usize,
    scale: f32,
    window: usize,
    softcap: f32,
    sinks: Option<Arc<[f32]>>,
    rope: Rope,
    has_wanted: bool,
}

const WANTED: usize = 6;

struct Rope {
    style: RopeStyle,
    table: Option<Arc<RopeTable>>,
    offset: usize,
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
    const OPTIONAL_INPUTS: &'static [Element] = &[Element::I32]; // rows that attend; all where it is absent
    const ROWS_FROM: &'static [usize] = &[0, WANTED];
    const ATTRIBUTES: &'static [Attribute] = &[
        required("layer", Kind::Integer),
        required("numHeads", Kind::Integer),
        required("numKvHeads", Kind::Integer),
        required("headDim", Kind::Integer),
        required("scale", Kind::Float),
        required("ropeStyle", Kind::Text),
        optional("ropeFrequencies", Kind::Text),
        optional("ropeScale", Kind::Float),
        optional("ropeOffset", Kind::Integer),
        optional("valueDim", Kind::Integer),
        optional("window", Kind::Integer),
        optional("softcap", Kind::Float),
        optional("sinks", Kind::Text),
    ];

    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self> {
        let layer = node.count("layer", 0)?;
        let num_heads = node.count("numHeads", 1)?;
        let num_kv_heads = node.count("numKvHeads", 1)?;
        let head_dim = node.count("headDim", 1)?;
        let value_dim = match node.count_or("valueDim", 0)? {
            0 => head_dim,
            value_dim => value_dim,
        };
        let shape = runtime.kv_layers.get(layer).ok_or_else(|| {
            bad(format!(
                "layer {layer} has no KV; the model was made with {} layers",
                runtime.kv_layers.len()
            ))
        })?;
        let given = (num_kv_heads, head_dim, value_dim);
        let stored = (shape.num_kv_heads, shape.head_dim, shape.value_dim);
        if given != stored {
            return Err(bad(format!(
                "numKvHeads, headDim and valueDim are {given:?}, but the KV of layer {layer} has {stored:?}"
            )));
        }
        if num_heads % num_kv_heads != 0 {
            return Err(bad(format!(
                "numHeads {num_heads} must be a multiple of numKvHeads {num_kv_heads}"
            )));
        }
        let width = (num_heads + num_kv_heads) * head_dim + num_kv_heads * value_dim;
        let what = "(numHeads + numKvHeads) headDim + numKvHeads valueDim";
        node.expect_width(0, width, what)?;
        let scale = node.float("scale")?;
        if scale <= 0.0 {
            return Err(bad(format!(
                "attribute scale must be more than 0, got {scale}"
            )));
        }
        let softcap = node.float_or("softcap", 0.0)?;
        if softcap < 0.0 {
            return Err(bad(format!(
                "attribute softcap must be 0 or more, got {softcap}"
            )));
        }
        Ok(Self {
            runtime: runtime.clone(),
            layer,
            num_heads,
            num_kv_heads,
            head_dim,
            value_dim,
            scale,
            window: match node.count_or("window", 0)? {
                0 => usize::MAX,
                window => window,
            },
            softcap,
            sinks: read_sinks(node, runtime, num_heads)?,
            rope: read_rope(node, runtime, head_dim)?,
            has_wanted: node.num_inputs() > WANTED,
        })
    }

    fn output_width(node: &Inference, _runtime: &ModelRuntime) -> Option<i64> {
        let value_dim = node.integer("valueDim").filter(|&dim| dim > 0);
        node.integer("numHeads")?
            .checked_mul(value_dim.or_else(|| node.integer("headDim"))?)
            .filter(|&width| width > 0)
    }

    fn compute(&mut self, call: &Call) -> Outcome<()> {
        let width = (self.num_heads + self.num_kv_heads) * self.head_dim
            + self.num_kv_heads * self.value_dim;
        let qkv = call.matrix_of(0, width)?;
        let (context_lengths, _) = call.integers(4)?;
        let (block_tables, max_blocks_per_seq) = call.integers(5)?;
        let wanted = match self.has_wanted {
            true => Some(call.integers(WANTED)?.0),
            false => None,
        };
        let num_wanted = wanted.map_or(qkv.rows, <[i32]>::len);
        let out = call.output(0, num_wanted, self.num_heads * self.value_dim)?;
        let mut kv = self.runtime.kv();
        let args = AttentionArgs {
            kv: &mut kv,
            layer: self.layer,
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            value_dim: self.value_dim,
            scale: self.scale,
            window: self.window,
            softcap: self.softcap,
            sinks: self.sinks.as_deref(),
            rope_style: self.rope.style,
            rope: self.rope.table.as_deref(),
            rope_offset: self.rope.offset,
            qkv: qkv.data,
            positions: call.integers(1)?.0,
            slot_mapping: call.integers(2)?.0,
            query_starts: call.integers(3)?.0,
            context_lengths,
            block_tables,
            max_blocks_per_seq,
            num_seqs: context_lengths.len(),
            num_tokens: qkv.rows,
            wanted,
        };
        paged_attention(args, out, &mut self.runtime.scratch(), &self.runtime.pool)
            .map_err(|error| Failure::new(Code::StepFailed, error))
    }
}

fn read_sinks(
    node: &Node,
    runtime: &ModelRuntime,
    num_heads: usize,
) -> Outcome<Option<Arc<[f32]>>> {
    let Some(name) = node.optional_text("sinks").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let sinks = runtime.weights.vector(&name)?;
    if sinks.len() != num_heads {
        return Err(bad(format!(
            "sinks \"{name}\" are {} numbers, but there are {num_heads} heads",
            sinks.len()
        )));
    }
    Ok(Some(sinks))
}

fn read_rope(node: &Node, runtime: &ModelRuntime, head_dim: usize) -> Outcome<Rope> {
    let scale = node.float_or("ropeScale", 1.0)?;
    let offset = node.count_or("ropeOffset", 0)?;
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
            None => Ok(Rope {
                style,
                table: None,
                offset,
            }),
            Some(_) => Err(bad("ropeFrequencies needs a ropeStyle".to_owned())),
        };
    }
    let name = frequencies.ok_or_else(|| bad("attribute ropeFrequencies is missing".to_owned()))?;
    let rotary_dim = 2 * runtime.weights.vector(&name)?.len();
    if offset + rotary_dim > head_dim {
        return Err(bad(format!(
            "ropeFrequencies \"{name}\" rotates {rotary_dim} numbers from {offset} on, but headDim is {head_dim}"
        )));
    }
    Ok(Rope {
        style,
        table: Some(runtime.rope(&name, scale)?),
        offset,
    })
}
