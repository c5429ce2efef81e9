//! Promises that a compute thread settles.
//!
//! One thread-safe function serves all promises of a model: making one for each `step` would cost several times as much.
//! It keeps the event loop alive exactly while a promise is pending. Knows nothing of what the jobs do.
//!
//! I1: every promise made here is settled once, unless its environment ends first.
//! I2: after Node has closed the thread-safe function nobody calls it: its finalizer empties `handle` under the lock that
//!     every call holds. Node 20 frees it even while threads still refer to it, hence the lock.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use napi::{Env, Error, Result, Status, sys};

use super::rejection::error_value;
use crate::failure::{Failure, Outcome};

/// The model's line back to its JavaScript thread.
pub struct Completion {
    handle: Mutex<Option<Handle>>,
    /// True from the making of a promise until just before it settles. Touched on the JavaScript thread only; atomic
    /// because the whole is shared.
    busy: AtomicBool,
}

struct Handle(sys::napi_threadsafe_function);

// SAFETY: Node allows a thread-safe function to be called from any thread.
unsafe impl Send for Handle {}

/// A promise that is not settled yet; `settle` may be called from any thread.
pub struct Pending {
    completion: Arc<Completion>,
    deferred: Deferred,
}

struct Deferred(sys::napi_deferred);

// SAFETY: only carried between threads, used on the JavaScript thread alone.
unsafe impl Send for Deferred {}

struct Settled {
    pending: Pending,
    outcome: Outcome<()>,
}

impl Completion {
    /// Must be called on the JavaScript thread.
    pub fn new(env: &Env) -> Result<Arc<Self>> {
        // The callback's code must outlive a worker that was the only one to load the addon.
        napi::bindgen_prelude::retain_current_module_for_unload_safety();
        let completion = Arc::new(Self {
            handle: Mutex::new(None),
            busy: AtomicBool::new(false),
        });
        let mut name = ptr::null_mut();
        let mut handle = ptr::null_mut();
        let finalize_data = Arc::into_raw(completion.clone())
            .cast_mut()
            .cast::<c_void>();
        // SAFETY: valid env on its own thread; `finalize_data` is taken back by `finalize`, or right below on failure.
        let status = unsafe {
            let text = c"ingot";
            sys::napi_create_string_utf8(env.raw(), text.as_ptr(), 5, &mut name);
            sys::napi_create_threadsafe_function(
                env.raw(),
                ptr::null_mut(),
                ptr::null_mut(),
                name,
                0,
                1,
                finalize_data,
                Some(finalize),
                ptr::null_mut(),
                Some(settle_on_javascript_thread),
                &mut handle,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: Node did not adopt it.
            drop(unsafe { Arc::from_raw(finalize_data.cast::<Completion>()) });
            return Err(Error::new(
                Status::from(status),
                "cannot make a thread-safe function",
            ));
        }
        // SAFETY: just made, on this thread. Unreferenced until a promise is pending.
        unsafe { sys::napi_unref_threadsafe_function(env.raw(), handle) };
        *completion.lock() = Some(Handle(handle));
        Ok(completion)
    }

    /// Whether a promise is pending. JavaScript thread only.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Make a promise and what settles it. JavaScript thread only.
    pub fn begin(self: &Arc<Self>, env: &Env) -> Result<(Pending, sys::napi_value)> {
        let mut deferred = ptr::null_mut();
        let mut promise = ptr::null_mut();
        // SAFETY: valid env on its own thread.
        let status = unsafe { sys::napi_create_promise(env.raw(), &mut deferred, &mut promise) };
        if status != sys::Status::napi_ok {
            return Err(Error::new(Status::from(status), "cannot make a promise"));
        }
        if let Some(handle) = self.lock().as_ref() {
            // SAFETY: I2; on the JavaScript thread.
            unsafe { sys::napi_ref_threadsafe_function(env.raw(), handle.0) };
        }
        self.busy.store(true, Ordering::Relaxed);
        let pending = Pending {
            completion: self.clone(),
            deferred: Deferred(deferred),
        };
        Ok((pending, promise))
    }

    /// No promise will be made any more. Those already settled are still delivered.
    pub fn close(&self) {
        if let Some(handle) = self.lock().take() {
            // SAFETY: I2, and taken out so that this happens once.
            unsafe {
                sys::napi_release_threadsafe_function(
                    handle.0,
                    sys::ThreadsafeFunctionReleaseMode::release,
                )
            };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Handle>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Hand the outcome to the JavaScript thread. Dropped without a word when its environment has ended.
    pub fn settle(self, outcome: Outcome<()>) {
        let completion = self.completion.clone();
        let settled = Box::into_raw(Box::new(Settled {
            pending: self,
            outcome,
        }));
        let handle = completion.lock();
        let status = match handle.as_ref() {
            // SAFETY: I2. The queue has no bound, so this never blocks.
            Some(handle) => unsafe {
                sys::napi_call_threadsafe_function(
                    handle.0,
                    settled.cast(),
                    sys::ThreadsafeFunctionCallMode::nonblocking,
                )
            },
            None => sys::Status::napi_closing,
        };
        if status != sys::Status::napi_ok {
            // SAFETY: Node did not take it.
            drop(unsafe { Box::from_raw(settled) });
        }
    }
}

unsafe extern "C" fn finalize(_env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: the reference that `Completion::new` gave to Node, given back once.
    let completion = unsafe { Arc::from_raw(data.cast::<Completion>()) };
    completion.lock().take();
}

unsafe extern "C" fn settle_on_javascript_thread(
    env: sys::napi_env,
    _callback: sys::napi_value,
    _context: *mut c_void,
    data: *mut c_void,
) {
    // SAFETY: made by `Pending::settle`, delivered once.
    let settled = unsafe { Box::from_raw(data.cast::<Settled>()) };
    if env.is_null() {
        return; // the environment is ending: nobody is left to hear of it
    }
    let completion = &settled.pending.completion;
    completion.busy.store(false, Ordering::Relaxed);
    if let Some(handle) = completion.lock().as_ref() {
        // SAFETY: I2; on the JavaScript thread.
        unsafe { sys::napi_unref_threadsafe_function(env, handle.0) };
    }
    settle_now(env, settled.pending.deferred.0, &settled.outcome);
}

/// Resolve or reject. JavaScript thread only; `deferred` is used up.
fn settle_now(env: sys::napi_env, deferred: sys::napi_deferred, outcome: &Outcome<()>) {
    // SAFETY: a live env on its own thread, and a deferred that is settled only here.
    unsafe {
        match outcome {
            Ok(()) => {
                let mut undefined = ptr::null_mut();
                sys::napi_get_undefined(env, &mut undefined);
                sys::napi_resolve_deferred(env, deferred, undefined);
            }
            Err(failure) => {
                sys::napi_reject_deferred(env, deferred, error_value(env, failure));
            }
        }
    }
}

/// A promise that is rejected already: an argument or a state that makes the call impossible.
pub fn rejected(env: &Env, failure: &Failure) -> Result<sys::napi_value> {
    let mut deferred = ptr::null_mut();
    let mut promise = ptr::null_mut();
    // SAFETY: valid env on its own thread.
    let status = unsafe { sys::napi_create_promise(env.raw(), &mut deferred, &mut promise) };
    if status != sys::Status::napi_ok {
        return Err(Error::new(Status::from(status), "cannot make a promise"));
    }
    settle_now(env.raw(), deferred, &Err(failure.clone()));
    Ok(promise)
}
