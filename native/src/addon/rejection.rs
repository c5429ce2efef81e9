//! A `Failure` as a JavaScript `Error` with `code`, thrown or rejected. JavaScript thread only.

use std::ptr;

use napi::{Env, Error, Unknown, bindgen_prelude::FromNapiValue, sys};

use crate::failure::Failure;

/// A fresh `Error` whose `code` is the failure's code.
pub fn error_value(env: sys::napi_env, failure: &Failure) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: a live env on its own thread; the strings are copied by Node.
    unsafe {
        let code = string_value(env, failure.code.as_str());
        let message = string_value(env, &failure.message);
        sys::napi_create_error(env, code, message, &mut value);
    }
    value
}

/// The same as an error that a `#[napi]` function returns; it is thrown as it is, `code` included.
pub fn thrown(env: &Env, failure: Failure) -> Error {
    let value = error_value(env.raw(), &failure);
    // SAFETY: `value` was just made in this env.
    match unsafe { Unknown::from_napi_value(env.raw(), value) } {
        Ok(unknown) => Error::from(unknown),
        Err(error) => error,
    }
}

unsafe fn string_value(env: sys::napi_env, text: &str) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: pointer and length of one `str`.
    unsafe {
        sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &mut value)
    };
    value
}
