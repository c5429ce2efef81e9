//! Prints the cost of one row for the usual kinds of request; vocabulary of the default model, logits as a model's
//! rows are distributed (most of the mass in a few tokens) and flat ones (the worst case for top-p).
//! Run: `cargo run --release --example time_rows`

use std::hint::black_box;
use std::time::Instant;

use ingot_sampler::philox::uniform_bits;
use ingot_sampler::{RowInputs, RowOutputs, Sampler, SamplerSpec};

const VOCAB: usize = 49_152;
const REPEATS: i32 = 400;

fn main() {
    let uniform = |i: usize| uniform_bits(1, 0, i as u32) as f32 / u64::MAX as f32;
    let normal = |i: usize| (0..12).map(|j| uniform(12 * i + j)).sum::<f32>() - 6.0;
    let peaked: Vec<f32> = (0..VOCAB).map(|i| 2.5 * normal(i)).collect();
    let flat: Vec<f32> = (0..VOCAB).map(|i| 0.1 * normal(i)).collect();
    let sampled = SamplerSpec {
        temperature: 0.8,
        ..SamplerSpec::default()
    };
    let history: Vec<i32> = (0..500).collect();
    let trials: [(&str, &[f32], SamplerSpec<'_>, i32); 9] = [
        ("greedy", &peaked, SamplerSpec::default(), -1),
        ("temperature", &peaked, sampled, -1),
        (
            "top-p 0.95",
            &peaked,
            SamplerSpec {
                top_p: 0.95,
                ..sampled
            },
            -1,
        ),
        (
            "top-p 0.95, flat",
            &flat,
            SamplerSpec {
                top_p: 0.95,
                ..sampled
            },
            -1,
        ),
        (
            "top-k 40, top-p 0.95",
            &peaked,
            SamplerSpec {
                top_k: 40,
                top_p: 0.95,
                ..sampled
            },
            -1,
        ),
        (
            "min-p 0.05",
            &peaked,
            SamplerSpec {
                min_p: 0.05,
                ..sampled
            },
            -1,
        ),
        (
            "greedy, penalties, 500 seen",
            &peaked,
            SamplerSpec {
                repetition_penalty: 1.1,
                prompt_ids: &history,
                ..SamplerSpec::default()
            },
            -1,
        ),
        ("greedy, logprobs", &peaked, SamplerSpec::default(), 0),
        ("greedy, 20 logprobs", &peaked, SamplerSpec::default(), 20),
    ];
    for (name, logits, spec, top_count) in trials {
        let mut sampler = Sampler::new(1, VOCAB);
        sampler
            .set(0, &spec)
            .expect("the trial's parameters are valid");
        let mut times: Vec<f64> = (0..REPEATS)
            .map(|position| {
                let start = Instant::now();
                sample_one(&mut sampler, black_box(logits), position, top_count);
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{name:30} {:8.1} µs median, {:8.1} µs p90",
            times[200], times[360]
        );
    }
}

fn sample_one(sampler: &mut Sampler, logits: &[f32], position: i32, top_count: i32) {
    let (mut id, mut rank, mut logprob) = ([0], [0], [0.0]);
    let (mut top_ids, mut top_logprobs) = ([0; 20], [0.0; 20]);
    let inputs = RowInputs {
        slots: &[0],
        positions: &[position],
        targets: &[-1],
        top_counts: &[top_count],
    };
    let outputs = RowOutputs {
        ids: &mut id,
        logprobs: &mut logprob,
        ranks: &mut rank,
        top_ids: &mut top_ids,
        top_logprobs: &mut top_logprobs,
    };
    let run = |n: usize, job: &(dyn Fn(usize) + Sync)| (0..n).for_each(job);
    sampler
        .sample_rows(logits, 1, inputs, outputs, &run)
        .expect("the row is valid");
    black_box(id);
}
