//! Ingot's native addon: registration only. `binding.ts` is the whole surface, `README.md` the operators.

// Under `cargo test` napi registers nothing, so what only JavaScript calls looks unused.
#![cfg_attr(test, allow(dead_code))]

mod addon;
mod failure;
mod ops;
mod runtime;
