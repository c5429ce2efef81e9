//! Nonlinearities, scaling, norms and head copies: against f64 mathematics, and the same bits from every kernel family.

mod support;

use ingot_kernels::{
    Curve, Gated, Pool, QkNorm, activation, concat_heads, cpu, gated, layer_norm, qk_norm,
    rms_norm, scale, scaled_add, slice_heads, use_kernels,
};
use support::{KERNELS, Random, bits};

const CURVES: [&str; 6] = ["silu", "gelu", "gelu_tanh", "relu", "relu2", "quick_gelu"];

/// e^-x as 1 − erf needs it, from the definition's own series and continued fraction.
fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    let value = if magnitude < 3.0 {
        let (mut term, mut sum) = (magnitude, magnitude);
        for n in 1..200 {
            term *= -magnitude * magnitude / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let mut fraction = magnitude;
        for n in (1..200).rev() {
            fraction = magnitude + f64::from(n) / 2.0 / fraction;
        }
        1.0 - (-magnitude * magnitude).exp() / std::f64::consts::PI.sqrt() / fraction
    };
    value.copysign(x)
}

fn exact(curve: &str, x: f64) -> f64 {
    match curve {
        "silu" => x / (1.0 + (-x).exp()),
        "gelu" => x / 2.0 * (1.0 + erf(x / 2.0_f64.sqrt())),
        "gelu_tanh" => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            x / 2.0 * (1.0 + inner.tanh())
        }
        "relu" => x.max(0.0),
        "relu2" => x.max(0.0).powi(2),
        "quick_gelu" => x / (1.0 + (-1.702 * x).exp()),
        other => panic!("{other}"),
    }
}

/// Values dense around 0 and out to ±90, a width with a tail.
fn samples() -> Vec<f32> {
    let mut random = Random(5);
    let mut values: Vec<f32> = (-900..=900).map(|i| i as f32 / 10.0).collect();
    values.extend(random.values(2000).iter().map(|value| value * 2.0));
    values.extend([0.0, 1e-20, -1e-20, 0.625, 0.624_999_9, -0.625]);
    values
}

fn close(got: f32, exact: f64, tolerance: f64, what: &str) {
    let error = (f64::from(got) - exact).abs();
    assert!(
        error <= tolerance * exact.abs().max(1e-3),
        "{what}: {got} for {exact}, {error:e} apart"
    );
}

#[test]
fn curves_follow_their_definitions() {
    let (pool, x) = (Pool::new(2), samples());
    let mut out = vec![f32::NAN; x.len()];
    for name in CURVES {
        activation(Curve::parse(name).unwrap(), &x, 1, &mut out, &pool);
        for (x, got) in x.iter().zip(&out) {
            // 1 + erf cancels for large negative x, as it does in every f32 implementation.
            let tolerance = if name == "gelu" { 1e-3 } else { 1e-6 };
            close(
                *got,
                exact(name, f64::from(*x)),
                tolerance,
                &format!("{name}({x})"),
            );
        }
    }
    assert_eq!(Curve::parse("swish"), None);
}

#[test]
fn a_soft_cap_is_a_scaled_tanh() {
    let (pool, x) = (Pool::new(2), samples());
    let mut out = vec![f32::NAN; x.len()];
    scale(&x, 0.5, Some(30.0), 1, &mut out, &pool);
    for (x, got) in x.iter().zip(&out) {
        let exact = (f64::from(*x) * 0.5 / 30.0).tanh() * 30.0;
        let error = (f64::from(*got) - exact).abs();
        assert!(error <= 1e-6 * exact.abs(), "{x}: {got} for {exact}");
    }
    scale(&x, 0.5, None, 1, &mut out, &pool);
    let halves: Vec<f32> = x.iter().map(|x| x * 0.5).collect();
    assert_eq!(bits(&out), bits(&halves));
    scaled_add(&x, 0.25, &halves, &mut out);
    let sums: Vec<f32> = x.iter().map(|x| x * 0.25 + x * 0.5).collect();
    assert_eq!(bits(&out), bits(&sums));
}

#[test]
fn a_gated_unit_clamps_scales_and_offsets() {
    let pool = Pool::new(2);
    let mut random = Random(6);
    let (rows, inner) = (5, 37);
    let gate_up: Vec<f32> = random
        .values(rows * 2 * inner)
        .iter()
        .map(|x| x * 9.0)
        .collect();
    let unit = Gated {
        is_interleaved: true,
        limit: 7.0,
        alpha: 1.702,
        up_offset: 1.0,
        ..Gated::SWIGLU
    };
    let mut out = vec![f32::NAN; rows * inner];
    gated(unit, &gate_up, rows, inner, &mut out, &pool);
    for (pair, got) in gate_up.chunks(2).zip(&out) {
        let gate = f64::from(pair[0]).min(7.0);
        let up = f64::from(pair[1]).clamp(-7.0, 7.0);
        let exact = (up + 1.0) * gate / (1.0 + (-1.702 * gate).exp());
        close(*got, exact, 1e-6, &format!("gated({pair:?})"));
    }
    let halves: Vec<f32> = gate_up
        .chunks(2 * inner)
        .flat_map(|row| {
            let ups = row.iter().skip(1).step_by(2);
            row.iter().step_by(2).chain(ups).copied()
        })
        .collect();
    let mut same = vec![f32::NAN; rows * inner];
    let unit = Gated {
        is_interleaved: false,
        ..unit
    };
    gated(unit, &halves, rows, inner, &mut same, &pool);
    assert_eq!(bits(&same), bits(&out), "layouts differ in place only");
}

