//! ONNX Runtime environment and session, weights, rope tables and the compute thread; no N-API in here.

pub mod adapters;
pub mod compute_thread;
pub mod environment;
pub mod limits;
pub mod model_runtime;
pub mod mxfp4_part;
pub mod onnx_nodes;
mod pack_codec;
mod pack_file;
pub mod profile;
pub mod quantized_part;
pub mod sampling_buffers;
pub mod session;
pub mod shared_array;
pub mod step_buffers;
mod step_inputs;
mod transpose;
mod weight_files;
pub mod weight_parts;
pub mod weights;

pub use step_inputs::check_counts;
