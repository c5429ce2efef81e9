//! Routers, experts and block-diagonal layers: against plain loops, and the same bits whatever shares the step.

mod support;

use std::sync::Arc;

use ingot_kernels::{
    Activations, Expert, Format, Gated, PackedLinear, Part, Pool, Router, RouterScratch, Scoring,
    Scratch, cpu, gated, head_linear, linear, moe, use_kernels,
};
use support::{KERNELS, Random, bits, stored};

const PLAIN: Router<'static> = Router {
    num_experts: 6,
    top_k: 2,
    scoring: Scoring::Softmax,
    normalise: false,
    scale: 1.0,
    correction: None,
    groups: 1,
    top_groups: 1,
};

fn route(router: &Router<'_>, logits: &[f32]) -> (Vec<u32>, Vec<f32>) {
    let (mut chosen, mut gains) = (vec![99; router.top_k], vec![f32::NAN; router.top_k]);
    router.route(
        logits,
        &mut chosen,
        &mut gains,
        &mut RouterScratch::default(),
    );
    (chosen, gains)
}

fn close(got: &[f32], exact: &[f64]) {
    assert_eq!(got.len(), exact.len());
    for (got, exact) in got.iter().zip(exact) {
        assert!((f64::from(*got) - exact).abs() < 1e-6, "{got} for {exact}");
    }
}

#[test]
fn a_softmax_router_takes_the_best_and_may_divide_by_their_sum() {
    let logits = [0.5, 2.0, -1.0, 3.0, 0.0, 2.5];
    let powers = logits.map(|x: f32| f64::from(x).exp());
    let all: f64 = powers.iter().sum();
    let (chosen, gains) = route(&PLAIN, &logits);
    assert_eq!(chosen, [3, 5]);
    close(&gains, &[powers[3] / all, powers[5] / all]);
    let some = powers[3] + powers[5];
    for router in [
        Router {
            normalise: true,
            ..PLAIN
        },
        Router {
            scoring: Scoring::SoftmaxChosen,
            ..PLAIN
        },
    ] {
        let (chosen, gains) = route(&router, &logits);
        assert_eq!(chosen, [3, 5]);
        close(&gains, &[powers[3] / some, powers[5] / some]);
    }
}

#[test]
fn equal_scores_go_to_the_lower_id_and_what_is_no_number_comes_last() {
    let (chosen, gains) = route(&PLAIN, &[1.0, 2.0, 2.0, 2.0, 0.0, 0.0]);
    assert_eq!(chosen, [1, 2]);
    assert_eq!(gains[0].to_bits(), gains[1].to_bits());
    let router = Router {
        top_k: 5,
        scoring: Scoring::SoftmaxChosen,
        ..PLAIN
    };
    let (chosen, _) = route(
        &router,
        &[f32::NAN, -5.0, f32::NAN, -9.0, f32::NEG_INFINITY, 1.0],
    );
    assert_eq!(chosen, [0, 1, 3, 4, 5]);
}

#[test]
fn a_sigmoid_router_corrects_the_choice_but_not_the_gains_and_keeps_to_the_best_groups() {
    let correction = [0.0, 0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0];
    let router = Router {
        num_experts: 8,
        top_k: 3,
        scoring: Scoring::Sigmoid,
        normalise: true,
        scale: 2.5,
        correction: Some(&correction),
        groups: 4,
        top_groups: 2,
    };
    // The single best expert, 6, is alone in its group; groups 1 (2, 3) and 2 (4, 5) are better together.
    let logits = [-3.0, -3.0, 0.1, 0.0, 1.0, 1.2, 2.0, -9.0];
    let score = |expert: usize| 1.0 / (1.0 + (-f64::from(logits[expert])).exp());
    let (chosen, gains) = route(&router, &logits);
    assert_eq!(chosen, [2, 4, 5]);
    let sum = score(2) + score(4) + score(5);
    close(&gains, &[2, 4, 5].map(|expert| 2.5 * score(expert) / sum));
    let open = Router {
        groups: 1,
        top_groups: 1,
        correction: None,
        ..router
    };
    assert_eq!(route(&open, &logits).0, [4, 5, 6]);
}

#[test]
fn a_router_says_what_does_not_fit() {
    let fault = |router: Router<'_>| router.fault().unwrap_or_default();
    assert_eq!(PLAIN.fault(), None);
    assert!(fault(Router { top_k: 7, ..PLAIN }).contains("7 of 6 experts"));
    assert!(fault(Router { top_k: 0, ..PLAIN }).contains("0 of 6 experts"));
    assert!(fault(Router { groups: 4, ..PLAIN }).contains("1 of 4 groups"));
    assert!(fault(Router { groups: 0, ..PLAIN }).contains("of 0 groups"));
    let few = Router {
        groups: 3,
        top_groups: 1,
        top_k: 3,
        ..PLAIN
    };
    assert!(fault(few).contains("3 of 6 experts in 1 of 3 groups"));
    assert!(
        fault(Router {
            correction: Some(&[1.0]),
            ..PLAIN
        })
        .contains("1 numbers for 6")
    );
}

struct Mixture {
    experts: Vec<Expert>,
    unit: Gated,
    width: usize,
}

fn matrix(
    format: Format,
    n: usize,
    k: usize,
    random: &mut Random,
    pool: &Pool,
) -> Arc<PackedLinear> {
    let (bytes, _) = stored(format, n, k, random);
    let part = Part {
        format,
        rows: n,
        bytes: &bytes,
    };
    Arc::new(PackedLinear::pack(&[part], k, pool).unwrap())
}

