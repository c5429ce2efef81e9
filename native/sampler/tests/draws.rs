//! Draws against a naive sampler and against their distribution; known answers at the edges of each parameter.

mod common;

use common::{Noise, draw_at, draw_one, naive_distribution, naive_draw};
use ingot_sampler::{Sampler, SamplerSpec};

const SAMPLED: SamplerSpec<'static> = SamplerSpec {
    temperature: 1.0,
    top_p: 1.0,
    top_k: 0,
    min_p: 0.0,
    presence_penalty: 0.0,
    frequency_penalty: 0.0,
    repetition_penalty: 1.0,
    seed: 1,
    choice: 0,
    stop_token_ids: &[],
    min_tokens: 0,
    logit_bias: (&[], &[]),
    prompt_ids: &[],
    output_ids: &[],
};

#[test]
fn equals_a_naive_sampler_on_random_cases() {
    for case in 0..3000 {
        let mut noise = Noise(case, 0);
        let vocab = noise.pick(&[1, 2, 63, 64, 65, 200, 700, 3000]);
        let spread = noise.pick(&[0.01, 1.0, 3.0, 8.0]);
        let step = noise.pick(&[0.0, 0.0, 0.5, 4.0]);
        let mut logits = noise.logits(vocab, spread, step);
        logits[noise.below(vocab)] = 1.5;
        let mut ids =
            |count: usize| -> Vec<i32> { (0..count).map(|_| noise.below(vocab) as i32).collect() };
        let (prompt, output, stops, biased) = (ids(9), ids(5), ids(2), ids(3));
        let spec = SamplerSpec {
            temperature: noise.pick(&[0.0, 0.3, 0.8, 1.0, 2.0]),
            top_p: noise.pick(&[1.0, 1.0, 0.95, 0.5, 0.01]),
            top_k: noise.pick(&[0, 0, 1, 5, 40, 900, 5000]),
            min_p: noise.pick(&[0.0, 0.0, 0.05, 0.5, 1.0]),
            presence_penalty: noise.pick(&[0.0, 0.5, -1.0]),
            frequency_penalty: noise.pick(&[0.0, 0.25]),
            repetition_penalty: noise.pick(&[1.0, 1.0, 1.3, 0.8]),
            seed: case * 0x1_0000_0001,
            choice: noise.below(4) as u32,
            stop_token_ids: if vocab > 2 { &stops } else { &[] },
            min_tokens: noise.pick(&[0, 6]),
            logit_bias: (&biased, &[2.0, -3.0, 0.5]),
            prompt_ids: &prompt,
            output_ids: &output,
        };
        if naive_distribution(&logits, &spec)
            .iter()
            .any(|p| p.is_nan())
            && spec.temperature > 0.0
        {
            continue; // every token masked
        }
        let position = noise.below(5000) as i32;
        let expected = naive_draw(&logits, &spec, position);
        assert_eq!(
            draw_one(&logits, &spec, position),
            expected,
            "case {case}: {spec:?}"
        );
    }
}

/// Pearson's statistic of `draws` draws at positions 0, 1, … and its degrees of freedom.
fn chi_square(logits: &[f32], spec: &SamplerSpec<'_>, draws: i32) -> (f64, usize) {
    let distribution = naive_distribution(logits, spec);
    let mut sampler = Sampler::new(1, logits.len());
    sampler.set(0, spec).unwrap();
    let mut counts = vec![0.0; logits.len()];
    for position in 0..draws {
        counts[draw_at(&mut sampler, logits, position) as usize] += 1.0;
    }
    let mut statistic = 0.0;
    let mut num_cells = 0;
    for (count, probability) in counts.iter().zip(&distribution) {
        let expected = probability * f64::from(draws);
        assert!(
            expected > 0.0 || *count == 0.0,
            "a token outside the nucleus was drawn"
        );
        if expected >= 5.0 {
            statistic += (count - expected).powi(2) / expected;
            num_cells += 1;
        }
    }
    (statistic, num_cells - 1)
}

