//! Which experts a row goes to, and how much of each: the routers of Mixtral, Qwen, gpt-oss and DeepSeek.
//!
//! R1 A row's choice and gains depend on its own logits only (D5); equal scores go to the lower expert id.
//! R2 A row's experts are listed by ascending id, each once.
//! Sources: Mixtral, arXiv:2401.04088; groups and the correction of scores: DeepSeek-V3, arXiv:2412.19437.

use crate::simd::{LANES, Simd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scoring {
    /// Softmax over all experts, then the best.
    Softmax,
    /// The best logits, then softmax over those.
    SoftmaxChosen,
    /// Each logit's sigmoid, then the best.
    Sigmoid,
}

/// A router of logits `[rows, num_experts]`.
#[derive(Clone)]
pub struct Router<'a> {
    pub num_experts: usize,
    /// 1 … num_experts.
    pub top_k: usize,
    pub scoring: Scoring,
    /// Divide the gains by their sum.
    pub normalise: bool,
    /// Multiplies the gains last.
    pub scale: f32,
    /// Added to the scores for choosing only.
    pub correction: Option<&'a [f32]>,
    /// Equal groups of experts, of which only the `top_groups` best are chosen from; 1 and 1: no groups.
    pub groups: usize,
    pub top_groups: usize,
}

/// Working memory of `Router::route`, reused from row to row.
#[derive(Default)]
pub struct RouterScratch {
    scores: Vec<f32>,
    choice: Vec<f32>,
    group_scores: Vec<f32>,
    is_open: Vec<bool>,
}

impl Router<'_> {
    /// What keeps the numbers from fitting together, if anything does.
    pub fn fault(&self) -> Option<String> {
        let (experts, groups) = (self.num_experts, self.groups);
        let is_grouped = groups > 0 && experts.is_multiple_of(groups);
        if !is_grouped || self.top_groups == 0 || self.top_groups > groups {
            return Some(format!(
                "{} of {groups} groups of {experts} experts cannot be",
                self.top_groups
            ));
        }
        if self.top_k == 0 || self.top_k > experts / groups * self.top_groups {
            return Some(format!(
                "{} of {experts} experts in {} of {groups} groups cannot be chosen",
                self.top_k, self.top_groups
            ));
        }
        match self.correction {
            Some(values) if values.len() != experts => Some(format!(
                "a correction of {} numbers for {experts} experts",
                values.len()
            )),
            _ => None,
        }
    }

    /// The experts of one row and their gains, `top_k` of each. Panics when lengths or the router's numbers disagree.
    pub fn route(
        &self,
        logits: &[f32],
        chosen: &mut [u32],
        gains: &mut [f32],
        scratch: &mut RouterScratch,
    ) {
        assert_eq!(self.fault(), None);
        assert!(logits.len() == self.num_experts);
        assert!(chosen.len() == self.top_k && gains.len() == self.top_k);
        // Whole vectors; e^-∞ is 0, so that the rest adds nothing.
        let len = logits.len().next_multiple_of(LANES);
        let scores = &mut scratch.scores;
        scores.clear();
        scores.extend_from_slice(logits);
        scores.resize(len, f32::NEG_INFINITY);
        if self.scoring == Scoring::Sigmoid {
            // SAFETY: `scores` is whole vectors.
            unsafe { sigmoid(scores) };
        }
        // Softmax keeps the order of the logits, so they are chosen by.
        scratch.choice.clear();
        scratch
            .choice
            .extend_from_slice(&scores[..self.num_experts]);
        if let Some(correction) = self.correction {
            for (score, correction) in scratch.choice.iter_mut().zip(correction) {
                *score += correction;
            }
        }
        scratch.is_open.clear();
        scratch.is_open.resize(self.num_experts, self.groups == 1);
        if self.groups > 1 {
            self.open_groups(scratch);
        }
        for slot in chosen.iter_mut() {
            let expert = best(&scratch.choice, &scratch.is_open);
            scratch.is_open[expert] = false;
            *slot = expert as u32;
        }
        chosen.sort_unstable();
        let scores = &mut scratch.scores;
        match self.scoring {
            // SAFETY: `scores` is whole vectors.
            Scoring::Softmax => unsafe { softmax(scores) },
            Scoring::SoftmaxChosen => {
                for (slot, &expert) in chosen.iter().enumerate() {
                    gains[slot] = scores[expert as usize];
                }
                scores.clear();
                scores.extend_from_slice(gains);
                scores.resize(self.top_k.next_multiple_of(LANES), f32::NEG_INFINITY);
                // SAFETY: as above.
                unsafe { softmax(scores) };
            }
            Scoring::Sigmoid => {}
        }
        for (slot, &expert) in chosen.iter().enumerate() {
            let is_by_slot = self.scoring == Scoring::SoftmaxChosen;
            gains[slot] = scores[if is_by_slot { slot } else { expert as usize }];
        }
        if self.normalise {
            let sum: f32 = gains.iter().sum();
            // As the reference: sigmoids of nothing are not divided by zero.
            gains.iter_mut().for_each(|gain| *gain /= sum + 1e-20);
        }
        gains.iter_mut().for_each(|gain| *gain *= self.scale);
    }

    /// Open the experts of the best groups; a group is as good as its two best experts together.
    fn open_groups(&self, scratch: &mut RouterScratch) {
        let size = self.num_experts / self.groups;
        scratch.group_scores.clear();
        for group in scratch.choice.chunks_exact(size) {
            let first = best(group, &[]);
            let mut others = group.to_vec();
            others.remove(first);
            let second = others.get(best(&others, &[])).copied().unwrap_or(0.0);
            scratch.group_scores.push(group[first] + second);
        }
        let mut is_left = vec![true; self.groups];
        for _ in 0..self.top_groups {
            let group = best(&scratch.group_scores, &is_left);
            is_left[group] = false;
            scratch.is_open[group * size..(group + 1) * size].fill(true);
        }
    }
}