#[test]
fn what_is_not_a_number_stays_so() {
    let pool = Pool::new(1);
    let x = [f32::NAN; 3];
    let mut out = [0.0; 3];
    for name in CURVES.into_iter().filter(|name| !name.starts_with("relu")) {
        activation(Curve::parse(name).unwrap(), &x, 1, &mut out, &pool);
        assert!(out.iter().all(|value| value.is_nan()), "{name}");
    }
    scale(&x, 1.0, Some(30.0), 1, &mut out, &pool);
    assert!(out.iter().all(|value| value.is_nan()));
    let unit = Gated {
        limit: 7.0,
        ..Gated::SWIGLU
    };
    gated(
        unit,
        &[f32::NAN, 1.0, 1.0, f32::NAN],
        1,
        2,
        &mut out[..2],
        &pool,
    );
    assert!(out[..2].iter().all(|value| value.is_nan()));
}

#[test]
fn a_layer_norm_has_its_mean_variance_weight_and_bias() {
    let pool = Pool::new(2);
    let mut random = Random(7);
    for width in [1, 16, 50, 768] {
        let rows = 9;
        let x: Vec<f32> = random
            .values(rows * width)
            .iter()
            .map(|x| x + 3.0)
            .collect();
        let (weight, bias) = (random.values(width), random.values(width));
        for bias in [None, Some(bias.as_slice())] {
            let mut out = vec![f32::NAN; rows * width];
            layer_norm(&x, &weight, bias, 1e-5, rows, &mut out, &pool);
            for row in 0..rows {
                let x = &x[row * width..][..width];
                let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let distance = |k: usize| f64::from(x[k]) - mean;
                let variance = (0..width).map(|k| distance(k).powi(2)).sum::<f64>() / width as f64;
                for k in 0..width {
                    let exact = distance(k) / (variance + 1e-5).sqrt() * f64::from(weight[k])
                        + bias.map_or(0.0, |bias| f64::from(bias[k]));
                    let got = f64::from(out[row * width + k]);
                    assert!(
                        (got - exact).abs() < 1e-5,
                        "{width} {row} {k}: {got} for {exact}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_qk_norm_is_the_rms_norm_of_its_parts_and_leaves_values_alone() {
    let pool = Pool::new(2);
    let mut random = Random(8);
    let (rows, num_heads, num_kv_heads, head_dim) = (7, 4, 2, 24);
    let width = (num_heads + 2 * num_kv_heads) * head_dim;
    let (queries, keys) = (num_heads * head_dim, num_kv_heads * head_dim);
    let qkv = random.values(rows * width);
    for (q, k) in [(head_dim, head_dim), (queries, keys)] {
        let (query, key) = (random.values(q), random.values(k));
        let norm = QkNorm {
            num_heads,
            num_kv_heads,
            head_dim,
            query: &query,
            key: &key,
            epsilon: 1e-6,
            weight_offset: 1.0,
        };
        let mut out = vec![f32::NAN; qkv.len()];
        qk_norm(&norm, &qkv, rows, width, &mut out, &pool);
        let mut expected = qkv.clone();
        for row in 0..rows {
            let row = &mut expected[row * width..][..width];
            for (part, weight) in [(0..queries, &query), (queries..queries + keys, &key)] {
                for vector in row[part].chunks_mut(weight.len()) {
                    let x = vector.to_vec();
                    rms_norm(&x, weight, 1e-6, 1.0, 1, vector, &pool);
                }
            }
        }
        assert_eq!(bits(&out), bits(&expected));
    }
}

#[test]
fn heads_are_cut_and_joined_by_copying() {
    let pool = Pool::new(2);
    let (rows, num_heads, group) = (20, 3, 10);
    let x: Vec<f32> = (0..rows * num_heads * group).map(|i| i as f32).collect();
    let (mut left, mut right) = (
        vec![0.0; rows * num_heads * 4],
        vec![0.0; rows * num_heads * 6],
    );
    slice_heads(&x, rows, num_heads, group, 0, 4, &mut left, &pool);
    slice_heads(&x, rows, num_heads, group, 4, 6, &mut right, &pool);
    assert_eq!(left[..8], [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0]);
    assert_eq!(right[..7], [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 14.0]);
    let mut joined = vec![0.0; x.len()];
    concat_heads(&left, 4, &right, 6, rows, num_heads, &mut joined, &pool);
    assert_eq!(joined, x);
}

#[test]
fn every_kernel_family_gives_the_same_bits() {
    let pool = Pool::new(2);
    let (x, detected) = (samples(), cpu().kernels);
    let width = x.len() / 7 * 7;
    let x = &x[..width];
    let (weight, inner) = (&x[..width / 7], width / 14);
    let unit = Gated {
        limit: 7.0,
        alpha: 1.702,
        up_offset: 1.0,
        ..Gated::SWIGLU
    };
    let mut seen: Vec<(&str, Vec<Vec<u32>>)> = Vec::new();
    for family in KERNELS {
        if !use_kernels(family) {
            continue;
        }
        let mut all = Vec::new();
        let mut out = vec![f32::NAN; width];
        for name in CURVES {
            activation(Curve::parse(name).unwrap(), x, 7, &mut out, &pool);
            all.push(bits(&out));
        }
        scale(x, 0.3, Some(20.0), 7, &mut out, &pool);
        all.push(bits(&out));
        layer_norm(x, weight, Some(weight), 1e-5, 7, &mut out, &pool);
        all.push(bits(&out));
        gated(
            unit,
            &x[..14 * inner],
            7,
            inner,
            &mut out[..7 * inner],
            &pool,
        );
        all.push(bits(&out[..7 * inner]));
        seen.push((family, all));
    }
    use_kernels(detected);
    for (family, all) in &seen[1..] {
        assert_eq!(all, &seen[0].1, "{family}");
    }
    assert!(!seen.is_empty());
}
