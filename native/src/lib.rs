//! Ingot's native addon: registration only. `binding.ts` is the whole surface, `README.md` the operators.

mod addon;
mod failure;
mod ops;
mod runtime;
