//! Plain structs of what JavaScript passes in, checked and turned into the runtime's own types.
//!
//! Numbers arrive as doubles; every one that means a count or an id must be a whole number in range, or the call fails
//! naming the field as JavaScript spells it.

use ingot_kernels::{Activations, Format, KvDtype, KvLayerShape, Recode};
use ingot_sampler::SamplerSpec;
use napi::bindgen_prelude::{BigInt, Float32Array, Int32Array};
use napi_derive::napi;

use super::quantized_arguments::{Quantization, to_quantized};
use crate::failure::{Code, Failure, Outcome};
use crate::runtime::limits::{Limits, check_sampling};
use crate::runtime::model_runtime::RuntimeOptions;
use crate::runtime::mxfp4_part::ExponentSource;
use crate::runtime::weight_parts::PartSource;
use crate::runtime::weights::WeightSource;

pub const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

#[napi(object, object_to_js = false)]
pub struct KvLayer {
    pub num_kv_heads: f64,
    pub head_dim: f64,
    pub value_dim: Option<f64>,
}

#[napi(object, object_to_js = false)]
pub struct ModelOptions {
    pub ort_library: String,
    pub threads: f64,
    pub activations: String,
    pub kv_dtype: String,
    pub kv_layers: Vec<KvLayer>,
    pub block_size: f64,
    pub num_blocks: f64,
    pub max_num_batched_tokens: f64,
    pub max_num_seqs: f64,
    pub max_blocks_per_seq: f64,
    pub max_logits_rows: f64,
    pub vocab_size: f64,
}

#[napi(object, object_to_js = false)]
pub struct WeightPart {
    pub file: String,
    pub offset: f64,
    pub byte_length: f64,
    pub format: String,
    pub shape: Vec<f64>,
    pub layout: Option<String>,
    pub quantization: Option<Quantization>,
    pub exponents: Option<Exponents>,
    pub target: Option<WeightTarget>,
}

#[napi(object, object_to_js = false)]
pub struct Exponents {
    pub file: String,
    pub offset: f64,
    pub byte_length: f64,
}

#[napi(object, object_to_js = false)]
pub struct WeightTarget {
    pub format: String,
    pub group: Option<f64>,
}

#[napi(object, object_to_js = false)]
pub struct Weight {
    pub name: String,
    pub kind: String,
    pub parts: Option<Vec<WeightPart>>,
    pub values: Option<Float32Array>,
}

#[napi(object, object_to_js = false)]
pub struct SamplerOptions {
    pub max_num_seqs: f64,
    pub max_logits_rows: f64,
    pub vocab_size: f64,
}

#[napi(object, object_to_js = false)]
pub struct SamplerArguments {
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: f64,
    pub min_p: f64,
    pub presence_penalty: f64,
    pub frequency_penalty: f64,
    pub repetition_penalty: f64,
    pub seed: BigInt,
    pub choice: f64,
    pub stop_token_ids: Int32Array,
    pub min_tokens: f64,
    pub logit_bias_ids: Int32Array,
    pub logit_bias_values: Float32Array,
    pub prompt_ids: Int32Array,
    pub output_ids: Int32Array,
}

impl ModelOptions {
    pub fn to_runtime(&self) -> Outcome<RuntimeOptions> {
        let count = |name, value| whole(Code::BadOption, name, value, u64::from(u32::MAX));
        let limits = Limits {
            threads: count("threads", self.threads)? as usize,
            block_size: count("blockSize", self.block_size)? as usize,
            num_blocks: count("numBlocks", self.num_blocks)? as usize,
            max_tokens: count("maxNumBatchedTokens", self.max_num_batched_tokens)? as usize,
            max_seqs: count("maxNumSeqs", self.max_num_seqs)? as usize,
            max_blocks_per_seq: count("maxBlocksPerSeq", self.max_blocks_per_seq)? as usize,
            max_logits_rows: count("maxLogitsRows", self.max_logits_rows)? as usize,
            vocab_size: count("vocabSize", self.vocab_size)? as usize,
        };
        limits.check()?;
        let kv_layers = self
            .kv_layers
            .iter()
            .map(|layer| {
                Ok(KvLayerShape {
                    num_kv_heads: count("numKvHeads", layer.num_kv_heads)? as usize,
                    head_dim: count("headDim", layer.head_dim)? as usize,
                    value_dim: count("valueDim", layer.value_dim.unwrap_or(layer.head_dim))?
                        as usize,
                })
            })
            .collect::<Outcome<Vec<_>>>()?;
        Ok(RuntimeOptions {
            limits,
            activations: match self.activations.as_str() {
                "f32" => Activations::F32,
                "bf16" => Activations::Bf16,
                "int8" => Activations::Int8,
                other => return Err(one_of("activations", "f32, bf16 or int8", other)),
            },
            kv_dtype: match self.kv_dtype.as_str() {
                "f32" => KvDtype::F32,
                "bf16" => KvDtype::Bf16,
                "f16" => KvDtype::F16,
                "int8" => KvDtype::Int8,
                other => return Err(one_of("kvDtype", "f32, bf16, f16 or int8", other)),
            },
            kv_layers,
        })
    }
}

