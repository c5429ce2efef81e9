//! The mathematics of Ingot's operators, without Node or ONNX Runtime.
//!
//! Owns the packed form of weights, the KV pool and the compute threads. Knows nothing of graphs, files or sequences'
//! lives. First law (D5): row t of every output has the same bits whatever other rows are in the call, however a prompt
//! was cut into calls, and with any number of threads. It holds because each output element is reduced in one fixed
//! order: linear layers over k ascending, attention over absolute splits of 256 positions, norms over a fixed tree.
//!
//! Every kernel is written once over `simd::Simd` and instantiated for AVX-512, AVX2 + FMA, NEON and portable code; all
//! use the same fused operations in the same order, so they agree bit for bit. Only dot products of int8 and of pairs of
//! bf16 have paths of their own: the former are exact in integers (with `vpdpbusd` on 512 bits, with `vpmaddubsw`, or
//! over `quads::Quads`, which has it on 256 bits and NEON), the latter do what two fused operations do.

// Tiles are walked by index because several arrays of registers are walked together.
#![allow(clippy::needless_range_loop)]

mod activation;
mod attention;
mod attention_ahead;
mod attention_bf16;
mod attention_check;
mod attention_float;
mod attention_int8;
mod attention_join;
mod attention_pieces;
mod attention_scores;
mod attention_softmax;
mod attention_store;
mod attention_tile;
mod attention_values;
mod attention_view;
mod cpu;
mod elementwise;
mod error;
mod format;
mod format_iq;
mod format_k;
mod format_legacy;
mod gated_mlp;
mod gated_mlp_fused;
mod gated_mlp_rooms;
mod gptq;
mod grouped;
mod grouped_pack;
mod head_linear;
mod heads;
mod kv_blocks;
mod kv_pool;
mod layer_norm;
mod linear;
mod linear_ahead;
mod linear_avx2;
mod linear_bf16;
mod linear_f32;
mod linear_grouped;
mod linear_grouped_avx2;
mod linear_grouped_panel;
mod linear_grouped_quads;
mod linear_grouped_vnni;
mod linear_groups;
mod linear_inputs;
mod linear_int8;
mod linear_int8_quads;
mod linear_int8_vnni;
mod linear_planes;
mod linear_planes_avx2;
mod linear_planes_panel;
mod linear_planes_quads;
mod linear_planes_vnni;
mod linear_quads;
mod linear_vnni;
mod low_rank;
mod moe;
mod moments;
mod norm;
mod pack;
mod packed_bytes;
mod packed_linear;
mod packed_name;
mod planes;
mod planes_pack;
mod pool;
mod qk_norm;
mod quads;
mod quads_avx2;
mod quads_neon;
mod quantize;
mod quantized;
mod quantized_fields;
mod recode;
mod rope;
mod router;
mod scratch;
mod simd;
mod simd_avx512;
mod simd_neon;
mod simd_portable;
mod source;

pub use activation::{Curve, Gated, activation, gated};
pub use attention::{AttentionArgs, paged_attention};
pub use cpu::{CpuInfo, cpu, use_kernels};
pub use elementwise::{add, embedding, scale, scaled_add};
pub use error::KernelError;
pub use format::Format;
pub use gated_mlp::{AfterLayer, GatedMlp, MlpLayer, gated_mlp, gated_mlp_in_turn};
pub use gptq::{GroupQuantised, GroupQuantiser, inverse_factor};
pub use grouped::Grouped;
pub use head_linear::head_linear;
pub use heads::{concat_heads, slice_heads};
pub use kv_pool::{KvDtype, KvLayerShape, KvPool};
pub use layer_norm::layer_norm;
pub use linear::{Activations, linear};
pub use low_rank::{LowRank, LowRankParts, LowRankUse, add_low_rank};
pub use moe::{Expert, moe};
pub use moments::Moments;
pub use norm::{add_rms_norm, rms_norm};
pub use packed_bytes::SharedBytes;
pub use packed_linear::{PackedLinear, PackedShape};
pub use pool::Pool;
pub use qk_norm::{QkNorm, qk_norm};
pub use quantized::{NestedScales, Numbers, Quantized, Scales, Values};
pub use quantized_fields::{FieldOrder, Fields, Packing};
pub use recode::Recode;
pub use rope::{RopeStyle, RopeTable};
pub use router::{Router, RouterScratch, Scoring};
pub use scratch::Scratch;
pub use source::{Part, Source};
