//! The calls of `NativeModel` that move whole KV blocks, between steps: within the pool, out of it and back.
//!
//! Synchronous, on the JavaScript thread: a step that overwrites the blocks must wait for them anyway. The model's I1
//! keeps a step from running meanwhile.

use ingot_kernels::{KernelError, KvPool};
use napi::bindgen_prelude::{Int32ArraySlice, Uint8ArraySlice};
use napi::{Env, Result};
use napi_derive::napi;

use super::arguments::whole;
use super::model::Model;
use super::rejection::thrown;
use crate::failure::{Code, Failure, Outcome};

#[napi]
impl Model {
    #[napi]
    pub fn kv_block_bytes(&self, env: &Env) -> Result<f64> {
        let bytes = || Ok(self.idle()?.runtime.kv().block_bytes() as f64);
        bytes().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn copy_blocks(&self, env: &Env, pairs: Int32ArraySlice<'_>) -> Result<()> {
        let (whole_pairs, rest) = pairs.as_chunks::<2>();
        let copied = || {
            if !rest.is_empty() {
                let message = "block ids to copy come in pairs of from and to, got an odd number";
                return Err(Failure::new(Code::BadBlock, message));
            }
            self.on_kv(|kv| kv.copy_blocks(whole_pairs))
        };
        copied().map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn read_block(&self, env: &Env, id: f64, mut into: Uint8ArraySlice<'_>) -> Result<()> {
        // SAFETY: the array belongs to the caller, whose thread this is; nothing else touches it during the call.
        let into = unsafe { into.as_mut() };
        self.on_kv(|kv| kv.read_block(block_id(id)?, into))
            .map_err(|failure| thrown(env, failure))
    }

    #[napi]
    pub fn write_block(&self, env: &Env, id: f64, from: Uint8ArraySlice<'_>) -> Result<()> {
        self.on_kv(|kv| kv.write_block(block_id(id)?, &from))
            .map_err(|failure| thrown(env, failure))
    }
}

impl Model {
    fn on_kv(
        &self,
        act: impl FnOnce(&mut KvPool) -> std::result::Result<(), KernelError>,
    ) -> Outcome<()> {
        act(&mut self.idle()?.runtime.kv()).map_err(|error| Failure::new(Code::BadBlock, error))
    }
}

fn block_id(id: f64) -> std::result::Result<i32, KernelError> {
    whole(Code::BadBlock, "blockId", id, i32::MAX as u64)
        .map(|id| id as i32)
        .map_err(|failure| KernelError::new(failure.message))
}
