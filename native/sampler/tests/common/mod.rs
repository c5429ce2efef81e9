//! A plain way to call the sampler on one row, and a naive sampler to compare it with: sort everything, add f64s.

#![allow(dead_code)] // each test file uses a part

use ingot_sampler::philox::uniform_bits;
use ingot_sampler::{ParallelFor, RowInputs, RowOutputs, Sampler, SamplerError, SamplerSpec};

/// Everything that one call gave for its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub ids: Vec<i32>,
    pub logprob_bits: Vec<u32>,
    pub ranks: Vec<i32>,
    pub top_ids: Vec<i32>,
    pub top_logprob_bits: Vec<u32>,
}

impl Outcome {
    pub fn logprob(&self, row: usize) -> f32 {
        f32::from_bits(self.logprob_bits[row])
    }

    pub fn top_logprob(&self, row: usize, index: usize) -> f32 {
        f32::from_bits(self.top_logprob_bits[row * 20 + index])
    }
}

pub fn serial(n: usize, job: &(dyn Fn(usize) + Sync)) {
    (0..n).for_each(job);
}

/// Two threads, the second half first.
pub fn two_threads(n: usize, job: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|scope| {
        scope.spawn(|| (n / 2..n).rev().for_each(job));
        scope.spawn(|| (0..n / 2).for_each(job));
    });
}

pub fn sample(
    sampler: &mut Sampler,
    logits: &[f32],
    inputs: RowInputs<'_>,
    run: ParallelFor<'_>,
) -> Result<Outcome, SamplerError> {
    let rows = inputs.slots.len();
    let (mut ids, mut ranks) = (vec![-9; rows], vec![-9; rows]);
    let (mut logprobs, mut top_logprobs) = (vec![0.0; rows], vec![0.0; rows * 20]);
    let mut top_ids = vec![-9; rows * 20];
    let outputs = RowOutputs {
        ids: &mut ids,
        logprobs: &mut logprobs,
        ranks: &mut ranks,
        top_ids: &mut top_ids,
        top_logprobs: &mut top_logprobs,
    };
    sampler.sample_rows(logits, rows, inputs, outputs, run)?;
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    Ok(Outcome {
        ids,
        logprob_bits: bits(logprobs),
        ranks,
        top_ids,
        top_logprob_bits: bits(top_logprobs),
    })
}

/// The token that `spec` draws from `logits` at `position`.
pub fn draw_one(logits: &[f32], spec: &SamplerSpec<'_>, position: i32) -> i32 {
    let mut sampler = Sampler::new(1, logits.len());
    sampler.set(0, spec).unwrap();
    draw_at(&mut sampler, logits, position)
}

pub fn draw_at(sampler: &mut Sampler, logits: &[f32], position: i32) -> i32 {
    let inputs = RowInputs {
        slots: &[0],
        positions: &[position],
        targets: &[-1],
        top_counts: &[-1],
    };
    sample(sampler, logits, inputs, &serial).unwrap().ids[0]
}

/// Repeatable noise: uniform in [0, 1).
pub struct Noise(pub u64, pub u32);

impl Noise {
    pub fn next(&mut self) -> f64 {
        self.1 += 1;
        (uniform_bits(self.0, 77, self.1) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() * limit as f64) as usize
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Logits like a model's: a wide bell, with ties when `step` > 0 and some -inf.
    pub fn logits(&mut self, len: usize, spread: f64, step: f64) -> Vec<f32> {
        (0..len)
            .map(|_| {
                let bell: f64 = (0..6).map(|_| self.next()).sum::<f64>() - 3.0;
                let value = bell * spread;
                let value = if step > 0.0 {
                    (value / step).round() * step
                } else {
                    value
                };
                if self.next() < 0.01 {
                    f32::NEG_INFINITY
                } else {
                    value as f32
                }
            })
            .collect()
    }
}

/// Processors, one after another, on a dense row and dense counts.
pub fn naive_process(raw: &[f32], spec: &SamplerSpec<'_>) -> Vec<f32> {
    let mut logits = raw.to_vec();
    if (spec.output_ids.len() as u32) < spec.min_tokens {
        for &id in spec.stop_token_ids {
            logits[id as usize] = f32::NEG_INFINITY;
        }
    }
    for (&id, &bias) in spec.logit_bias.0.iter().zip(spec.logit_bias.1) {
        logits[id as usize] += bias;
    }
    let repetition = spec.repetition_penalty as f32;
    for (id, logit) in logits.iter_mut().enumerate() {
        let id = id as i32;
        let num_drawn = spec.output_ids.iter().filter(|&&x| x == id).count();
        if repetition != 1.0 && (num_drawn > 0 || spec.prompt_ids.contains(&id)) {
            *logit = if *logit > 0.0 {
                *logit / repetition
            } else {
                *logit * repetition
            };
        }
        if num_drawn > 0 {
            *logit -=
                spec.presence_penalty as f32 + spec.frequency_penalty as f32 * num_drawn as f32;
        }
    }
    logits
}

/// Ids from most to least likely, ties by lower id.
pub fn by_likelihood(logits: &[f32]) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
    ids
}

/// The probability of each token after every filter, `[vocab]`.
pub fn naive_distribution(raw: &[f32], spec: &SamplerSpec<'_>) -> Vec<f64> {
    let logits = naive_process(raw, spec);
    let order = by_likelihood(&logits);
    let max = f64::from(logits[order[0]]);
    let weight = |id: usize| ((f64::from(logits[id]) - max) / spec.temperature).exp();
    let mut kept = order;
    if spec.top_k > 0 {
        kept.truncate(spec.top_k as usize);
    }
    if spec.top_p < 1.0 {
        let needed = spec.top_p * kept.iter().map(|&id| weight(id)).sum::<f64>();
        let mut mass = 0.0;
        let count = kept.iter().take_while(|&&id| {
            let is_needed = mass < needed;
            mass += weight(id);
            is_needed
        });
        let count = count.count();
        kept.truncate(count);
    }
    kept.retain(|&id| weight(id) >= spec.min_p * (1.0 - 1e-6));
    let total: f64 = kept.iter().map(|&id| weight(id)).sum();
    let mut distribution = vec![0.0; raw.len()];
    for id in kept {
        distribution[id] = weight(id) / total;
    }
    distribution
}

/// Inverse CDF in token-id order with the sampler's own uniform.
pub fn naive_draw(raw: &[f32], spec: &SamplerSpec<'_>, position: i32) -> i32 {
    if spec.temperature == 0.0 {
        return by_likelihood(&naive_process(raw, spec))[0] as i32;
    }
    let uniform = uniform_bits(spec.seed, spec.choice, position as u32) as f64 / 2f64.powi(64);
    let mut below = 0.0;
    for (id, probability) in naive_distribution(raw, spec).into_iter().enumerate() {
        below += probability;
        if uniform < below {
            return id as i32;
        }
    }
    panic!("the distribution does not sum to 1");
}
