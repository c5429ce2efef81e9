//! Error-compensating quantisation: its algebra, its gain over rounding, and what it refuses.

mod support;

use ingot_kernels::{GroupQuantiser, Moments, Pool, inverse_factor};
use support::Random;

const K: usize = 96;

/// Inputs that occur together: each is a mix of a few hidden ones.
fn inputs(rows: usize, random: &mut Random) -> Vec<f32> {
    let mix = random.values(K * 8);
    (0..rows)
        .flat_map(|_| {
            let hidden = random.values(8);
            let noise = random.values(K);
            (0..K)
                .map(|i| {
                    let mixed: f32 = (0..8).map(|h| mix[i * 8 + h] * hidden[h]).sum();
                    mixed + 0.1 * noise[i]
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn moments_of(x: &[f32], pool: &Pool) -> Vec<f32> {
    let mut moments = Moments::new(K);
    moments.add(&x[..x.len() / K / 2 * K], pool);
    moments.add(&x[x.len() / K / 2 * K..], pool);
    moments.whole()
}

fn quantiser(is_symmetric: bool, searches_scale: bool) -> GroupQuantiser {
    GroupQuantiser {
        bits: 4,
        group: 32,
        is_symmetric,
        searches_scale,
    }
}

/// Squared error of the layer's outputs, and of the weights.
fn errors(
    how: GroupQuantiser,
    weights: &[f32],
    x: &[f32],
    factor: Option<&[f32]>,
    pool: &Pool,
) -> (f64, f64) {
    let out = how
        .quantise(&mut weights.to_vec(), K, factor, pool)
        .unwrap();
    let groups = K / how.group;
    let rounded: Vec<f32> = (0..weights.len())
        .map(|at| {
            let group = at / K * groups + at % K / how.group;
            assert!(out.codes[at] < 16);
            (f32::from(out.codes[at]) - f32::from(out.zeros[group])) * out.scales[group]
        })
        .collect();
    let difference: Vec<f32> = weights.iter().zip(&rounded).map(|(a, b)| a - b).collect();
    let of_weights = difference.iter().map(|d| f64::from(d * d)).sum();
    let of_outputs = x
        .chunks(K)
        .flat_map(|x| difference.chunks(K).map(move |row| (x, row)))
        .map(|(x, row)| {
            x.iter()
                .zip(row)
                .map(|(a, b)| f64::from(a * b))
                .sum::<f64>()
                .powi(2)
        })
        .sum();
    (of_outputs, of_weights)
}

#[test]
fn moments_are_those_of_f64_arithmetic_on_any_threads() {
    let x = inputs(40, &mut Random(1));
    let whole = moments_of(&x, &Pool::new(1));
    assert!(whole == moments_of(&x, &Pool::new(3)));
    for i in 0..K {
        for j in 0..K {
            let exact: f64 = x.chunks(K).map(|x| f64::from(x[i]) * f64::from(x[j])).sum();
            assert!(
                (f64::from(whole[i * K + j]) - exact).abs() < 1e-3,
                "{i} {j}"
            );
        }
    }
}

#[test]
fn the_factor_is_the_root_of_the_damped_inverse() {
    let moments = moments_of(&inputs(400, &mut Random(2)), &Pool::new(1));
    let factor = inverse_factor(&moments, K).unwrap();
    let mean = (0..K).map(|i| f64::from(moments[i * K + i])).sum::<f64>() / K as f64;
    // (H + damping) · Uᵀ · U = 1
    for i in 0..K {
        for j in 0..K {
            let mut sum = 0.0;
            for m in 0..K {
                let damped = f64::from(moments[i * K + m]) + if i == m { 0.01 * mean } else { 0.0 };
                let inverse: f64 = (0..K)
                    .map(|r| f64::from(factor[r * K + m]) * f64::from(factor[r * K + j]))
                    .sum();
                sum += damped * inverse;
            }
            let expected = if i == j { 1.0 } else { 0.0 };
            assert!((sum - expected).abs() < 1e-2, "{i} {j}: {sum}");
        }
    }
}

#[test]
fn compensation_makes_outputs_better_though_weights_get_worse() {
    let (pool, mut random) = (Pool::new(2), Random(3));
    let weights = random.values(40 * K);
    // The text that is judged by is not the one that was calibrated on.
    let x = inputs(1200, &mut random);
    let (calibration, judged) = x.split_at(800 * K);
    let factor = inverse_factor(&moments_of(calibration, &pool), K).unwrap();
    for is_symmetric in [false, true] {
        let how = quantiser(is_symmetric, false);
        let nearest = errors(how, &weights, judged, None, &pool);
        let compensated = errors(how, &weights, judged, Some(&factor), &pool);
        println!(
            "symmetric {is_symmetric}: outputs {} → {}",
            nearest.0, compensated.0
        );
        assert!(compensated.0 < 0.5 * nearest.0);
        assert!(compensated.1 > nearest.1);
        let searched = errors(quantiser(is_symmetric, true), &weights, judged, None, &pool);
        assert!(searched.1 < nearest.1);
    }
}

#[test]
fn threads_do_not_change_a_code() {
    let mut random = Random(4);
    let weights = random.values(50 * K);
    let factor = inverse_factor(&moments_of(&inputs(300, &mut random), &Pool::new(1)), K).unwrap();
    let codes = |threads| {
        let mut values = weights.clone();
        let out =
            quantiser(false, true).quantise(&mut values, K, Some(&factor), &Pool::new(threads));
        out.unwrap().codes
    };
    assert!(codes(1) == codes(3));
}

#[test]
fn zeros_stay_zero_and_what_is_no_number_is_refused() {
    let pool = Pool::new(1);
    let mut values = vec![0.0; 2 * K];
    let out = quantiser(false, true)
        .quantise(&mut values, K, None, &pool)
        .unwrap();
    assert!(
        out.codes
            .iter()
            .zip([0; 2 * K])
            .all(|(code, zero)| *code == zero)
    );
    values[5] = f32::NAN;
    let error = quantiser(false, true)
        .quantise(&mut values, K, None, &pool)
        .err();
    assert_eq!(error.unwrap().to_string(), "a weight is not a number");
    let error = inverse_factor(&[0.0; K * K], K).err().unwrap();
    assert!(error.to_string().starts_with("no calibration row"));
}
