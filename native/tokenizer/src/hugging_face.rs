//! Hugging Face's `tokenizers` crate, with every choice that could make a text give other ids taken away (T2).
//!
//! Owns one tokenizer. The pre-tokenizer is ours where the file has regular expressions ([`crate::cutting`]).

use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{DecoderWrapper, Model, TokenizerImpl};

use crate::byte_steps::ByteSteps;
use crate::cutting::Cutting;
use crate::guard::text_of;

type Inner =
    TokenizerImpl<ModelWrapper, NormalizerWrapper, Cutting, PostProcessorWrapper, DecoderWrapper>;

/// WordPiece tries every end of a word at every start, so its cost grows with the cube of this. Files in use say 100.
const MAX_WORD_PIECE_CHARS: usize = 1_000;

pub struct HuggingFace {
    inner: Inner,
    steps: ByteSteps,
    vocab_size: u32,
}

impl HuggingFace {
    pub fn from_json(json: &str) -> Result<Self, String> {
        let mut inner: Inner = serde_json::from_str(json).map_err(text_of)?;
        inner.with_truncation(None).map_err(text_of)?;
        inner.with_padding(None);
        match inner.get_model() {
            ModelWrapper::BPE(bpe) if bpe.dropout.is_some() => {
                let mut steady = bpe.clone();
                steady.dropout = None;
                inner.with_model(ModelWrapper::BPE(steady));
            }
            ModelWrapper::WordPiece(model)
                if model.max_input_chars_per_word > MAX_WORD_PIECE_CHARS =>
            {
                return Err(format!(
                    "max_input_chars_per_word is {}, more than {MAX_WORD_PIECE_CHARS}",
                    model.max_input_chars_per_word
                ));
            }
            _ => {}
        }
        let vocab_size = match inner.get_vocab(true).into_values().max() {
            Some(highest) if highest < i32::MAX as u32 => highest + 1,
            Some(highest) => {
                return Err(format!("token id {highest} is outside 0…{}", i32::MAX - 1));
            }
            None => return Err("the vocabulary is empty".to_owned()),
        };
        let steps = ByteSteps::of(inner.get_decoder())?;
        Ok(Self {
            inner,
            steps,
            vocab_size,
        })
    }

    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<i32>, String> {
        // `encode_fast` keeps no offsets, which nobody here reads.
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(text_of)?;
        // Below 2^31 by the check in `from_json`.
        Ok(encoding.get_ids().iter().map(|&id| id as i32).collect())
    }

    /// Cost: O(token length), one lookup.
    pub fn token_bytes(&self, id: u32, is_first: bool) -> Result<Vec<u8>, String> {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        if let Some(added) = added.get(&id) {
            return self.steps.added_bytes(&added.content, is_first);
        }
        match self.inner.get_model().id_to_token(id) {
            Some(token) => self.steps.bytes(token, is_first),
            None => Ok(Vec::new()),
        }
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&id).is_some_and(|token| token.special)
    }
}