/// Index of the largest of the open scores, the lowest of equal ones; what is not a number is below all numbers.
fn best(scores: &[f32], is_open: &[bool]) -> usize {
    let mut found: Option<usize> = None;
    for (index, score) in scores.iter().enumerate() {
        if is_open.get(index) == Some(&false) {
            continue;
        }
        let is_better = |other: usize| *score > scores[other] || scores[other].is_nan();
        if found.is_none_or(|other| is_better(other) && !score.is_nan()) {
            found = Some(index);
        }
    }
    found.unwrap_or(0)
}

unsafe fn sigmoid(values: &mut [f32]) {
    #[inline(always)]
    unsafe fn body<S: Simd>(values: &mut [f32]) {
        for lanes in values.chunks_exact_mut(LANES) {
            let exponent = S::negate(S::load(lanes.as_ptr()));
            let one = S::splat(1.0);
            S::store(
                lanes.as_mut_ptr(),
                S::div(one, S::add(one, S::exp(exponent))),
            );
        }
    }
    crate::dispatch!(body(values: &mut [f32]));
}

unsafe fn softmax(values: &mut [f32]) {
    #[inline(always)]
    unsafe fn body<S: Simd>(values: &mut [f32]) {
        let largest = values.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let mut sums = S::splat(0.0);
        for lanes in values.chunks_exact_mut(LANES) {
            let power = S::exp(S::sub(S::load(lanes.as_ptr()), S::splat(largest)));
            sums = S::add(sums, power);
            S::store(lanes.as_mut_ptr(), power);
        }
        let sum = S::splat(S::sum(sums));
        for lanes in values.chunks_exact_mut(LANES) {
            S::store(lanes.as_mut_ptr(), S::div(S::load(lanes.as_ptr()), sum));
        }
    }
    crate::dispatch!(body(values: &mut [f32]));
}
