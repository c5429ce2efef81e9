//! What every operator has in common: how it is declared, how a node of it is read, and how ONNX Runtime calls it.
//!
//! Owns nothing. Knows no kernel. Each file beside this one is one operator of the table in `native/README.md`.
//!
//! I1: a panic never crosses into ONNX Runtime, where it would end the process: it becomes an error of the node.
//! I2: tensors are read with calls that allocate nothing (0.18 µs an operator; `ort`'s own wrappers take 0.33 µs).

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use super::call::Call;
use super::node::Node;
use crate::failure::{Outcome, panic_text};
use crate::runtime::model_runtime::ModelRuntime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    I32,
}

impl From<Element> for TensorElementType {
    fn from(element: Element) -> Self {
        match element {
            Element::F32 => Self::Float32,
            Element::I32 => Self::Int32,
        }
    }
}

/// Numbers are those of ONNX's `AttributeProto.AttributeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Float = 1,
    Integer = 2,
    Text = 3,
}

pub struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
}

pub const fn required(name: &'static str, kind: Kind) -> Attribute {
    Attribute {
        name,
        kind,
        required: true,
    }
}

pub const fn optional(name: &'static str, kind: Kind) -> Attribute {
    Attribute {
        name,
        kind,
        required: false,
    }
}

/// One operator; a value of it is one node of a session.
pub trait Operation: Send + Sized + 'static {
    const NAME: &'static str;
    const INPUTS: &'static [Element];
    /// Inputs behind those, which a node may leave out.
    const OPTIONAL_INPUTS: &'static [Element] = &[];
    const NUM_OUTPUTS: usize = 1;
    const ATTRIBUTES: &'static [Attribute];
    /// Input whose first dimension is the number of output rows; the last one of several that a node has.
    const ROWS_FROM: &'static [usize] = &[0];

    /// Read the attributes and take what the node needs from the runtime; shapes that disagree are an error here.
    fn bind(node: &Node, runtime: &Arc<ModelRuntime>) -> Outcome<Self>;

    /// Width of every output, where it can be told. Silent and cheap: ONNX Runtime asks several times for each node.
    fn output_width(node: &Inference, runtime: &ModelRuntime) -> Option<i64>;

    /// What tells nodes of one operator apart in a profile, such as a weight's shape; few different ones a model.
    fn detail(&self) -> String {
        String::new()
    }

    /// Compute one step's rows.
    fn compute(&mut self, call: &Call) -> Outcome<()>;
}

/// A node during shape inference.
pub struct Inference<'a> {
    context: &'a ShapeInferenceContext,
    inputs: Vec<ValueType>,
}

impl Inference<'_> {
    pub fn text(&self, name: &str) -> Option<String> {
        self.context.attr::<String>(name).ok()
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.context.attr::<i64>(name).ok()
    }

    /// Innermost dimension of an input, where it is known.
    pub fn width(&self, input: usize) -> Option<i64> {
        let shape = self.inputs.get(input)?.tensor_shape()?;
        shape.last().copied().filter(|&width| width >= 0)
    }

    /// First dimension of an input with its symbol, so that ONNX Runtime sees which values have one size and plans their
    /// memory ahead: without it a step of 245 nodes takes 0.15 ms instead of 0.11 (2026-11-23).
    fn rows(&self, input: usize) -> Option<(i64, String)> {
        let ValueType::Tensor {
            shape,
            dimension_symbols,
            ..
        } = self.inputs.get(input)?
        else {
            return None;
        };
        let symbol = dimension_symbols.first().cloned().unwrap_or_default();
        Some((*shape.first()?, symbol))
    }
}

/// `Operation` as ONNX Runtime sees it.
pub struct Registered<O> {
    runtime: Arc<ModelRuntime>,
    operation: std::marker::PhantomData<fn() -> O>,
}

impl<O: Operation> Registered<O> {
    pub fn new(runtime: &Arc<ModelRuntime>) -> Self {
        Self {
            runtime: runtime.clone(),
            operation: std::marker::PhantomData,
        }
    }
}

impl<O: Operation> Operator for Registered<O> {
    type Kernel<'attr> = Bound<O>;

    fn name(&self) -> &str {
        O::NAME
    }

    fn versions(&self) -> RangeInclusive<u32> {
        1..=1
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = O::INPUTS
            .iter()
            .map(|&element| OperatorInput::required(element.into()));
        let optional = O::OPTIONAL_INPUTS.iter();
        required.chain(optional.map(|&element| OperatorInput::optional(element.into())))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        (0..O::NUM_OUTPUTS).map(|_| OperatorOutput::required(TensorElementType::Float32))
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Bound<O>> {
        let node = Node::new(context, O::NAME);
        let label = node.label();
        catch_unwind(AssertUnwindSafe(|| O::bind(&node, &self.runtime)))
            .map_err(|payload| panicked(&label, &*payload))?
            .map(|operation| Bound {
                detail: operation.detail(),
                operation,
                label: label.clone(),
                runtime: self.runtime.clone(),
            })
            .map_err(|failure| ort::Error::new(format!("{label}: {}", failure.message)))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inferred = catch_unwind(AssertUnwindSafe(|| {
            let node = Inference {
                inputs: context.inputs(),
                context,
            };
            let has_input = |input: &&usize| **input < node.inputs.len();
            let rows_from = O::ROWS_FROM.iter().rfind(has_input)?;
            let (rows, symbol) = node.rows(*rows_from)?;
            let width = O::output_width(&node, &self.runtime)?;
            Some((rows, symbol, width))
        }));
        // What cannot be told here is found, with the node's name, by `create_kernel`.
        let Ok(Some((rows, symbol, width))) = inferred else {
            return Ok(());
        };
        let output = ValueType::Tensor {
            ty: TensorElementType::Float32,
            shape: Shape::from_iter([rows, width]),
            dimension_symbols: SymbolicDimensions::new([symbol, String::new()]),
        };
        for index in 0..O::NUM_OUTPUTS {
            context.set_output(index, &output)?;
        }
        Ok(())
    }
}

/// One node's kernel.
pub struct Bound<O> {
    operation: O,
    label: String,
    detail: String,
    runtime: Arc<ModelRuntime>,
}

impl<O: Operation> Kernel for Bound<O> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let call = Call::new(context);
        let operation = &mut self.operation;
        let compute = || catch_unwind(AssertUnwindSafe(|| operation.compute(&call)));
        match self.runtime.profile.time(O::NAME, &self.detail, compute) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(ort::Error::new(format!(
                "{}: {}",
                self.label, failure.message
            ))),
            Err(payload) => Err(panicked(&self.label, &*payload)),
        }
    }
}

fn panicked(label: &str, payload: &(dyn std::any::Any + Send)) -> ort::Error {
    let text = format!("{label} panicked: {}", panic_text(payload)).replace('\0', "\u{fffd}");
    ort::Error::new(text)
}
