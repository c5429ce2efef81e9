//! An ONNX Runtime session over the step's buffers.
//!
//! Owns the session and the names of its inputs. Knows the shapes of `NativeBuffers`, not what is in them.
//!
//! I1: inputs and logits are tensors over the preallocated memory, at the step's real shapes: nothing is copied.
//! I2: graph inputs are a subset of the step's index arrays, and the only output is `logits`.

use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::Arc;

use ort::memory::MemoryInfo;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::sys::{ONNXTensorElementDataType as ElementType, OrtValue};
use ort::value::{Outlet, TensorElementType};
use ort::{AsPointer, ortsys};

use super::limits::Limits;
use super::model_runtime::ModelRuntime;
use super::step_buffers::StepBuffers;
use crate::failure::{Code, Failure, Outcome};
use crate::ops::{attributes, domain};

/// Counts of one step, checked by `step_inputs`.
#[derive(Clone, Copy, Debug)]
pub struct StepCounts {
    pub tokens: usize,
    pub seqs: usize,
    pub logits_rows: usize,
}

#[derive(Clone, Copy)]
enum Input {
    TokenIds,
    Positions,
    SlotMapping,
    QueryStarts,
    ContextLengths,
    BlockTables,
    LogitsRows,
}

const INPUTS: [(&str, Input); 7] = [
    ("tokenIds", Input::TokenIds),
    ("positions", Input::Positions),
    ("slotMapping", Input::SlotMapping),
    ("queryStarts", Input::QueryStarts),
    ("contextLengths", Input::ContextLengths),
    ("blockTables", Input::BlockTables),
    ("logitsRows", Input::LogitsRows),
];
const OUTPUT: &CStr = c"logits";

pub struct ModelSession {
    session: Session,
    inputs: Vec<(CString, Input)>,
    memory: MemoryInfo<'static>,
    limits: Limits,
}

impl ModelSession {
    /// Build the session. Every problem of the graph is found here and names its node.
    pub fn new(
        environment: &ort::environment::Environment,
        runtime: &Arc<ModelRuntime>,
        onnx: &[u8],
    ) -> Outcome<Self> {
        attributes::check_nodes(onnx)?;
        let session = build(environment, runtime, onnx)
            .map_err(|error| bad(format!("cannot build the session: {error}")))?;
        let inputs = session
            .inputs()
            .iter()
            .map(known_input)
            .collect::<Outcome<Vec<_>>>()?;
        check_output(session.outputs(), runtime.limits.vocab_size)?;
        Ok(Self {
            session,
            inputs,
            memory: MemoryInfo::default(),
            limits: runtime.limits,
        })
    }

    /// Compute the step's logits into `buffers.sampling.logits`.
    pub fn run(&mut self, buffers: &StepBuffers, counts: StepCounts) -> Outcome<()> {
        let mut tensors = Vec::with_capacity(self.inputs.len());
        for (_, input) in &self.inputs {
            tensors.push(self.input_tensor(*input, buffers, counts)?);
        }
        let names: Vec<_> = self.inputs.iter().map(|(name, _)| name.as_ptr()).collect();
        let values: Vec<_> = tensors.iter().map(|tensor| tensor.0.cast_const()).collect();
        let vocab_size = self.limits.vocab_size as i64;
        let logits = self.tensor(
            buffers.sampling.logits.as_ptr().cast(),
            &[counts.logits_rows as i64, vocab_size],
            ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        )?;
        let mut output = logits.0;
        // SAFETY: names and values are equally long and alive during the call; the output is a tensor of ours, which
        // ONNX Runtime fills and does not replace.
        ortsys![@ort: unsafe Run(
            self.session.ptr().cast_mut(),
            ptr::null(),
            names.as_ptr(),
            values.as_ptr(),
            values.len(),
            &OUTPUT.as_ptr(),
            1,
            &mut output
        ) as Result]
        .map_err(|error| Failure::new(Code::StepFailed, error))
    }

