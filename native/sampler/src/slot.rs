//! One slot's state: parameters in the form in which a row needs them, and the tokens seen so far.
//!
//! Token counts are kept only when a penalty reads them, as a list of the distinct tokens with an index into it: a
//! step costs O(distinct tokens), never O(vocabulary).

use std::collections::HashMap;

use crate::draw::DrawParams;
use crate::spec::SamplerSpec;

/// Temperatures below this are greedy: dividing by them would overflow f32 before it changed any outcome.
const MIN_TEMPERATURE: f64 = 1e-5;

#[derive(Clone, Copy)]
struct SeenToken {
    id: u32,
    /// Times it was drawn; 0 for a token that is only in the prompt.
    num_drawn: u32,
}

pub(crate) struct Slot {
    /// `None` = greedy.
    pub draw: Option<DrawParams>,
    pub seed: u64,
    pub choice: u32,
    presence_penalty: f32,
    frequency_penalty: f32,
    repetition_penalty: f32,
    stop_token_ids: Vec<u32>,
    min_tokens: u32,
    logit_bias: Vec<(u32, f32)>,
    num_drawn: u32,
    seen: Vec<SeenToken>,
    seen_index: HashMap<u32, u32>,
}

impl Slot {
    /// `spec` has been checked.
    pub fn new(spec: &SamplerSpec<'_>) -> Self {
        let (bias_ids, bias_values) = spec.logit_bias;
        let mut slot = Self {
            draw: (spec.temperature >= MIN_TEMPERATURE).then(|| DrawParams::new(spec)),
            seed: spec.seed,
            choice: spec.choice,
            presence_penalty: spec.presence_penalty as f32,
            frequency_penalty: spec.frequency_penalty as f32,
            repetition_penalty: spec.repetition_penalty as f32,
            stop_token_ids: spec.stop_token_ids.iter().map(|&id| id as u32).collect(),
            min_tokens: spec.min_tokens,
            logit_bias: bias_ids
                .iter()
                .map(|&id| id as u32)
                .zip(bias_values.iter().copied())
                .collect(),
            num_drawn: 0,
            seen: Vec::new(),
            seen_index: HashMap::new(),
        };
        if slot.repetition_penalty != 1.0 {
            for &id in spec.prompt_ids {
                slot.entry(id as u32);
            }
        }
        for &id in spec.output_ids {
            slot.note_drawn(id as u32);
        }
        slot
    }

    /// Count a drawn token.
    pub fn note_drawn(&mut self, id: u32) {
        self.num_drawn = self.num_drawn.saturating_add(1);
        if self.has_penalties() {
            self.entry(id).num_drawn += 1;
        }
    }

    /// Whether [`Self::process`] would change a row.
    pub fn has_processors(&self) -> bool {
        !self.logit_bias.is_empty() || !self.seen.is_empty() || self.masks_stop_tokens()
    }

    /// Apply mask, bias and penalties to a copy of a row, `[vocab]`.
    pub fn process(&self, logits: &mut [f32]) {
        if self.masks_stop_tokens() {
            for &id in &self.stop_token_ids {
                logits[id as usize] = f32::NEG_INFINITY;
            }
        }
        for &(id, bias) in &self.logit_bias {
            logits[id as usize] += bias;
        }
        for token in &self.seen {
            let logit = &mut logits[token.id as usize];
            if self.repetition_penalty != 1.0 {
                *logit = if *logit > 0.0 {
                    *logit / self.repetition_penalty
                } else {
                    *logit * self.repetition_penalty
                };
            }
            if token.num_drawn > 0 {
                *logit -= self.presence_penalty + self.frequency_penalty * token.num_drawn as f32;
            }
        }
    }

    fn masks_stop_tokens(&self) -> bool {
        self.num_drawn < self.min_tokens && !self.stop_token_ids.is_empty()
    }

    /// Whether a drawn token can change what a later row of this slot draws.
    pub fn has_memory(&self) -> bool {
        self.has_penalties() || self.masks_stop_tokens()
    }

    fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }

    fn entry(&mut self, id: u32) -> &mut SeenToken {
        let next = self.seen.len() as u32;
        let index = *self.seen_index.entry(id).or_insert(next);
        if index == next {
            self.seen.push(SeenToken { id, num_drawn: 0 });
        }
        &mut self.seen[index as usize]
    }
}
