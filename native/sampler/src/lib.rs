//! Draws next tokens from rows of raw logits, and reports log-probabilities. Pure Rust, no dependency.
//!
//! Owns per-slot sampling state (parameters and token counts). Does not know sequences, batches, files or Node.
//!
//! Invariants, cited by tests:
//! S1 A row's outcome depends on that row's logits, its slot's state and (seed, choice, position) alone: masses are
//!    integers, so no sum has an order, and the uniform comes from a counter-based generator ([`philox`]).
//! S2 Logits are never written; processors work on a copy.
//! S3 A row that cannot be drawn from (NaN, +inf, or nothing but -inf) fails alone, with id -1.
//! S4 "More likely" always means: higher logit, then lower id. Argmax, top-k, top-p, ranks and alternatives agree on it.
//!
//! Order: minimum-tokens mask, logit bias, repetition penalty (prompt and output), presence and frequency penalties
//! (output); then argmax when greedy, else temperature, top-k, top-p, min-p and one draw by inverse CDF in token-id order.

mod draw;
mod logprobs;
pub mod philox;
mod sampler;
mod scan;
mod select;
mod slot;
mod spec;

pub use sampler::{MAX_TOP_LOGPROBS, ParallelFor, RowInputs, RowOutputs, Sampler};
pub use spec::{SamplerError, SamplerSpec};
