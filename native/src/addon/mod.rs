//! N-API classes and functions: check arguments, then call down. The `#[napi]` items here are what JavaScript sees.

mod adapter_arguments;
mod arguments;
mod capabilities;
mod completion;
mod kv_blocks;
mod model;
mod quantized_arguments;
mod quantizer;
mod rejection;
mod sampler;
mod tokenizer;
mod views;