#[test]
fn draws_follow_their_distribution() {
    let logits = Noise(5, 0).logits(100, 2.0, 0.0);
    for spec in [
        SAMPLED,
        SamplerSpec {
            temperature: 0.6,
            ..SAMPLED
        },
        SamplerSpec {
            top_k: 10,
            ..SAMPLED
        },
        SamplerSpec {
            top_p: 0.8,
            ..SAMPLED
        },
        SamplerSpec {
            min_p: 0.1,
            ..SAMPLED
        },
        SamplerSpec {
            top_k: 30,
            top_p: 0.9,
            min_p: 0.05,
            seed: 99,
            choice: 3,
            ..SAMPLED
        },
    ] {
        let (statistic, freedom) = chi_square(&logits, &spec, 200_000);
        // Mean `freedom`, deviation sqrt(2 freedom): five deviations away is wrong, not unlucky.
        let limit = freedom as f64 + 5.0 * (2.0 * freedom as f64).sqrt();
        println!("chi-square {statistic:.1}, {freedom} degrees of freedom, limit {limit:.1}");
        assert!(
            statistic < limit,
            "{statistic} with {freedom} degrees of freedom: {spec:?}"
        );
    }
}

#[test]
fn greedy_takes_the_lowest_id_among_equals() {
    let mut logits = vec![0.0; 300];
    for id in [299, 131, 70] {
        logits[id] = 3.0;
    }
    assert_eq!(draw_one(&logits, &SamplerSpec::default(), 0), 70);
    logits[5] = -0.0;
    logits[6] = 0.0;
    let negative: Vec<f32> = logits.iter().map(|x| -x).collect();
    assert_eq!(draw_one(&negative, &SamplerSpec::default(), 0), 0);
}

#[test]
fn top_k_1_and_a_tiny_top_p_are_greedy() {
    let logits = Noise(8, 0).logits(1000, 3.0, 0.5);
    let best = draw_one(&logits, &SamplerSpec::default(), 0);
    for position in 0..50 {
        assert_eq!(
            draw_one(
                &logits,
                &SamplerSpec {
                    top_k: 1,
                    ..SAMPLED
                },
                position
            ),
            best
        );
        assert_eq!(
            draw_one(
                &logits,
                &SamplerSpec {
                    top_p: 1e-9,
                    ..SAMPLED
                },
                position
            ),
            best
        );
        assert_eq!(
            draw_one(
                &logits,
                &SamplerSpec {
                    temperature: 1e-6,
                    ..SAMPLED
                },
                position
            ),
            best
        );
    }
}

#[test]
fn drawn_tokens_count_for_penalties_and_for_the_minimum() {
    let logits = [5.0, 4.0, 3.0, 2.0];
    let mut sampler = Sampler::new(1, 4);
    let spec = SamplerSpec {
        frequency_penalty: 1.25,
        stop_token_ids: &[0],
        min_tokens: 2,
        ..SamplerSpec::default()
    };
    sampler.set(0, &spec).unwrap();
    // 0 is masked twice: 1 (4), then 1 again is 2.75 against 3. From then on 0 counts 5, 3.75, 2.5 …
    let drawn: Vec<i32> = (0..6)
        .map(|position| draw_at(&mut sampler, &logits, position))
        .collect();
    assert_eq!(drawn, [1, 2, 0, 0, 1, 0]);
    // A sequence that comes back with its outputs goes on where it was.
    let resumed = SamplerSpec {
        output_ids: &[1, 2, 0],
        ..spec
    };
    sampler.set(0, &resumed).unwrap();
    let again: Vec<i32> = (3..6)
        .map(|position| draw_at(&mut sampler, &logits, position))
        .collect();
    assert_eq!(again, [0, 1, 0]);
}

#[test]
fn the_same_seed_choice_and_position_draw_the_same_token_whatever_was_drawn_before() {
    let logits = Noise(9, 0).logits(500, 1.0, 0.0);
    let mut sampler = Sampler::new(1, 500);
    sampler.set(0, &SAMPLED).unwrap();
    let forward: Vec<i32> = (0..100)
        .map(|p| draw_at(&mut sampler, &logits, p))
        .collect();
    let backward: Vec<i32> = (0..100)
        .rev()
        .map(|p| draw_at(&mut sampler, &logits, p))
        .collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    let other = SamplerSpec {
        choice: 1,
        ..SAMPLED
    };
    let others: Vec<i32> = (0..100).map(|p| draw_one(&logits, &other, p)).collect();
    assert_ne!(forward, others);
}
