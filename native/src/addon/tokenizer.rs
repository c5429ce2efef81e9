//! `NativeTokenizer` of `native/binding.ts` over Hugging Face's `tokenizers` crate: text to ids and ids to bytes.
//!
//! Owns one immutable tokenizer behind an `Arc`, so calls may run at any time and on libuv's pool. Knows nothing of chat
//! templates, stop strings or where the JSON came from.
//!
//! I1 Nothing here panics across the boundary: every call into the crate runs under `catch_unwind`, because the crate
//!    unwraps on some malformed files. A panic or an error becomes a JavaScript error with the text.
//! I2 Ids from JavaScript are checked before they become `u32`: NaN, negative, fractional and huge ids are unknown ids.
//! I3 Truncation, padding and BPE dropout of the file are switched off: a prompt is never cut, and a text always gives
//!    the same ids.
//!
//! A file's regular expressions run on `fancy-regex`, whose backtracking stack is bounded. A run of about a million
//! white-space characters exceeds it, and the rest of that text becomes one piece: other ids, the same bytes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, Env, Error, Int32Array, Result, Task, Uint8Array};
use napi_derive::napi;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::ModelWrapper;
use tokenizers::{Decoder, Model};

/// One step from a token's stored text to the bytes it stands for in the middle of a text.
enum ByteStep {
    /// GPT-2's alphabet: each character is one byte; a token with any other character is its own UTF-8.
    ByteLevel,
    /// `<0xNN>` is the byte NN.
    ByteFallback,
    /// Any other decoder, run on the token between two neighbours so that its rules for the ends do not apply.
    Text(DecoderWrapper),
}

struct Shared {
    tokenizer: tokenizers::Tokenizer,
    byte_steps: Vec<ByteStep>,
    /// The file has no decoder: whole-text decoding joins tokens by spaces.
    joins_by_space: bool,
    /// Highest id + 1; ids may have holes.
    vocab_size: u32,
}

/// Any thread of one JavaScript environment may call any method at any time.
#[napi(js_name = "Tokenizer")]
pub struct NativeTokenizer {
    shared: Arc<Shared>,
}

#[napi]
impl NativeTokenizer {
    #[napi(constructor)]
    pub fn new(tokenizer_json: String) -> Result<Self> {
        let shared = guarded("read tokenizer.json", || Shared::from_json(&tokenizer_json))?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    #[napi(getter)]
    pub fn vocab_size(&self) -> u32 {
        self.shared.vocab_size
    }

    #[napi]
    pub fn encode(&self, text: String, add_special_tokens: bool) -> Result<Int32Array> {
        self.shared
            .encode(&text, add_special_tokens)
            .map(Int32Array::new)
    }

    #[napi(ts_return_type = "Promise<Int32Array>")]
    pub fn encode_async(&self, text: String, add_special_tokens: bool) -> AsyncTask<EncodeTask> {
        AsyncTask::new(EncodeTask {
            shared: Arc::clone(&self.shared),
            text,
            add_special_tokens,
        })
    }

    #[napi]
    pub fn token_bytes(&self, id: f64) -> Result<Uint8Array> {
        let bytes = match checked_id(id) {
            Some(id) => guarded("read a token's bytes", || self.shared.token_bytes(id))?,
            None => Vec::new(),
        };
        Ok(Uint8Array::new(bytes))
    }

    #[napi]
    pub fn decode(&self, ids: Int32Array, skip_special_tokens: bool) -> Result<String> {
        let known: Vec<u32> = ids
            .iter()
            .filter_map(|&id| u32::try_from(id).ok())
            .collect();
        guarded("decode", || {
            self.shared
                .tokenizer
                .decode(&known, skip_special_tokens)
                .map_err(text_of)
        })
    }

    #[napi]
    pub fn token_to_id(&self, token: String) -> Option<u32> {
        self.shared.tokenizer.token_to_id(&token)
    }

    #[napi]
    pub fn is_special(&self, id: f64) -> bool {
        checked_id(id)
            .and_then(|id| {
                self.shared
                    .tokenizer
                    .get_added_vocabulary()
                    .get_added_tokens_decoder()
                    .get(&id)
            })
            .is_some_and(|token| token.special)
    }
}

/// One `encodeAsync` on libuv's pool.
pub struct EncodeTask {
    shared: Arc<Shared>,
    text: String,
    add_special_tokens: bool,
}

impl Task for EncodeTask {
    type Output = Vec<i32>;
    type JsValue = Int32Array;

    fn compute(&mut self) -> Result<Vec<i32>> {
        self.shared.encode(&self.text, self.add_special_tokens)
    }

