//! One call of a kernel: its input tensors as slices, its outputs as slices to fill.
//!
//! I1: a slice is made only from a tensor whose element type and shape were just read from ONNX Runtime.
//! I2: no output aliases an input, because no operator declares that it may.

use std::marker::PhantomData;

use ort::operator::ComputeContext;
use ort::sys::{ONNXTensorElementDataType as ElementType, OrtApi, OrtKernelContext, OrtStatusPtr};
use ort::{AsPointer, Error};

use crate::failure::{Code, Failure, Outcome};

pub struct Call<'a> {
    api: &'static OrtApi,
    context: *mut OrtKernelContext,
    lifetime: PhantomData<&'a ()>,
}

/// An f32 tensor `[rows, width]`.
pub struct Matrix<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub width: usize,
}

struct Tensor<'a> {
    data: *mut std::ffi::c_void,
    element: ElementType,
    shape: &'a [i64],
}

impl<'a> Call<'a> {
    pub fn new(context: &'a ComputeContext) -> Self {
        Self {
            api: ort::api(),
            context: context.ptr().cast_mut(),
            lifetime: PhantomData,
        }
    }

    /// Input `index` as `[rows, width]` f32.
    pub fn matrix(&self, index: usize) -> Outcome<Matrix<'a>> {
        let tensor = self.input(index)?;
        let &[rows, width] = tensor.shape else {
            return Err(bad_shape(index, "[rows, width]", tensor.shape));
        };
        let (rows, width) = (rows as usize, width as usize);
        expect(
            index,
            tensor.element,
            ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        )?;
        Ok(Matrix {
            // SAFETY: I1; ONNX Runtime keeps the input alive and unwritten during the call.
            data: unsafe { slice(tensor.data.cast::<f32>(), rows * width) },
            rows,
            width,
        })
    }

    /// Input `index` as `[rows, width]` f32, `width` being known.
    pub fn matrix_of(&self, index: usize, width: usize) -> Outcome<Matrix<'a>> {
        let matrix = self.matrix(index)?;
        if matrix.width == width {
            return Ok(matrix);
        }
        Err(Failure::new(
            Code::StepFailed,
            format_args!("input {index} is {} wide, expected {width}", matrix.width),
        ))
    }

    /// Input `index` as i32 numbers, whatever its rank, with its last dimension.
    pub fn integers(&self, index: usize) -> Outcome<(&'a [i32], usize)> {
        let tensor = self.input(index)?;
        expect(
            index,
            tensor.element,
            ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        )?;
        let count = tensor.shape.iter().product::<i64>() as usize;
        let last = tensor.shape.last().copied().unwrap_or(1) as usize;
        // SAFETY: I1; the caller of `step` does not write during it (`StepBuffers` I2).
        Ok((unsafe { slice(tensor.data.cast::<i32>(), count) }, last))
    }

    /// Output `index` as `[rows, width]` f32, uninitialised in the sense of holding any numbers.
    #[allow(clippy::mut_from_ref)]
    pub fn output(&self, index: usize, rows: usize, width: usize) -> Outcome<&'a mut [f32]> {
        let shape = [rows as i64, width as i64];
        let mut value = std::ptr::null_mut();
        let mut data = std::ptr::null_mut();
        // SAFETY: the context is alive during the call; `shape` outlives it.
        self.check(unsafe {
            (self.api.KernelContext_GetOutput)(self.context, index, shape.as_ptr(), 2, &mut value)
        })?;
        if value.is_null() {
            return Err(Failure::new(
                Code::StepFailed,
                format_args!("output {index} has no name in the graph"),
            ));
        }
        // SAFETY: `value` is the output tensor just made.
        self.check(unsafe { (self.api.GetTensorMutableData)(value, &mut data) })?;
        if rows * width == 0 {
            return Ok(&mut []);
        }
        // SAFETY: ONNX Runtime allocated `rows * width` floats for this shape; I2; every bit pattern is an f32.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.cast::<f32>(), rows * width) })
    }

    fn input(&self, index: usize) -> Outcome<Tensor<'a>> {
        let mut value = std::ptr::null();
        let mut data = std::ptr::null_mut();
        let mut element = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        let mut shape = std::ptr::null();
        let mut rank = 0;
        // SAFETY: the context is alive during the call; out pointers are ours. An input is never mutated through `data`.
        unsafe {
            self.check((self.api.KernelContext_GetInput)(
                self.context,
                index,
                &mut value,
            ))?;
            if value.is_null() {
                return Err(Failure::new(
                    Code::StepFailed,
                    format_args!("input {index} is missing"),
                ));
            }
            self.check((self.api.GetTensorElementTypeAndShapeDataReference)(
                value,
                &mut element,
                &mut shape,
                &mut rank,
            ))?;
            self.check((self.api.GetTensorMutableData)(value.cast_mut(), &mut data))?;
        }
        Ok(Tensor {
            data,
            element,
            // SAFETY: ONNX Runtime's own shape of a live tensor.
            shape: unsafe { slice(shape, rank) },
        })
    }

    fn check(&self, status: OrtStatusPtr) -> Outcome<()> {
        // SAFETY: a status that an API call just returned, consumed once.
        unsafe { Error::result_from_status(status) }
            .map_err(|error| Failure::new(Code::StepFailed, error))
    }
}

/// Two inputs of one width must have equally many rows.
pub fn same_rows(a: &Matrix<'_>, b: &Matrix<'_>) -> Outcome<()> {
    if a.rows == b.rows {
        return Ok(());
    }
    Err(Failure::new(
        Code::StepFailed,
        format_args!("inputs have {} and {} rows", a.rows, b.rows),
    ))
}

/// Null pointers are allowed for empty tensors.
///
/// # Safety
/// `data` points to `count` initialised elements that live and stay unwritten for `'a`.
unsafe fn slice<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data, count) }
}

fn expect(index: usize, got: ElementType, wanted: ElementType) -> Outcome<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Failure::new(
        Code::StepFailed,
        format_args!("input {index} has element type {got:?}, expected {wanted:?}"),
    ))
}

fn bad_shape(index: usize, wanted: &str, got: &[i64]) -> Failure {
    Failure::new(
        Code::StepFailed,
        format_args!("input {index} has shape {got:?}, expected {wanted}"),
    )
}
