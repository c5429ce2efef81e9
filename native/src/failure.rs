//! The one error type below the N-API surface: a code of the `NATIVE_*` table in `native/errors.ts`, and a sentence.
//!
//! Knows nothing of JavaScript; `addon/rejection.rs` turns it into an `Error` with `code`.
//! I1: a message never holds a NUL, because ONNX Runtime's statuses are C strings and `ort` panics on one.

use std::fmt;

/// Codes as JavaScript sees them; the same names lie in `native/errors.ts` and a test compares the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BadOption,
    OrtLibrary,
    BadWeight,
    BadPack,
    BadGraph,
    BadStep,
    StepFailed,
    BadSampler,
    BadBlock,
    Busy,
    State,
    Disposed,
    OutOfMemory,
    Panic,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadOption => "NATIVE_BAD_OPTION",
            Code::OrtLibrary => "NATIVE_ORT_LIBRARY",
            Code::BadWeight => "NATIVE_BAD_WEIGHT",
            Code::BadPack => "NATIVE_BAD_PACK",
            Code::BadGraph => "NATIVE_BAD_GRAPH",
            Code::BadStep => "NATIVE_BAD_STEP",
            Code::StepFailed => "NATIVE_STEP_FAILED",
            Code::BadSampler => "NATIVE_BAD_SAMPLER",
            Code::BadBlock => "NATIVE_BAD_BLOCK",
            Code::Busy => "NATIVE_BUSY",
            Code::State => "NATIVE_STATE",
            Code::Disposed => "NATIVE_DISPOSED",
            Code::OutOfMemory => "NATIVE_OUT_OF_MEMORY",
            Code::Panic => "NATIVE_PANIC",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string().replace('\0', "\u{fffd}"),
        }
    }

    /// What a `catch_unwind` caught, as a failure of `what`.
    pub fn from_panic(what: &str, payload: &(dyn std::any::Any + Send)) -> Self {
        Self::new(
            Code::Panic,
            format_args!("{what} panicked: {}", panic_text(payload)),
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The text of a panic, where it carries one.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