impl SamplerOptions {
    /// Sequences, logits rows and vocabulary, checked.
    pub fn sizes(&self) -> Outcome<(usize, usize, usize)> {
        let count = |name, value| whole(Code::BadOption, name, value, u64::from(u32::MAX));
        let seqs = count("maxNumSeqs", self.max_num_seqs)? as usize;
        let rows = count("maxLogitsRows", self.max_logits_rows)? as usize;
        let vocab_size = count("vocabSize", self.vocab_size)? as usize;
        check_sampling(seqs, rows, vocab_size)?;
        Ok((seqs, rows, vocab_size))
    }
}

/// All weights of one call, copied out of JavaScript.
pub fn to_sources(weights: Vec<Weight>) -> Outcome<Vec<(String, WeightSource)>> {
    weights
        .into_iter()
        .map(|weight| {
            let source = to_source(&weight).map_err(|failure| {
                Failure::new(
                    failure.code,
                    format_args!("weight \"{}\": {failure}", weight.name),
                )
            })?;
            Ok((weight.name, source))
        })
        .collect()
}

fn to_source(weight: &Weight) -> Outcome<WeightSource> {
    let bad = |message: &str| Failure::new(Code::BadWeight, message);
    match (weight.kind.as_str(), &weight.parts, &weight.values) {
        ("linear", Some(parts), None) => Ok(WeightSource::Linear(to_parts(parts)?)),
        ("vector", Some(parts), None) => Ok(WeightSource::Vector(to_parts(parts)?)),
        ("constant", None, Some(values)) => Ok(WeightSource::Constant(values.to_vec())),
        ("linear" | "vector", ..) => Err(bad("a linear or a vector takes parts, and no values")),
        ("constant", ..) => Err(bad("a constant takes values, and no parts")),
        (other, ..) => Err(bad(&format!(
            "kind must be linear, vector or constant, got {other}"
        ))),
    }
}

fn to_parts(parts: &[WeightPart]) -> Outcome<Vec<PartSource>> {
    let integer = |name, value| whole(Code::BadWeight, name, value, MAX_SAFE_INTEGER as u64);
    parts
        .iter()
        .map(|part| {
            Ok(PartSource {
                file: part.file.clone(),
                offset: integer("offset", part.offset)?,
                bytes: integer("byteLength", part.byte_length)?,
                format: part.format.clone(),
                shape: part
                    .shape
                    .iter()
                    .map(|&extent| integer("shape", extent))
                    .collect::<Outcome<Vec<_>>>()?,
                is_transposed: match part.layout.as_deref() {
                    None | Some("rows") => false,
                    Some("columns") if part.shape.len() == 2 => true,
                    Some(other) => {
                        return Err(Failure::new(
                            Code::BadWeight,
                            format_args!(
                                "layout must be rows, or columns of a matrix, got {other}"
                            ),
                        ));
                    }
                },
                quantized: part.quantization.as_ref().map(to_quantized).transpose()?,
                exponents: match &part.exponents {
                    None => None,
                    Some(exponents) => Some(ExponentSource {
                        file: exponents.file.clone(),
                        offset: integer("offset", exponents.offset)?,
                        bytes: integer("byteLength", exponents.byte_length)?,
                    }),
                },
                recode: part.target.as_ref().map(to_recode).transpose()?,
            })
        })
        .collect()
}

fn to_recode(target: &WeightTarget) -> Outcome<Recode> {
    let bad = |message: String| Failure::new(Code::BadWeight, format_args!("target: {message}"));
    let group = target
        .group
        .map(|group| whole(Code::BadWeight, "target.group", group, i32::MAX as u64))
        .transpose()?
        .map(|group| group as usize);
    let format = Format::parse(&target.format)
        .ok_or_else(|| bad(format!("format {} is not supported", target.format)))?;
    Recode::new(format, group).map_err(|error| bad(error.to_string()))
}

impl SamplerArguments {
    /// Borrows the arrays; the sampler copies what it keeps.
    pub fn to_spec(&self) -> Outcome<SamplerSpec<'_>> {
        let count = |name, value| {
            whole(Code::BadSampler, name, value, u64::from(u32::MAX)).map(|value| value as u32)
        };
        let (is_negative, seed, is_lossless) = self.seed.get_u64();
        if is_negative || !is_lossless {
            return Err(Failure::new(
                Code::BadSampler,
                "seed must be an unsigned number of 64 bits",
            ));
        }
        Ok(SamplerSpec {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: count("topK", self.top_k)?,
            min_p: self.min_p,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
            seed,
            choice: count("choice", self.choice)?,
            stop_token_ids: &self.stop_token_ids,
            min_tokens: count("minTokens", self.min_tokens)?,
            logit_bias: (&self.logit_bias_ids, &self.logit_bias_values),
            prompt_ids: &self.prompt_ids,
            output_ids: &self.output_ids,
        })
    }
}

/// A whole number from 0 to `most`.
pub fn whole(code: Code, name: &str, value: f64, most: u64) -> Outcome<u64> {
    if value.fract() == 0.0 && (0.0..=most as f64).contains(&value) {
        return Ok(value as u64);
    }
    Err(Failure::new(
        code,
        format_args!("{name} must be a whole number from 0 to {most}, got {value}"),
    ))
}

fn one_of(name: &str, expected: &str, got: &str) -> Failure {
    Failure::new(
        Code::BadOption,
        format_args!("{name} must be {expected}, got {got}"),
    )
}
