//! A node while its kernel is made: attributes read strictly, and what the graph already says of its inputs.

use ort::operator::{FromKernelContext, KernelContext};
use ort::{AsPointer, ortsys};

use crate::failure::{Code, Failure, Outcome};

pub struct Node<'a, 'k> {
    context: &'a KernelContext<'k>,
    operator: &'static str,
}

impl<'a, 'k> Node<'a, 'k> {
    pub fn new(context: &'a KernelContext<'k>, operator: &'static str) -> Self {
        Self { context, operator }
    }

    /// `node "name" (Operator)`, as every error of the node starts.
    pub fn label(&self) -> String {
        let name = self.context.node_name().unwrap_or_default();
        format!("node \"{name}\" ({})", self.operator)
    }

    pub fn text(&self, name: &str) -> Outcome<String> {
        self.required(name)
    }

    /// An absent attribute is `None`; `attributes.rs` has already refused one of another type.
    pub fn optional_text(&self, name: &str) -> Option<String> {
        self.context.get::<String>(name)
    }

    /// A finite number.
    pub fn float(&self, name: &str) -> Outcome<f32> {
        finite(name, self.required(name)?)
    }

    pub fn float_or(&self, name: &str, default: f32) -> Outcome<f32> {
        finite(name, self.context.get::<f32>(name).unwrap_or(default))
    }

    /// An integer from `least` to 2^31 - 1.
    pub fn count(&self, name: &str, least: usize) -> Outcome<usize> {
        let value = self.required::<i64>(name)?;
        usize::try_from(value)
            .ok()
            .filter(|value| (least..=i32::MAX as usize).contains(value))
            .ok_or_else(|| {
                bad(format!(
                    "attribute {name} must be {least} to 2147483647, got {value}"
                ))
            })
    }

    /// An integer from 0 to 2^31 - 1, `default` when absent.
    pub fn count_or(&self, name: &str, default: usize) -> Outcome<usize> {
        match self.context.get::<i64>(name) {
            Some(_) => self.count(name, 0),
            None => Ok(default),
        }
    }

    /// Fail when the graph says that an input is not `width` wide. What it leaves open is checked at each step.
    pub fn expect_width(&self, input: usize, width: usize, what: &str) -> Outcome<()> {
        match self.static_width(input) {
            Some(got) if got != width as i64 => Err(bad(format!(
                "input {input} is {got} wide, but {what} needs {width}"
            ))),
            _ => Ok(()),
        }
    }

    /// Inputs that the node has, those that it may leave out among them.
    pub fn num_inputs(&self) -> usize {
        let mut count = 0;
        // SAFETY: the context is alive while the kernel is made.
        let counted = ortsys![@ort: unsafe KernelInfo_GetInputCount(self.context.ptr(), &mut count) as Result];
        counted.map_or(0, |()| count)
    }

    /// Innermost dimension of an input where the graph fixes it.
    pub fn static_width(&self, input: usize) -> Option<i64> {
        let mut type_info = std::ptr::null_mut();
        // SAFETY: the context is alive while the kernel is made; ONNX Runtime checks the index.
        let status = ortsys![@ort: unsafe KernelInfo_GetInputTypeInfo(self.context.ptr(), input, &mut type_info) as Result];
        if status.is_err() || type_info.is_null() {
            return None;
        }
        let width = last_dimension(type_info);
        // SAFETY: made by the call above, released once.
        ortsys![unsafe ReleaseTypeInfo(type_info)];
        width.filter(|&width| width >= 0)
    }

    fn required<T: FromKernelContext<'k>>(&self, name: &str) -> Outcome<T> {
        self.context
            .get::<T>(name)
            .ok_or_else(|| bad(format!("attribute {name} is missing")))
    }
}

fn last_dimension(type_info: *mut ort::sys::OrtTypeInfo) -> Option<i64> {
    let mut tensor = std::ptr::null();
    let mut rank = 0;
    // SAFETY: `type_info` is alive; `tensor` belongs to it.
    let cast = ortsys![@ort: unsafe CastTypeInfoToTensorInfo(type_info, &mut tensor) as Result];
    if cast.is_err() || tensor.is_null() {
        return None;
    }
    // SAFETY: `tensor` is a live tensor type.
    let counted = ortsys![@ort: unsafe GetDimensionsCount(tensor, &mut rank) as Result];
    if counted.is_err() || rank == 0 {
        return None;
    }
    let mut dimensions = vec![0i64; rank];
    // SAFETY: `dimensions` has room for `rank`.
    let filled =
        ortsys![@ort: unsafe GetDimensions(tensor, dimensions.as_mut_ptr(), rank) as Result];
    filled.ok().and_then(|()| dimensions.last().copied())
}

fn finite(name: &str, value: f32) -> Outcome<f32> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(bad(format!("attribute {name} must be finite, got {value}")))
}

pub fn bad(message: String) -> Failure {
    Failure::new(Code::BadGraph, message)
}