    fn resolve(&mut self, _env: Env, ids: Vec<i32>) -> Result<Int32Array> {
        Ok(Int32Array::new(ids))
    }
}

impl Shared {
    fn from_json(json: &str) -> std::result::Result<Self, String> {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(json.as_bytes()).map_err(text_of)?;
        tokenizer.with_truncation(None).map_err(text_of)?;
        tokenizer.with_padding(None);
        if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
            && bpe.dropout.is_some()
        {
            let mut steady = bpe.clone();
            steady.dropout = None;
            tokenizer.with_model(steady);
        }
        let vocab_size = match tokenizer.get_vocab(true).into_values().max() {
            Some(highest) if highest < i32::MAX as u32 => highest + 1,
            Some(highest) => {
                return Err(format!("token id {highest} is outside 0…{}", i32::MAX - 1));
            }
            None => return Err("the vocabulary is empty".to_owned()),
        };
        let mut byte_steps = Vec::new();
        let mut is_fused = false;
        if let Some(decoder) = tokenizer.get_decoder() {
            push_byte_steps(decoder, &mut is_fused, &mut byte_steps);
        }
        let joins_by_space = tokenizer.get_decoder().is_none();
        Ok(Self {
            tokenizer,
            byte_steps,
            joins_by_space,
            vocab_size,
        })
    }

    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<i32>> {
        guarded("encode", || {
            // `encode_fast` keeps no offsets, which nobody here reads.
            let encoding = self
                .tokenizer
                .encode_fast(text, add_special_tokens)
                .map_err(text_of)?;
            // Below 2^31 by the check in `from_json`.
            Ok(encoding.get_ids().iter().map(|&id| id as i32).collect())
        })
    }

    /// Cost: O(token length), one lookup.
    fn token_bytes(&self, id: u32) -> std::result::Result<Vec<u8>, String> {
        if let Some(added) = self
            .tokenizer
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .get(&id)
        {
            return Ok(added.content.clone().into_bytes());
        }
        let Some(mut text) = self.tokenizer.get_model().id_to_token(id) else {
            return Ok(Vec::new());
        };
        for step in &self.byte_steps {
            match step {
                ByteStep::ByteLevel => return Ok(byte_level_bytes(&text)),
                ByteStep::ByteFallback => {
                    if let Some(byte) = fallback_byte(&text) {
                        return Ok(vec![byte]);
                    }
                }
                ByteStep::Text(decoder) => text = decode_between_neighbours(decoder, text)?,
            }
        }
        if self.joins_by_space {
            text.insert(0, ' ');
        }
        Ok(text.into_bytes())
    }
}

/// After `Fuse` a decoder sees the whole text, so a `Strip` there concerns the ends of the text and no single token.
fn push_byte_steps(decoder: &DecoderWrapper, is_fused: &mut bool, steps: &mut Vec<ByteStep>) {
    match decoder {
        DecoderWrapper::Sequence(sequence) => {
            for inner in sequence.get_decoders() {
                push_byte_steps(inner, is_fused, steps);
            }
        }
        DecoderWrapper::ByteLevel(_) => steps.push(ByteStep::ByteLevel),
        DecoderWrapper::ByteFallback(_) => steps.push(ByteStep::ByteFallback),
        DecoderWrapper::Fuse(_) => *is_fused = true,
        DecoderWrapper::Strip(_) if *is_fused => {}
        other => steps.push(ByteStep::Text(other.clone())),
    }
}

fn decode_between_neighbours(
    decoder: &DecoderWrapper,
    token: String,
) -> std::result::Result<String, String> {
    let parts = vec!["a".to_owned(), token.clone(), "b".to_owned()];
    let decoded = decoder.decode_chain(parts).map_err(text_of)?;
    // A decoder that joins or drops tokens leaves no middle to read; the token is then its own text.
    Ok(if decoded.len() == 3 {
        decoded.into_iter().nth(1).unwrap_or(token)
    } else {
        token
    })
}

fn byte_level_bytes(token: &str) -> Vec<u8> {
    let mapped: Option<Vec<u8>> = token.chars().map(byte_of_alphabet).collect();
    mapped.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The inverse of GPT-2's byte alphabet: printable Latin-1 stands for itself, the other 68 bytes, in ascending order,
/// for U+0100 … U+0143. Source: openai/gpt-2, `src/encoder.py`, `bytes_to_unicode`.
fn byte_of_alphabet(symbol: char) -> Option<u8> {
    let code = symbol as u32;
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

fn checked_id(id: f64) -> Option<u32> {
    let is_id = id >= 0.0 && id <= f64::from(i32::MAX) && id.fract() == 0.0;
    is_id.then_some(id as u32)
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Run `work`; an error or a panic becomes a JavaScript error that says what was being done (I1).
fn guarded<T>(what: &str, work: impl FnOnce() -> std::result::Result<T, String>) -> Result<T> {
    // `AssertUnwindSafe` is sound: the tokenizer is only read, and its internal cache is a lossy lookup table.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(Error::from_reason(format!(
            "tokenizer could not {what}: {reason}"
        ))),
        Err(panic) => Err(Error::from_reason(format!(
            "tokenizer could not {what}: {}",
            panic_text(&*panic)
        ))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "the tokenizer library panicked"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_a_bijection_onto_all_bytes() {
        let mut bytes: Vec<u8> = (0u32..0x200)
            .filter_map(char::from_u32)
            .filter_map(byte_of_alphabet)
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of_alphabet('Ġ'), Some(b' '));
        assert_eq!(byte_of_alphabet('Ċ'), Some(b'\n'));
    }

    #[test]
    fn byte_fallback_reads_two_hexadecimal_digits_only() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(fallback_byte("<0xfF>"), Some(255));
        for not_a_byte in ["<0x+1>", "<0x1>", "<0x123>", "<0x0A", "0x0A", "<0x€>"] {
            assert_eq!(fallback_byte(not_a_byte), None);
        }
    }

    #[test]
    fn ids_that_are_no_ids_are_unknown() {
        for id in [f64::NAN, -1.0, 0.5, 2147483648.0, f64::INFINITY] {
            assert_eq!(checked_id(id), None);
        }
        assert_eq!(checked_id(49151.0), Some(49151));
    }
}