fn mixture(format: Format, random: &mut Random, pool: &Pool) -> Mixture {
    let (width, inner) = (64, 96);
    let experts = (0..PLAIN.num_experts).map(|_| Expert {
        gate_up: matrix(format, 2 * inner, width, random, pool),
        gate_up_bias: Some(random.values(2 * inner).into()),
        down: matrix(format, width, inner, random, pool),
        down_bias: Some(random.values(width).into()),
    });
    let unit = Gated {
        limit: 3.0,
        is_interleaved: true,
        up_offset: 1.0,
        ..Gated::SWIGLU
    };
    Mixture {
        experts: experts.collect(),
        unit,
        width,
    }
}

fn run(
    mixture: &Mixture,
    x: &[f32],
    logits: &[f32],
    activations: Activations,
    pool: &Pool,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len()];
    let rows = x.len() / mixture.width;
    let scratch = &mut Scratch::default();
    let (experts, unit) = (&mixture.experts, mixture.unit);
    moe(
        experts,
        unit,
        &PLAIN,
        x,
        logits,
        rows,
        activations,
        &mut out,
        scratch,
        pool,
    );
    out
}

/// Row by row, expert by expert, with the operators that a dense layer has.
fn reference(mixture: &Mixture, x: &[f32], logits: &[f32], activations: Activations) -> Vec<f32> {
    let (pool, mut scratch) = (Pool::new(1), Scratch::default());
    let mut out = Vec::new();
    for (x, logits) in x
        .chunks(mixture.width)
        .zip(logits.chunks(PLAIN.num_experts))
    {
        let (chosen, gains) = route(&PLAIN, logits);
        let mut sum = vec![0.0; mixture.width];
        for (slot, expert) in chosen.iter().enumerate() {
            let expert = &mixture.experts[*expert as usize];
            let mut layer = |weight: &PackedLinear, bias: &Option<Arc<[f32]>>, x: &[f32]| {
                let mut out = vec![0.0; weight.n()];
                let bias = bias.as_deref();
                linear(
                    weight,
                    x,
                    1,
                    bias,
                    activations,
                    &mut out,
                    &mut scratch,
                    &pool,
                );
                out
            };
            let gate_up = layer(&expert.gate_up, &expert.gate_up_bias, x);
            let mut inner = vec![0.0; gate_up.len() / 2];
            let width = inner.len();
            gated(mixture.unit, &gate_up, 1, width, &mut inner, &pool);
            for (sum, value) in sum
                .iter_mut()
                .zip(layer(&expert.down, &expert.down_bias, &inner))
            {
                *sum = if slot == 0 {
                    value * gains[slot]
                } else {
                    *sum + value * gains[slot]
                };
            }
        }
        out.extend(sum);
    }
    out
}

#[test]
fn a_mixture_has_the_bits_of_its_experts_one_by_one_whatever_shares_the_step() {
    let mut random = Random(21);
    let pools = [Pool::new(1), Pool::new(3)];
    let detected = cpu().kernels;
    let cases = [
        (Format::F32, Activations::F32),
        (Format::BF16, Activations::Int8),
        (Format::Q8_0, Activations::F32),
        (Format::Q4_1, Activations::Int8),
        (Format::MXFP4, Activations::F32),
        (Format::MXFP4, Activations::Int8),
    ];
    for (format, activations) in cases {
        let mixture = mixture(format, &mut random, &pools[0]);
        let rows = 41;
        let x = random.values(rows * mixture.width);
        let logits = random.values(rows * PLAIN.num_experts);
        let expected = reference(&mixture, &x, &logits, activations);
        for kernels in KERNELS {
            if !use_kernels(kernels) {
                continue;
            }
            for pool in &pools {
                for rows in [1, 2, 7, 41] {
                    let (x, logits) = (&x[..rows * 64], &logits[..rows * 6]);
                    let out = run(&mixture, x, logits, activations, pool);
                    let expected = &expected[..rows * 64];
                    assert_eq!(bits(&out), bits(expected), "{format:?} {kernels} {rows}");
                }
            }
        }
        use_kernels(detected);
    }
}

#[test]
fn a_block_diagonal_layer_is_a_linear_layer_for_each_head() {
    let mut random = Random(22);
    let pool = Pool::new(2);
    let (count, n, k, rows) = (5, 40, 32, 9);
    for activations in [Activations::F32, Activations::Int8] {
        let heads: Vec<_> = (0..count)
            .map(|_| matrix(Format::Q8_0, n, k, &mut random, &pool))
            .collect();
        let x = random.values(rows * count * k);
        let mut out = vec![f32::NAN; rows * count * n];
        let scratch = &mut Scratch::default();
        head_linear(&heads, &x, rows, activations, &mut out, scratch, &pool);
        for (head, weight) in heads.iter().enumerate() {
            for row in 0..rows {
                let x = &x[(row * count + head) * k..][..k];
                let mut expected = vec![0.0; n];
                linear(
                    weight,
                    x,
                    1,
                    None,
                    activations,
                    &mut expected,
                    scratch,
                    &pool,
                );
                let got = &out[(row * count + head) * n..][..n];
                assert_eq!(bits(got), bits(&expected), "{activations:?} {head} {row}");
            }
        }
    }
}
