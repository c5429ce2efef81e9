//! The process's one ONNX Runtime environment.
//!
//! Owns the loaded libonnxruntime and the gate that holds compute threads still while the process exits.
//! I1: one environment per process, because `ort` allows no second; the first path wins, another one is an error.
//! I2: no job runs on a compute thread once `exit` has begun, because libonnxruntime's own destructors run there.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::failure::{Code, Failure, Outcome};

struct Opened {
    library: PathBuf,
    environment: Environment,
}

static OPENED: OnceLock<Opened> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());
static EXIT_GATE: RwLock<()> = RwLock::new(());

/// Open `library`, or return the environment that an earlier call opened from the same file.
pub fn open(library: &str) -> Outcome<Environment> {
    let path = Path::new(library);
    let canonical = path.canonicalize().map_err(|cause| {
        failed(format!(
            "cannot find libonnxruntime at {library}: {cause}; run `npm ci` to install onnxruntime-node"
        ))
    })?;
    // Two worker threads may arrive together; `ort` would refuse the second instead of waiting for the first.
    let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(opened) = OPENED.get() {
        if opened.library == canonical {
            return Ok(opened.environment.clone());
        }
        return Err(failed(format!(
            "this process already runs on {}, so {} cannot be opened; use one libonnxruntime per process",
            opened.library.display(),
            canonical.display()
        )));
    }
    forbid_telemetry();
    // The path as given, not the canonical one: the loader must find the file that onnxruntime-node maps under its name.
    let environment = ort::init_from(path)
        .map_err(|cause| failed(format!("cannot open {library}: {cause}")))?
        .with_telemetry(false)
        .build()
        .map_err(|cause| failed(format!("cannot start ONNX Runtime of {library}: {cause}")))?;
    // Every failure reaches the caller as a rejection with the same text; a second copy on stderr helps nobody.
    environment.set_log_level(LogLevel::Fatal);
    hold_jobs_at_exit();
    Ok(OPENED
        .get_or_init(|| Opened {
            library: canonical,
            environment,
        })
        .environment
        .clone())
}

/// Linux builds of libonnxruntime start an uploader to their vendor when they are opened, before an environment could
/// forbid it. Only this variable keeps it from existing at all; nothing of a private endpoint may leave the machine.
fn forbid_telemetry() {
    // SAFETY: once, under `OPENING`, before the library is mapped. libuv takes its own lock for JavaScript's writes to
    // the environment, which do not happen while a model is made; no other thread of ours writes it.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

/// Held by a compute thread for the length of one job (I2). Blocks for ever once the process is exiting.
pub fn enter_job() -> RwLockReadGuard<'static, ()> {
    EXIT_GATE.read().unwrap_or_else(PoisonError::into_inner)
}

/// `process.exit` skips the addon's finalizers, so `exit` itself must wait for the job under way.
/// Registered after libonnxruntime was opened, it runs before that library's destructors.
fn hold_jobs_at_exit() {
    extern "C" fn close_gate() {
        std::mem::forget(EXIT_GATE.write().unwrap_or_else(PoisonError::into_inner));
    }
    unsafe extern "C" {
        fn atexit(callback: extern "C" fn()) -> std::ffi::c_int;
    }
    // SAFETY: the addon stays mapped until exit (`retain_current_module_for_unload_safety`), so the callback stays valid.
    // A refusal only loses the wait, never correctness.
    unsafe { atexit(close_gate) };
}

fn failed(message: String) -> Failure {
    Failure::new(Code::OrtLibrary, message)
}
