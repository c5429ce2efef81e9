//! Text to token ids and ids to bytes, for every kind of tokenizer that a language model brings. Knows neither Node nor
//! files nor chat templates.
//!
//! Invariants, cited by tests:
//! T1 Nothing panics through [`Tokenizer`]: the crate below unwraps on some malformed files, so every call into it runs
//!    under `catch_unwind`, and a panic becomes an error with its text.
//! T2 A text always gives the same ids: truncation, padding and BPE dropout of a file are switched off.
//! T3 Decoding a list of ids is decoding its tokens' bytes joined: [`Tokenizer::first_bytes`] of the first shown id,
//!    [`Tokenizer::token_bytes`] of each other one, as UTF-8 with invalid parts as U+FFFD. So a stream of single tokens
//!    shows what the whole shows.
//! T4 Work is bounded: regular expressions of a file have a limit of steps and of time, other than linear searches one of
//!    length.

mod byte_steps;
mod cutting;
mod fragments;
mod guard;
mod hugging_face;
mod merging;
mod sentence_piece;
mod tokenizer;

pub use sentence_piece::{PieceKind, Pieces, SpacePrefix};
pub use tokenizer::Tokenizer;
