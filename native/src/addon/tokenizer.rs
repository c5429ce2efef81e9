//! `NativeTokenizer` of `native/binding.ts` over the crate `ingot-tokenizer`.
//!
//! Owns immutable tokenizers, each behind an `Arc`, so calls may run at any time and on libuv's pool. Knows nothing of chat
//! templates, stop strings or where the vocabulary came from.
//!
//! I1 Nothing panics across the boundary: the crate below catches (its T1).
//! I2 Ids from JavaScript are checked before they become `u32`: NaN, negative, fractional and huge ids are unknown ids.

use std::sync::{Arc, OnceLock};

use ingot_tokenizer::{PieceKind, Pieces, SpacePrefix, Tokenizer};
use napi::bindgen_prelude::{
    AsyncTask, Env, Error, Float32Array, Int32Array, Result, Task, Uint8Array,
};
use napi_derive::napi;

/// Any thread of one JavaScript environment may call any method at any time.
#[napi(js_name = "Tokenizer")]
pub struct NativeTokenizer {
    tokenizer: Arc<Tokenizer>,
}

/// `NativePieces` of `native/binding.ts`.
#[napi(object)]
pub struct NativePieces {
    pub tokens: Vec<String>,
    pub scores: Float32Array,
    /// Values of `tokenizer.ggml.token_type`.
    pub kinds: Uint8Array,
    pub space_prefix: String,
    pub begin_id: Option<u32>,
    pub end_id: Option<u32>,
    pub unknown_id: Option<u32>,
    pub right_stripping_ids: Vec<u32>,
}

type Made = std::result::Result<Arc<Tokenizer>, String>;

/// A tokenizer that is being made on a thread of its own, which nobody has to wait for before it is needed: a vocabulary
/// takes a tenth of a second, in which a server that starts has other things to do.
#[napi(js_name = "TokenizerBuild")]
pub struct NativeTokenizerBuild {
    made: Arc<OnceLock<Made>>,
}

#[napi]
impl NativeTokenizerBuild {
    #[napi(constructor)]
    pub fn new(tokenizer_json: String) -> Result<Self> {
        Self::begin(move || Tokenizer::from_json(&tokenizer_json))
    }

    #[napi(factory)]
    pub fn from_pieces(pieces: NativePieces) -> Result<Self> {
        // JavaScript's arrays stay on its thread.
        let pieces = pieces_of(pieces).map_err(Error::from_reason)?;
        Self::begin(move || Tokenizer::from_pieces(pieces))
    }

    fn begin<F>(make: F) -> Result<Self>
    where
        F: FnOnce() -> std::result::Result<Tokenizer, String> + Send + 'static,
    {
        let made = Arc::new(OnceLock::new());
        let place = Arc::clone(&made);
        // As much stack as JavaScript's thread has: files nest.
        let thread = std::thread::Builder::new()
            .name("tokenizer".to_owned())
            .stack_size(8 << 20);
        // I1: the thread cannot end without having filled its place.
        thread
            .spawn(move || place.set(make().map(Arc::new)).is_ok())
            .map_err(|error| Error::from_reason(format!("no thread to make it on: {error}")))?;
        Ok(Self { made })
    }

    /// Waits for it.
    #[napi]
    pub fn finish(&self) -> Result<NativeTokenizer> {
        let made = self.made.wait().clone();
        let tokenizer = made.map_err(Error::from_reason)?;
        Ok(NativeTokenizer { tokenizer })
    }
}

#[napi]
impl NativeTokenizer {
    #[napi(getter)]
    pub fn vocab_size(&self) -> u32 {
        self.tokenizer.vocab_size()
    }

    #[napi]
    pub fn encode(&self, text: String, add_special_tokens: bool) -> Result<Int32Array> {
        let ids = self.tokenizer.encode(&text, add_special_tokens);
        ids.map(Int32Array::new).map_err(Error::from_reason)
    }

