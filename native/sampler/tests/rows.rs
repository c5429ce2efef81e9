//! Many rows in one call: logprobs, targets, failing rows, threads, and everything that is refused.

mod common;

use common::{Noise, by_likelihood, draw_one, sample, serial, two_threads};
use ingot_sampler::{RowInputs, Sampler, SamplerError, SamplerSpec};

const SAMPLED: fn(u64) -> SamplerSpec<'static> = |seed| SamplerSpec {
    temperature: 0.9,
    top_p: 0.9,
    seed,
    ..SamplerSpec::default()
};

fn naive_logprob(logits: &[f32], id: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    f64::from(logits[id] - max) - sum.ln()
}

#[test]
fn reports_logprob_rank_and_alternatives_of_raw_logits() {
    for (vocab, step) in [
        (1, 0.0),
        (7, 0.0),
        (50, 1.0),
        (5000, 0.0),
        (5000, 2.0),
        (5000, 100.0),
    ] {
        let mut noise = Noise(vocab as u64, 0);
        let mut logits = noise.logits(vocab, 3.0, step);
        logits[0] = 0.25;
        let order = by_likelihood(&logits);
        let mut sampler = Sampler::new(1, vocab);
        // A bias changes what is drawn, not what is reported.
        let spec = SamplerSpec {
            logit_bias: (&[0], &[50.0]),
            ..SamplerSpec::default()
        };
        sampler.set(0, &spec).unwrap();
        let target = noise.below(vocab);
        let inputs = RowInputs {
            slots: &[0, -1],
            positions: &[3, 3],
            targets: &[-1, target as i32],
            top_counts: &[20, 5],
        };
        let rows: Vec<f32> = [logits.clone(), logits.clone()].concat();
        let outcome = sample(&mut sampler, &rows, inputs, &serial).unwrap();
        assert_eq!(outcome.ids, [0, target as i32]);
        for (row, (id, count)) in [(0, 20), (target, 5)].into_iter().enumerate() {
            let rank = order.iter().position(|&x| x == id).unwrap() + 1;
            assert_eq!(outcome.ranks[row], rank as i32);
            let expected = naive_logprob(&logits, id);
            assert!(
                expected == f64::from(outcome.logprob(row))
                    || (expected - f64::from(outcome.logprob(row))).abs() < 1e-5
            );
            for index in 0..count {
                let expected = order.get(index).map_or(-1, |&id| id as i32);
                assert_eq!(outcome.top_ids[row * 20 + index], expected);
                if let Some(&id) = order.get(index) {
                    let error =
                        naive_logprob(&logits, id) - f64::from(outcome.top_logprob(row, index));
                    assert!(error.abs() < 1e-5 || logits[id] == f32::NEG_INFINITY);
                }
            }
        }
    }
}

#[test]
fn a_row_that_wants_no_logprobs_says_so() {
    let mut sampler = Sampler::new(1, 3);
    sampler.set(0, &SamplerSpec::default()).unwrap();
    let inputs = RowInputs {
        slots: &[0, -1],
        positions: &[0, 0],
        targets: &[-1, -1],
        top_counts: &[-1, -1],
    };
    let outcome = sample(
        &mut sampler,
        &[0.0, 2.0, 1.0, 0.0, 0.0, 0.0],
        inputs,
        &serial,
    )
    .unwrap();
    assert_eq!((outcome.ids, outcome.ranks), (vec![1, -1], vec![0, 0]));
    assert!(
        outcome
            .logprob_bits
            .iter()
            .all(|&bits| f32::from_bits(bits).is_nan())
    );
}

