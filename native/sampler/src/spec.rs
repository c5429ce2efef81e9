//! What a slot is told to do, and every way in which the sampler refuses.

use std::fmt;

/// One sequence's sampling parameters. Slices are copied by [`crate::Sampler::set`].
#[derive(Clone, Copy, Debug)]
pub struct SamplerSpec<'a> {
    /// 0 = greedy (as is anything below 1e-5); finite.
    pub temperature: f64,
    /// 0 < p ≤ 1; 1 = off.
    pub top_p: f64,
    /// 0 = off.
    pub top_k: u32,
    /// 0 ≤ p ≤ 1; 0 = off.
    pub min_p: f64,
    /// Subtracted once from each token that was drawn before.
    pub presence_penalty: f64,
    /// Subtracted as often as the token was drawn before.
    pub frequency_penalty: f64,
    /// > 0; positive logits of tokens seen before are divided by it, negative ones multiplied; 1 = off.
    pub repetition_penalty: f64,
    pub seed: u64,
    pub choice: u32,
    /// Masked until `min_tokens` tokens have been drawn (`output_ids` counts).
    pub stop_token_ids: &'a [i32],
    pub min_tokens: u32,
    /// Token ids and what is added to their logits; equally long; a repeated id adds up.
    pub logit_bias: (&'a [i32], &'a [f32]),
    pub prompt_ids: &'a [i32],
    /// Tokens drawn before, for a sequence that comes back after preemption.
    pub output_ids: &'a [i32],
}

impl Default for SamplerSpec<'_> {
    /// Greedy, nothing else switched on.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            choice: 0,
            stop_token_ids: &[],
            min_tokens: 0,
            logit_bias: (&[], &[]),
            prompt_ids: &[],
            output_ids: &[],
        }
    }
}

/// Why a call was refused. Nothing has been changed or written when one is returned.
#[derive(Clone, Debug, PartialEq)]
pub enum SamplerError {
    /// `slot` is not below the number of slots.
    SlotOutOfRange { slot: i64, max_slots: usize },
    /// A row draws from a slot that was never set, or was cleared.
    SlotNotSet { row: usize, slot: i32 },
    /// Two rows of one call draw from the same slot, whose penalties or mask need the first one's token.
    SlotUsedTwice { row: usize, slot: i32 },
    /// A token id is not in `0..vocab_size`. `what` names the field.
    TokenOutOfRange {
        what: &'static str,
        id: i32,
        vocab_size: usize,
    },
    /// A number is outside its range or not finite. `expected` says the range.
    ValueOutOfRange {
        what: &'static str,
        value: f64,
        expected: &'static str,
    },
    /// A slice has the wrong length.
    BadLength {
        what: &'static str,
        got: usize,
        expected: usize,
    },
}

impl fmt::Display for SamplerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotOutOfRange { slot, max_slots } => {
                write!(out, "sampler slot {slot} is not in 0..{max_slots}")
            }
            Self::SlotNotSet { row, slot } => {
                write!(
                    out,
                    "row {row} draws from sampler slot {slot}, which is not set"
                )
            }
            Self::SlotUsedTwice { row, slot } => {
                write!(
                    out,
                    "row {row} draws from sampler slot {slot} a second time in one step, but its penalties or minimum need the first token"
                )
            }
            Self::TokenOutOfRange {
                what,
                id,
                vocab_size,
            } => {
                write!(
                    out,
                    "{what} holds token id {id}, which is not in 0..{vocab_size}"
                )
            }
            Self::ValueOutOfRange {
                what,
                value,
                expected,
            } => {
                write!(out, "{what} is {value}, expected {expected}")
            }
            Self::BadLength {
                what,
                got,
                expected,
            } => {
                write!(out, "{what} has {got} entries, expected {expected}")
            }
        }
    }
}

impl std::error::Error for SamplerError {}

impl SamplerSpec<'_> {
    /// Check every range and every id against the vocabulary.
    pub(crate) fn check(&self, vocab_size: usize) -> Result<(), SamplerError> {
        within(
            "temperature",
            self.temperature,
            self.temperature >= 0.0,
            "a number ≥ 0",
        )?;
        within(
            "top_p",
            self.top_p,
            self.top_p > 0.0 && self.top_p <= 1.0,
            "0 < p ≤ 1",
        )?;
        within(
            "min_p",
            self.min_p,
            (0.0..=1.0).contains(&self.min_p),
            "0 ≤ p ≤ 1",
        )?;
        within(
            "presence_penalty",
            self.presence_penalty,
            true,
            "a finite number",
        )?;
        within(
            "frequency_penalty",
            self.frequency_penalty,
            true,
            "a finite number",
        )?;
        let repetition = self.repetition_penalty;
        within(
            "repetition_penalty",
            repetition,
            repetition as f32 > 0.0,
            "a number > 0",
        )?;
        let (bias_ids, bias_values) = self.logit_bias;
        if bias_ids.len() != bias_values.len() {
            return Err(SamplerError::BadLength {
                what: "logit_bias values",
                got: bias_values.len(),
                expected: bias_ids.len(),
            });
        }
        for &value in bias_values {
            within("logit_bias", f64::from(value), true, "a finite number")?;
        }
        check_ids("stop_token_ids", self.stop_token_ids, vocab_size)?;
        check_ids("logit_bias", bias_ids, vocab_size)?;
        check_ids("prompt_ids", self.prompt_ids, vocab_size)?;
        check_ids("output_ids", self.output_ids, vocab_size)
    }
}

fn within(
    what: &'static str,
    value: f64,
    in_range: bool,
    expected: &'static str,
) -> Result<(), SamplerError> {
    // The cast catches what f32 cannot hold: a penalty of 1e300 would become infinite later.
    if in_range && (value as f32).is_finite() {
        return Ok(());
    }
    Err(SamplerError::ValueOutOfRange {
        what,
        value,
        expected,
    })
}

fn check_ids(what: &'static str, ids: &[i32], vocab_size: usize) -> Result<(), SamplerError> {
    match ids.iter().find(|&&id| id < 0 || id as usize >= vocab_size) {
        None => Ok(()),
        Some(&id) => Err(SamplerError::TokenOutOfRange {
            what,
            id,
            vocab_size,
        }),
    }
}