    fn input_tensor(
        &self,
        input: Input,
        buffers: &StepBuffers,
        counts: StepCounts,
    ) -> Outcome<OwnedValue> {
        let (tokens, seqs) = (counts.tokens as i64, counts.seqs as i64);
        let width = self.limits.max_blocks_per_seq as i64;
        let (array, shape): (_, &[i64]) = match input {
            Input::TokenIds => (&buffers.token_ids, &[tokens]),
            Input::Positions => (&buffers.positions, &[tokens]),
            Input::SlotMapping => (&buffers.slot_mapping, &[tokens]),
            Input::QueryStarts => (&buffers.query_starts, &[seqs + 1]),
            Input::ContextLengths => (&buffers.context_lengths, &[seqs]),
            Input::BlockTables => (&buffers.block_tables, &[seqs, width]),
            Input::LogitsRows => (&buffers.logits_rows, &[counts.logits_rows as i64]),
        };
        self.tensor(
            array.as_ptr().cast(),
            shape,
            ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        )
    }

    /// A tensor over memory that outlives it; both element types take four bytes.
    fn tensor(
        &self,
        data: *mut std::ffi::c_void,
        shape: &[i64],
        element: ElementType,
    ) -> Outcome<OwnedValue> {
        let bytes = shape.iter().product::<i64>() as usize * 4;
        let mut value = ptr::null_mut();
        // SAFETY: the buffers hold at least this many bytes (counts were checked against the limits) and outlive the run.
        ortsys![@ort: unsafe CreateTensorWithDataAsOrtValue(
            self.memory.ptr(),
            data,
            bytes,
            shape.as_ptr(),
            shape.len(),
            element,
            &mut value
        ) as Result]
        .map_err(|error| Failure::new(Code::StepFailed, error))?;
        Ok(OwnedValue(value))
    }
}

/// A value of ours, released with it; the memory below it is not.
struct OwnedValue(*mut OrtValue);

impl Drop for OwnedValue {
    fn drop(&mut self) {
        // SAFETY: made by `ModelSession::tensor`, released once.
        ortsys![unsafe ReleaseValue(self.0)];
    }
}

fn build(
    environment: &ort::environment::Environment,
    runtime: &Arc<ModelRuntime>,
    onnx: &[u8],
) -> ort::Result<Session> {
    let builder: SessionBuilder = Session::builder(environment)?;
    builder
        // Our own pool computes; ONNX Runtime only walks the nodes, in order, on the compute thread.
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_intra_op_spinning(false)?
        // Patterns are kept for every set of shapes ever seen: with T changing each step that is a leak in all but name.
        .with_memory_pattern(false)?
        // The graph is what we mean; there is nothing to fold.
        .with_optimization_level(GraphOptimizationLevel::Disable)?
        .with_operators(domain::make(runtime)?)?
        .commit_from_memory(onnx)
}

fn known_input(outlet: &Outlet) -> Outcome<(CString, Input)> {
    let (name, input) = INPUTS
        .iter()
        .find(|(name, _)| *name == outlet.name())
        .ok_or_else(|| {
            bad(format!(
                "graph input \"{}\" is none of {:?}",
                outlet.name(),
                INPUTS.map(|(name, _)| name)
            ))
        })?;
    let rank = if matches!(input, Input::BlockTables) {
        2
    } else {
        1
    };
    let is_fit = outlet.dtype().tensor_type() == Some(TensorElementType::Int32)
        && outlet
            .dtype()
            .tensor_shape()
            .is_some_and(|shape| shape.len() == rank);
    if !is_fit {
        return Err(bad(format!(
            "graph input \"{name}\" must be an int32 tensor of {rank} dimensions, got {}",
            outlet.dtype()
        )));
    }
    let name = CString::new(*name).map_err(|_| bad("an input name holds a NUL".to_owned()))?;
    Ok((name, *input))
}

fn check_output(outputs: &[Outlet], vocab_size: usize) -> Outcome<()> {
    let [output] = outputs else {
        return Err(bad(format!(
            "the graph must have one output, logits; it has {}",
            outputs.len()
        )));
    };
    let is_logits = output.name().as_bytes() == OUTPUT.to_bytes()
        && output.dtype().tensor_type() == Some(TensorElementType::Float32);
    let width = output.dtype().tensor_shape().and_then(|shape| {
        let &[_, width] = &shape[..] else { return None };
        Some(width)
    });
    match width {
        Some(width) if is_logits && (width < 0 || width == vocab_size as i64) => Ok(()),
        _ => Err(bad(format!(
            "the graph's output must be logits f32 [L, {vocab_size}], got {} {}",
            output.name(),
            output.dtype()
        ))),
    }
}

fn bad(message: String) -> Failure {
    Failure::new(Code::BadGraph, message)
}
