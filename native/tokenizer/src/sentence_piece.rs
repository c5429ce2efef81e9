//! SentencePiece BPE as GGUF files carry it (`tokenizer.ggml.model` = `llama`): tokens with scores and kinds, `▁` for a
//! space, bytes as `<0xNN>`.
//!
//! Not a `tokenizer.json`, because merges that are derived from scores order equal scores by rank, where SentencePiece
//! takes the leftmost, and because special tokens are cut out longest first ([`crate::fragments`]).
//! Source: llama.cpp, `src/llama-vocab.cpp`.

use std::collections::HashMap;

use crate::byte_steps::fallback_byte;
use crate::fragments::{Fragment, Fragments};
use crate::merging::{PieceLookup, merge};

/// What `tokenizer.ggml.token_type` says of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceKind {
    /// Also unused and undefined ones.
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte,
}

/// Where a text gets a space that it does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpacePrefix {
    Never,
    /// At the very beginning of a text: SentencePiece's dummy prefix.
    First,
    /// There, and behind each special and user-defined token: llama.cpp.
    AfterTokens,
}

pub struct Pieces {
    /// Index = id. No two are equal, none is empty.
    pub tokens: Vec<String>,
    /// As many as tokens; finite.
    pub scores: Vec<f32>,
    pub kinds: Vec<PieceKind>,
    pub space_prefix: SpacePrefix,
    pub begin_id: Option<u32>,
    pub end_id: Option<u32>,
    /// Stands for a character that is neither a piece nor written in bytes.
    pub unknown_id: Option<u32>,
    /// Tokens that take the white space behind them with them.
    pub right_stripping_ids: Vec<u32>,
}

pub struct SentencePiece {
    pieces: Pieces,
    ids: HashMap<String, u32>,
    fragments: Fragments,
    /// By byte.
    byte_ids: Vec<Option<u32>>,
    longest: usize,
}

impl PieceLookup for SentencePiece {
    fn piece(&self, text: &str) -> Option<(u32, f32)> {
        let id = *self.ids.get(text)?;
        Some((id, self.pieces.scores[id as usize]))
    }

    fn longest(&self) -> usize {
        self.longest
    }
}

impl SentencePiece {
    pub fn new(pieces: Pieces) -> Result<Self, String> {
        let ids = check(&pieces)?;
        let strips = |id: u32| pieces.right_stripping_ids.contains(&id);
        let needles = (0u32..)
            .zip(&pieces.tokens)
            .zip(&pieces.kinds)
            .filter(|(_, kind)| !matches!(kind, PieceKind::Normal | PieceKind::Byte))
            .map(|((id, text), _)| (id, text.clone(), strips(id)))
            .collect();
        let byte_ids = (0..=255u8).map(|byte| byte_id(&ids, byte)).collect();
        Ok(Self {
            fragments: Fragments::new(needles)?,
            byte_ids,
            longest: pieces.tokens.iter().map(String::len).max().unwrap_or(0),
            ids,
            pieces,
        })
    }

    pub fn vocab_size(&self) -> u32 {
        self.pieces.tokens.len() as u32
    }

    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Vec<i32> {
        let mut output = Vec::new();
        if add_special_tokens {
            output.extend(self.pieces.begin_id.map(|id| id as i32));
        }
        let mut gets_space = self.pieces.space_prefix != SpacePrefix::Never;
        for fragment in self.fragments.of(text) {
            match fragment {
                Fragment::Token(id) => {
                    output.push(id as i32);
                    gets_space = self.pieces.space_prefix == SpacePrefix::AfterTokens;
                }
                Fragment::Text(range) => {
                    let prefix = if gets_space { "▁" } else { "" };
                    let escaped = prefix.to_owned() + &text[range].replace(' ', "▁");
                    merge(&escaped, self, |id, run| self.emit(id, run, &mut output));
                    gets_space = false;
                }
            }
        }
        if add_special_tokens {
            output.extend(self.pieces.end_id.map(|id| id as i32));
        }
        output
    }

    /// A character that is no piece becomes its bytes, or unknown where the vocabulary has no bytes.
    fn emit(&self, id: Option<u32>, run: &str, output: &mut Vec<i32>) {
        if let Some(id) = id {
            output.push(id as i32);
            return;
        }
        let bytes: Option<Vec<u32>> = run
            .bytes()
            .map(|byte| self.byte_ids[usize::from(byte)])
            .collect();
        match bytes {
            Some(ids) => output.extend(ids.into_iter().map(|id| id as i32)),
            None => output.extend(self.pieces.unknown_id.map(|id| id as i32)),
        }
    }

    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.pieces.tokens.get(id as usize) else {
            return Vec::new();
        };
        match self.pieces.kinds[id as usize] {
            PieceKind::Normal => token.replace('▁', " ").into_bytes(),
            PieceKind::Byte => {
                fallback_byte(token).map_or_else(|| token.clone().into_bytes(), |byte| vec![byte])
            }
            _ => token.clone().into_bytes(),
        }
    }

    pub fn first_bytes(&self, id: u32) -> Vec<u8> {
        let mut bytes = self.token_bytes(id);
        let is_normal = self.pieces.kinds.get(id as usize) == Some(&PieceKind::Normal);
        if is_normal
            && self.pieces.space_prefix != SpacePrefix::Never
            && bytes.first() == Some(&b' ')
        {
            bytes.remove(0);
        }
        bytes
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub fn is_special(&self, id: u32) -> bool {
        let kind = self.pieces.kinds.get(id as usize);
        matches!(kind, Some(PieceKind::Control | PieceKind::Unknown))
    }
}

/// As `<0xNN>`; vocabularies without such tokens may have the byte itself as a token.
fn byte_id(ids: &HashMap<String, u32>, byte: u8) -> Option<u32> {
    let written = ids.get(&format!("<0x{byte:02X}>"));
    let own = || {
        ids.get(&char::from(byte).to_string())
            .filter(|_| byte.is_ascii())
    };
    written.or_else(own).copied()
}

fn check(pieces: &Pieces) -> Result<HashMap<String, u32>, String> {
    let num_tokens = pieces.tokens.len();
    if num_tokens == 0 || num_tokens > i32::MAX as usize {
        return Err(format!("{num_tokens} tokens"));
    }
    for (name, len) in [
        ("scores", pieces.scores.len()),
        ("kinds", pieces.kinds.len()),
    ] {
        if len != num_tokens {
            return Err(format!("{len} {name} for {num_tokens} tokens"));
        }
    }
    if let Some(score) = pieces.scores.iter().find(|score| score.is_nan()) {
        return Err(format!("a score of {score}"));
    }
    let named = [pieces.begin_id, pieces.end_id, pieces.unknown_id];
    if let Some(id) = named
        .into_iter()
        .flatten()
        .find(|&id| id as usize >= num_tokens)
    {
        return Err(format!("id {id} of {num_tokens} tokens"));
    }
    let mut ids = HashMap::with_capacity(num_tokens);
    for (id, token) in (0u32..).zip(&pieces.tokens) {
        if token.is_empty() {
            return Err(format!("an empty token {id}"));
        }
        if let Some(earlier) = ids.insert(token.clone(), id) {
            return Err(format!("the same token for ids {earlier} and {id}"));
        }
    }
    Ok(ids)
}
