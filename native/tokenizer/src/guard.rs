//! Turns panics of the crate below into errors (T1).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Run `work`; what went wrong becomes one line that says what was being done.
pub fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // `AssertUnwindSafe` is sound: a tokenizer is only read, and its internal cache is a lossy lookup table.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(format!("tokenizer could not {what}: {reason}")),
        Err(panic) => Err(format!(
            "tokenizer could not {what}: {}",
            panic_text(&*panic)
        )),
    }
}

pub fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "it panicked"
    }
}