#[test]
fn an_unusable_row_fails_alone_and_counts_nothing() {
    let bad = [
        [f32::NAN, 0.0, 0.0],
        [0.0, f32::INFINITY, 0.0],
        [f32::NEG_INFINITY; 3],
    ];
    for temperature in [0.0, 1.0] {
        for row in bad {
            let mut sampler = Sampler::new(2, 3);
            for slot in 0..2 {
                sampler
                    .set(
                        slot,
                        &SamplerSpec {
                            temperature,
                            ..SamplerSpec::default()
                        },
                    )
                    .unwrap();
            }
            let logits = [row, [0.0, 9.0, 9.0], row].concat();
            let inputs = RowInputs {
                slots: &[0, 1, -1],
                positions: &[0; 3],
                targets: &[-1, -1, 2],
                top_counts: &[2, -1, 1],
            };
            let outcome = sample(&mut sampler, &logits, inputs, &serial).unwrap();
            assert_eq!((outcome.ids[0], outcome.ids[2]), (-1, -1));
            assert!(outcome.ids[1] >= 0 && outcome.logprob(0).is_nan() && outcome.ranks[2] == 0);
        }
    }
    // Masking everything is the same failure.
    let all = SamplerSpec {
        stop_token_ids: &[0, 1],
        min_tokens: 1,
        ..SamplerSpec::default()
    };
    assert_eq!(draw_one(&[0.0, 1.0], &all, 0), -1);
}

#[test]
fn neighbours_order_and_threads_change_no_bit() {
    let (rows, vocab) = (17, 1003);
    let mut noise = Noise(3, 0);
    let logits = noise.logits(rows * vocab, 2.5, 0.0);
    let slots: Vec<i32> = (0..rows as i32).collect();
    let make = || {
        let mut sampler = Sampler::new(rows, vocab);
        for slot in 0..rows {
            sampler.set(slot, &SAMPLED(slot as u64 % 3)).unwrap();
        }
        sampler
    };
    let inputs = RowInputs {
        slots: &slots,
        positions: &vec![11; rows],
        targets: &vec![-1; rows],
        top_counts: &vec![4; rows],
    };
    let together = sample(&mut make(), &logits, inputs, &serial).unwrap();
    assert_eq!(
        sample(&mut make(), &logits, inputs, &two_threads).unwrap(),
        together
    );
    for row in 0..rows {
        let alone = RowInputs {
            slots: &slots[row..=row],
            positions: &[11],
            targets: &[-1],
            top_counts: &[4],
        };
        let row_logits = &logits[row * vocab..(row + 1) * vocab];
        let outcome = sample(&mut make(), row_logits, alone, &serial).unwrap();
        assert_eq!(
            (outcome.ids[0], outcome.logprob_bits[0]),
            (together.ids[row], together.logprob_bits[row])
        );
        assert_eq!(
            outcome.top_ids[..4],
            together.top_ids[row * 20..row * 20 + 4]
        );
    }
}

