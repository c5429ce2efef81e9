//! One tokenizer of either kind behind one set of calls. Immutable: any thread may call anything at any time.

use crate::guard::guarded;
use crate::hugging_face::HuggingFace;
use crate::sentence_piece::{Pieces, SentencePiece};

pub struct Tokenizer {
    kind: Kind,
}

enum Kind {
    HuggingFace(Box<HuggingFace>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// From the text of a `tokenizer.json`.
    pub fn from_json(json: &str) -> Result<Self, String> {
        let inner = guarded("read tokenizer.json", || HuggingFace::from_json(json))?;
        Ok(Self {
            kind: Kind::HuggingFace(Box::new(inner)),
        })
    }

    /// From a SentencePiece vocabulary with scores.
    pub fn from_pieces(pieces: Pieces) -> Result<Self, String> {
        let inner = guarded("read the vocabulary", || SentencePiece::new(pieces))?;
        Ok(Self {
            kind: Kind::SentencePiece(Box::new(inner)),
        })
    }

    /// Highest id + 1; ids may have holes.
    pub fn vocab_size(&self) -> u32 {
        match &self.kind {
            Kind::HuggingFace(inner) => inner.vocab_size(),
            Kind::SentencePiece(inner) => inner.vocab_size(),
        }
    }

    /// Ids are below 2^31. Cost: about 1 s a megabyte.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<i32>, String> {
        guarded("encode", || match &self.kind {
            Kind::HuggingFace(inner) => inner.encode(text, add_special_tokens),
            Kind::SentencePiece(inner) => Ok(inner.encode(text, add_special_tokens)),
        })
    }

    /// What the token stands for in the middle of a text; empty for an unknown id. May be a part of a character.
    pub fn token_bytes(&self, id: u32) -> Result<Vec<u8>, String> {
        guarded("read a token's bytes", || match &self.kind {
            Kind::HuggingFace(inner) => inner.token_bytes(id, false),
            Kind::SentencePiece(inner) => Ok(inner.token_bytes(id)),
        })
    }

    /// As `token_bytes`, for a token that begins a text: without the space that encoding put there.
    pub fn first_bytes(&self, id: u32) -> Result<Vec<u8>, String> {
        guarded("read a token's bytes", || match &self.kind {
            Kind::HuggingFace(inner) => inner.token_bytes(id, true),
            Kind::SentencePiece(inner) => Ok(inner.first_bytes(id)),
        })
    }

    /// T3. Unknown ids and empty tokens are left out.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, String> {
        let mut bytes = Vec::new();
        let mut is_first = true;
        for &id in ids {
            if skip_special_tokens && self.is_special(id) {
                continue;
            }
            let token = self.token_bytes(id)?;
            if token.is_empty() {
                continue;
            }
            bytes.extend(if is_first {
                self.first_bytes(id)?
            } else {
                token
            });
            is_first = false;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        match &self.kind {
            Kind::HuggingFace(inner) => inner.token_to_id(token),
            Kind::SentencePiece(inner) => inner.token_to_id(token),
        }
    }

    /// The token steers the model and is not part of an answer's text.
    pub fn is_special(&self, id: u32) -> bool {
        match &self.kind {
            Kind::HuggingFace(inner) => inner.is_special(id),
            Kind::SentencePiece(inner) => inner.is_special(id),
        }
    }
}
