//! Pre-tokenizers of `tokenizer.json` that cut by regular expressions, with an end to their work (T4).
//!
//! The crate's own stop silently where an expression runs out of steps, and the rest of the text becomes one piece:
//! other ids, and nobody told. Here that is an error, and all matches of one text together have a time limit. What has no
//! regular expression stays the crate's.

use std::time::{Duration, Instant};

use fancy_regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use tokenizers::pattern::{Invert, Pattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    Offsets, PreTokenizedString, PreTokenizer, PreTokenizerWrapper, SplitDelimiterBehavior,
};

/// Of one match; about 20 ms.
const MAX_STEPS: usize = 1_000_000;
const MAX_PATTERN_BYTES: usize = 65_536;
/// Legitimate expressions take about 1 µs a byte.
const BASE_TIME: Duration = Duration::from_secs(1);
const TIME_PER_BYTE: Duration = Duration::from_micros(20);

/// Source: openai/gpt-2, `src/encoder.py`.
const GPT_2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub enum Cutting {
    Sequence(Vec<Cutting>),
    Regex {
        regex: Regex,
        behavior: SplitDelimiterBehavior,
        inverts: bool,
    },
    /// GPT-2's cutter and byte alphabet.
    ByteLevel {
        regex: Regex,
        adds_prefix_space: bool,
        alphabet: ByteLevel,
    },
    Other(PreTokenizerWrapper),
}

impl PreTokenizer for Cutting {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        let num_bytes: usize = text
            .get_splits(
                tokenizers::OffsetReferential::Normalized,
                tokenizers::OffsetType::Byte,
            )
            .iter()
            .map(|(piece, _, _)| piece.len())
            .sum();
        let most = u32::try_from(num_bytes).unwrap_or(u32::MAX);
        self.cut(text, Instant::now() + BASE_TIME + TIME_PER_BYTE * most)
    }
}

impl Cutting {
    fn cut(&self, text: &mut PreTokenizedString, deadline: Instant) -> tokenizers::Result<()> {
        match self {
            Self::Sequence(parts) => parts.iter().try_for_each(|part| part.cut(text, deadline)),
            Self::Regex {
                regex,
                behavior,
                inverts,
            } => text.split(|_, piece| {
                let pattern = Bounded { regex, deadline };
                if *inverts {
                    piece.split(Invert(pattern), *behavior)
                } else {
                    piece.split(pattern, *behavior)
                }
            }),
            Self::ByteLevel {
                regex,
                adds_prefix_space,
                alphabet,
            } => {
                text.split(|_, mut piece| {
                    if *adds_prefix_space && !piece.get().starts_with(' ') {
                        piece.prepend(" ");
                    }
                    let pattern = Bounded { regex, deadline };
                    piece.split(pattern, SplitDelimiterBehavior::Isolated)
                })?;
                alphabet.pre_tokenize(text)
            }
            Self::Other(inner) => inner.pre_tokenize(text),
        }
    }

    fn from_value(value: Value) -> Result<Self, String> {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("");
        match kind {
            "Sequence" => {
                let parts = value.get("pretokenizers").and_then(Value::as_array);
                let parts = parts.ok_or("a Sequence without pretokenizers")?;
                let parts = parts.iter().cloned().map(Self::from_value);
                Ok(Self::Sequence(parts.collect::<Result<_, _>>()?))
            }
            "Split" => match value.pointer("/pattern/Regex").and_then(Value::as_str) {
                Some(pattern) => Ok(Self::Regex {
                    regex: compile(pattern)?,
                    behavior: field(&value, "behavior")?,
                    inverts: field(&value, "invert")?,
                }),
                None => Self::other(value),
            },
            "ByteLevel" if value.get("use_regex") != Some(&Value::Bool(false)) => {
                let whole: ByteLevel = serde_json::from_value(value).map_err(|e| e.to_string())?;
                Ok(Self::ByteLevel {
                    regex: compile(GPT_2_PATTERN)?,
                    adds_prefix_space: whole.add_prefix_space,
                    alphabet: ByteLevel::new(false, whole.trim_offsets, false),
                })
            }
            _ => Self::other(value),
        }
    }

    fn other(value: Value) -> Result<Self, String> {
        serde_json::from_value(value)
            .map(Self::Other)
            .map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Cutting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn field<T: serde::de::DeserializeOwned>(value: &Value, name: &str) -> Result<T, String> {
    let found = value.get(name).cloned().unwrap_or(Value::Null);
    serde_json::from_value(found).map_err(|error| format!("{name} of a Split: {error}"))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        let got = pattern.len();
        return Err(format!(
            "a pattern of {got} bytes, more than {MAX_PATTERN_BYTES}"
        ));
    }
    RegexBuilder::new(pattern)
        .backtrack_limit(MAX_STEPS)
        .build()
        .map_err(|error| error.to_string())
}

struct Bounded<'a> {
    regex: &'a Regex,
    deadline: Instant,
}

impl Pattern for Bounded<'_> {
    fn find_matches(&self, inside: &str) -> Result<Vec<(Offsets, bool)>, Failure> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let mut pieces = Vec::new();
        let mut end = 0;
        for found in self.regex.find_iter(inside) {
            let found = found.map_err(|error| format!("cutting the text: {error}"))?;
            if Instant::now() > self.deadline {
                return Err("cutting the text took too long".into());
            }
            if end < found.start() {
                pieces.push(((end, found.start()), false));
            }
            pieces.push(((found.start(), found.end()), true));
            end = found.end();
        }
        if end < inside.len() {
            pieces.push(((end, inside.len()), false));
        }
        Ok(pieces)
    }
}