#[test]
fn refuses_parameters_out_of_range_and_keeps_the_slot() {
    let good = SamplerSpec::default();
    let refused = [
        SamplerSpec {
            temperature: -0.1,
            ..good
        },
        SamplerSpec {
            temperature: f64::NAN,
            ..good
        },
        SamplerSpec {
            temperature: f64::INFINITY,
            ..good
        },
        SamplerSpec { top_p: 0.0, ..good },
        SamplerSpec { top_p: 1.1, ..good },
        SamplerSpec {
            min_p: -0.1,
            ..good
        },
        SamplerSpec {
            min_p: f64::NAN,
            ..good
        },
        SamplerSpec {
            presence_penalty: f64::INFINITY,
            ..good
        },
        SamplerSpec {
            frequency_penalty: 1e300,
            ..good
        },
        SamplerSpec {
            repetition_penalty: 0.0,
            ..good
        },
        SamplerSpec {
            repetition_penalty: 1e-300,
            ..good
        },
        SamplerSpec {
            stop_token_ids: &[4],
            ..good
        },
        SamplerSpec {
            prompt_ids: &[-1],
            ..good
        },
        SamplerSpec {
            output_ids: &[i32::MAX],
            ..good
        },
        SamplerSpec {
            logit_bias: (&[0], &[]),
            ..good
        },
        SamplerSpec {
            logit_bias: (&[9], &[1.0]),
            ..good
        },
        SamplerSpec {
            logit_bias: (&[0], &[f32::NAN]),
            ..good
        },
    ];
    let mut sampler = Sampler::new(1, 4);
    sampler.set(0, &good).unwrap();
    for spec in refused {
        let error = sampler.set(0, &spec).expect_err(&format!("{spec:?}"));
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(common::draw_at(&mut sampler, &[0.0, 0.0, 1.0, 0.0], 0), 2);
    assert_eq!(
        sampler.set(1, &good),
        Err(SamplerError::SlotOutOfRange {
            slot: 1,
            max_slots: 1
        })
    );
}

#[test]
fn refuses_rows_that_make_no_sense() {
    let mut sampler = Sampler::new(2, 2);
    sampler.set(0, &SamplerSpec::default()).unwrap();
    let logits = [0.0; 4];
    let good = RowInputs {
        slots: &[0, -1],
        positions: &[0, 0],
        targets: &[-1, -1],
        top_counts: &[-1, -1],
    };
    let refused = [
        RowInputs {
            slots: &[1, -1],
            ..good
        },
        RowInputs {
            slots: &[2, -1],
            ..good
        },
        RowInputs {
            slots: &[-2, -1],
            ..good
        },
        RowInputs {
            positions: &[-1, 0],
            ..good
        },
        RowInputs {
            positions: &[0],
            ..good
        },
        RowInputs {
            targets: &[2, -1],
            ..good
        },
        RowInputs {
            targets: &[-2, -1],
            ..good
        },
        RowInputs {
            top_counts: &[21, -1],
            ..good
        },
        RowInputs {
            top_counts: &[-2, -1],
            ..good
        },
    ];
    for inputs in refused {
        sample(&mut sampler, &logits, inputs, &serial).expect_err("the rows should be refused");
    }
    sample(&mut sampler, &logits[..3], good, &serial).expect_err("the logits are too short");
    sample(&mut sampler, &logits, good, &serial).unwrap();
    sampler.clear(0);
    sampler.clear(7);
    let error = sample(&mut sampler, &logits, good, &serial).expect_err("the slot is empty");
    assert_eq!(error, SamplerError::SlotNotSet { row: 0, slot: 0 });
}

#[test]
fn a_slot_without_memory_draws_from_many_rows_what_it_would_draw_one_by_one() {
    let vocab = 300;
    let mut noise = Noise(5, 0);
    let rows: Vec<f32> = (0..4).flat_map(|_| noise.logits(vocab, 3.0, 0.0)).collect();
    let inputs = RowInputs {
        slots: &[0; 4],
        positions: &[7, 8, 9, 10],
        targets: &[-1; 4],
        top_counts: &[-1; 4],
    };
    let mut sampler = Sampler::new(1, vocab);
    sampler.set(0, &SAMPLED(3)).unwrap();
    let together = sample(&mut sampler, &rows, inputs, &two_threads).unwrap();
    for row in 0..4 {
        sampler.set(0, &SAMPLED(3)).unwrap();
        let alone = RowInputs {
            slots: &[0],
            positions: &inputs.positions[row..=row],
            targets: &[-1],
            top_counts: &[-1],
        };
        let logits = &rows[row * vocab..(row + 1) * vocab];
        let one = sample(&mut sampler, logits, alone, &serial).unwrap();
        assert_eq!(one.ids[0], together.ids[row]);
    }
}

#[test]
fn a_slot_whose_draws_depend_on_each_other_draws_once() {
    let specs = [
        SamplerSpec {
            presence_penalty: 0.5,
            ..SAMPLED(3)
        },
        SamplerSpec {
            min_tokens: 2,
            stop_token_ids: &[1],
            ..SAMPLED(3)
        },
    ];
    for spec in specs {
        let mut sampler = Sampler::new(1, 5);
        sampler.set(0, &spec).unwrap();
        let inputs = RowInputs {
            slots: &[0, 0],
            positions: &[7, 8],
            targets: &[-1, -1],
            top_counts: &[-1, -1],
        };
        assert_eq!(
            sample(&mut sampler, &[0.0; 10], inputs, &serial),
            Err(SamplerError::SlotUsedTwice { row: 1, slot: 0 })
        );
    }
}