    #[napi(ts_return_type = "Promise<Int32Array>")]
    pub fn encode_async(&self, text: String, add_special_tokens: bool) -> AsyncTask<EncodeTask> {
        AsyncTask::new(EncodeTask {
            tokenizer: Arc::clone(&self.tokenizer),
            text,
            add_special_tokens,
        })
    }

    #[napi]
    pub fn token_bytes(&self, id: f64) -> Result<Uint8Array> {
        self.bytes_of(id, Tokenizer::token_bytes)
    }

    #[napi]
    pub fn first_bytes(&self, id: f64) -> Result<Uint8Array> {
        self.bytes_of(id, Tokenizer::first_bytes)
    }

    #[napi]
    pub fn decode(&self, ids: Int32Array, skip_special_tokens: bool) -> Result<String> {
        let known = ids.iter().filter_map(|&id| u32::try_from(id).ok());
        let known: Vec<u32> = known.collect();
        let text = self.tokenizer.decode(&known, skip_special_tokens);
        text.map_err(Error::from_reason)
    }

    #[napi]
    pub fn token_to_id(&self, token: String) -> Option<u32> {
        self.tokenizer.token_to_id(&token)
    }

    #[napi]
    pub fn is_special(&self, id: f64) -> bool {
        checked_id(id).is_some_and(|id| self.tokenizer.is_special(id))
    }
}

type ReadBytes = fn(&Tokenizer, u32) -> std::result::Result<Vec<u8>, String>;

impl NativeTokenizer {
    fn bytes_of(&self, id: f64, read: ReadBytes) -> Result<Uint8Array> {
        let bytes = match checked_id(id) {
            Some(id) => read(&self.tokenizer, id).map_err(Error::from_reason)?,
            None => Vec::new(),
        };
        Ok(Uint8Array::new(bytes))
    }
}

/// One `encodeAsync` on libuv's pool.
pub struct EncodeTask {
    tokenizer: Arc<Tokenizer>,
    text: String,
    add_special_tokens: bool,
}

impl Task for EncodeTask {
    type Output = Vec<i32>;
    type JsValue = Int32Array;

    fn compute(&mut self) -> Result<Vec<i32>> {
        let ids = self.tokenizer.encode(&self.text, self.add_special_tokens);
        ids.map_err(Error::from_reason)
    }

    fn resolve(&mut self, _env: Env, ids: Vec<i32>) -> Result<Int32Array> {
        Ok(Int32Array::new(ids))
    }
}

fn pieces_of(pieces: NativePieces) -> std::result::Result<Pieces, String> {
    let kinds = pieces.kinds.iter().map(|kind| match kind {
        2 => PieceKind::Unknown,
        3 => PieceKind::Control,
        4 => PieceKind::UserDefined,
        6 => PieceKind::Byte,
        _ => PieceKind::Normal,
    });
    let space_prefix = match pieces.space_prefix.as_str() {
        "never" => SpacePrefix::Never,
        "first" => SpacePrefix::First,
        "afterTokens" => SpacePrefix::AfterTokens,
        other => return Err(format!("spacePrefix is {other:?}")),
    };
    Ok(Pieces {
        kinds: kinds.collect(),
        tokens: pieces.tokens,
        scores: pieces.scores.to_vec(),
        space_prefix,
        begin_id: pieces.begin_id,
        end_id: pieces.end_id,
        unknown_id: pieces.unknown_id,
        right_stripping_ids: pieces.right_stripping_ids,
    })
}

fn checked_id(id: f64) -> Option<u32> {
    let is_id = id >= 0.0 && id <= f64::from(i32::MAX) && id.fract() == 0.0;
    is_id.then_some(id as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_no_ids_are_unknown() {
        for id in [f64::NAN, -1.0, 0.5, 2147483648.0, f64::INFINITY] {
            assert_eq!(checked_id(id), None);
        }
        assert_eq!(checked_id(49151.0), Some(49151));
    }
}
