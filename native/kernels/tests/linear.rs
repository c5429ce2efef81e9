//! Linear layers: exact values, exact repetition, every format and every kernel family.

mod support;

use ingot_kernels::{Activations, Format, PackedLinear, Part, Pool, Scratch, linear, use_kernels};
use support::{
    FORMATS, KERNELS, Random, bits, halves, inputs, naming_kernels, quantised, run_linear, stored,
};

#[test]
fn a_packed_row_dequantises_to_the_formats_own_values() {
    let pool = Pool::new(2);
    let mut random = Random(1);
    for format in FORMATS {
        for (rows, k) in [(1, 32), (33, 64), (70, 96), (3, 320)] {
            let k = inputs(format, k);
            let (bytes, values) = stored(format, rows, k, &mut random);
            let weight = PackedLinear::pack(
                &[Part {
                    format,
                    rows,
                    bytes: &bytes,
                }],
                k,
                &pool,
            )
            .unwrap();
            let mut row_values = vec![0.0; k];
            for row in 0..rows {
                weight.row_into(row, &mut row_values);
                let expected = &values[row * k..][..k];
                assert_eq!(bits(&row_values), bits(expected), "{format:?} row {row}");
            }
        }
    }
}

#[test]
fn f32_activations_match_f64_arithmetic() {
    let pool = Pool::new(2);
    let mut random = Random(2);
    for format in FORMATS {
        let (n, k, rows) = (77, inputs(format, 192), 13);
        let (bytes, values) = stored(format, n, k, &mut random);
        let weight = PackedLinear::pack(
            &[Part {
                format,
                rows: n,
                bytes: &bytes,
            }],
            k,
            &pool,
        )
        .unwrap();
        let x = random.values(rows * k);
        let out = run_linear(&weight, &x, rows, Activations::F32, &pool);
        for row in 0..rows {
            for column in 0..n {
                let terms =
                    (0..k).map(|i| f64::from(x[row * k + i]) * f64::from(values[column * k + i]));
                let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                    (sum + term, size + term.abs())
                });
                let error = (f64::from(out[row * n + column]) - exact).abs();
                assert!(
                    error <= 1e-6 * size + 1e-12,
                    "{format:?} {row} {column}: {error} of {size}"
                );
            }
        }
    }
}

#[test]
fn int8_activations_lose_only_what_rounding_them_loses() {
    let pool = Pool::new(2);
    let mut random = Random(3);
    for (format, k) in quantised().flat_map(|format| [(format, 256), (format, 352)]) {
        let (n, k, rows) = (64, inputs(format, k), 9);
        let (bytes, values) = stored(format, n, k, &mut random);
        let weight = PackedLinear::pack(
            &[Part {
                format,
                rows: n,
                bytes: &bytes,
            }],
            k,
            &pool,
        )
        .unwrap();
        let x = random.values(rows * k);
        let rounded: Vec<f64> = x
            .chunks(32)
            .flat_map(|block| {
                let largest = block
                    .iter()
                    .fold(0.0_f32, |largest, value| largest.max(value.abs()));
                let (inverse, scale) = (127.0 / largest, largest / 127.0);
                block.iter().map(move |value| {
                    f64::from((value * inverse).round_ties_even()) * f64::from(scale)
                })
            })
            .collect();
        let out = run_linear(&weight, &x, rows, Activations::Int8, &pool);
        for row in 0..rows {
            for column in 0..n {
                let terms =
                    (0..k).map(|i| rounded[row * k + i] * f64::from(values[column * k + i]));
                let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                    (sum + term, size + term.abs())
                });
                let error = (f64::from(out[row * n + column]) - exact).abs();
                assert!(
                    error <= 2e-6 * size + 1e-9,
                    "{format:?} {row} {column}: {error} of {size}"
                );
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_in_any_batch_on_any_threads_and_kernels() {
    let oldest = [
        (Format::Q4_1, 40),
        (Format::Q8_0, 33),
        (Format::F16, 7),
        (Format::BF16, 70),
        (Format::Q5_0, 64),
        (Format::Q5_1, 32),
        (Format::IQ4_NL, 9),
        (Format::MXFP4, 31),
    ];
    check_repetition(160, &oldest, 4);
    // More than one chunk of blocks, the last one of two.
    check_repetition(320, &oldest[5..], 14);
    // Half a pair at the end.
    check_repetition(97, &[(Format::BF16, 45), (Format::F32, 3)], 34);
}

#[test]
fn a_row_of_k_quants_has_the_same_bits_alone_in_any_batch_on_any_threads_and_kernels() {
    let sizes = [
        (Format::Q2_K, 32),
        (Format::Q3_K, 5),
        (Format::Q4_K, 40),
        (Format::Q5_K, 33),
        (Format::Q6_K, 50),
        (Format::IQ4_XS, 12),
        (Format::TQ1_0, 20),
        (Format::TQ2_0, 32),
    ];
    check_repetition(512, &sizes, 24);
}

fn check_repetition(k: usize, sizes: &[(Format, usize)], seed: u64) {
    let _naming = naming_kernels();
    let mut random = Random(seed);
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    let parts: Vec<_> = sizes
        .iter()
        .map(|&(format, rows)| (format, rows, stored(format, rows, k, &mut random).0))
        .collect();
    let parts: Vec<_> = parts
        .iter()
        .map(|(format, rows, bytes)| Part {
            format: *format,
            rows: *rows,
            bytes,
        })
        .collect();
    let weight = PackedLinear::pack(&parts, k, &pools[0]).unwrap();
    let n = weight.n();
    let x = random.values(64 * k);
    for activations in [Activations::F32, Activations::Bf16, Activations::Int8] {
        let alone: Vec<f32> = (0..64)
            .flat_map(|row| run_linear(&weight, &x[row * k..][..k], 1, activations, &pools[0]))
            .collect();
        for kernels in KERNELS {
            if !use_kernels(kernels) {
                println!("this CPU has no {kernels}");
                continue;
            }
            for pool in &pools {
                for rows in [1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 16, 31, 64] {
                    let out = run_linear(&weight, &x[..rows * k], rows, activations, pool);
                    assert_eq!(
                        bits(&out),
                        bits(&alone[..rows * n]),
                        "{activations:?} {kernels} {rows} rows"
                    );
                }
            }
        }
    }
}

#[test]
fn bias_is_added_last_and_zero_rows_do_nothing() {
    let pool = Pool::new(2);
    let mut random = Random(5);
    let (n, k, rows) = (45, 64, 10);
    let (bytes, _) = stored(Format::Q4_0, n, k, &mut random);
    let weight = PackedLinear::pack(
        &[Part {
            format: Format::Q4_0,
            rows: n,
            bytes: &bytes,
        }],
        k,
        &pool,
    )
    .unwrap();
    let (x, bias) = (random.values(rows * k), random.values(n));
    let plain = run_linear(&weight, &x, rows, Activations::Int8, &pool);
    let mut out = vec![0.0; rows * n];
    let scratch = &mut Scratch::default();
    linear(
        &weight,
        &x,
        rows,
        Some(&bias),
        Activations::Int8,
        &mut out,
        scratch,
        &pool,
    );
    for (at, value) in out.iter().enumerate() {
        assert_eq!(value.to_bits(), (plain[at] + bias[at % n]).to_bits());
    }
    linear(
        &weight,
        &[],
        0,
        None,
        Activations::Int8,
        &mut [],
        scratch,
        &pool,
    );
}

#[test]
fn bytes_that_do_not_fit_the_shape_are_refused() {
    let pool = Pool::new(1);
    let part = |bytes| Part {
        format: Format::Q4_0,
        rows: 2,
        bytes,
    };
    assert!(PackedLinear::pack(&[part(&[0; 35])], 32, &pool).is_err());
    assert!(PackedLinear::pack(&[part(&[0; 36])], 33, &pool).is_err());
    assert!(PackedLinear::pack(&[], 32, &pool).is_err());
    assert!(PackedLinear::pack(&[part(&[0; 36])], 32, &pool).is_ok());
}

#[test]
fn what_is_not_a_number_stays_so_in_its_own_row_only() {
    let pool = Pool::new(1);
    let mut random = Random(6);
    let (n, k, rows) = (40, 96, 9);
    for format in FORMATS {
        let k = inputs(format, k);
        let (bytes, _) = stored(format, n, k, &mut random);
        let part = Part {
            format,
            rows: n,
            bytes: &bytes,
        };
        let weight = PackedLinear::pack(&[part], k, &pool).unwrap();
        let x = random.values(rows * k);
        for bad in [f32::NAN, f32::INFINITY] {
            for at in [0, 17, 40, k - 1] {
                let mut spoilt = x.clone();
                spoilt[4 * k + at] = bad;
                for activations in [Activations::F32, Activations::Int8] {
                    let out = run_linear(&weight, &spoilt, rows, activations, &pool);
                    let clean = run_linear(&weight, &x, rows, activations, &pool);
                    let row = &out[4 * n..5 * n];
                    assert!(
                        row.iter().all(|y| !y.is_finite()),
                        "{format:?} {bad} at {at}"
                    );
                    assert_eq!(bits(&out[..4 * n]), bits(&clean[..4 * n]));
                    assert_eq!(bits(&out[5 * n..]), bits(&clean[5 * n..]));
                }
            }
        }
    }
}

#[test]
fn the_largest_weights_and_activations_saturate_nothing() {
    let _naming = naming_kernels();
    let pool = Pool::new(1);
    let n = 33;
    for format in quantised() {
        let k = inputs(format, 64);
        for byte in [0x00, 0xff, 0x80, 0x7f, 0x81, 0xf0, 0x0f] {
            let mut bytes = vec![byte; n * k / format.block_weights() * format.block_bytes()];
            for block in bytes.chunks_exact_mut(format.block_bytes()) {
                for (&at, half) in halves(format).iter().zip([0x2400_u16, 0x3400]) {
                    block[at..at + 2].copy_from_slice(&half.to_le_bytes());
                }
                if format == Format::MXFP4 {
                    block[0] = 120;
                }
            }
            let part = Part {
                format,
                rows: n,
                bytes: &bytes,
            };
            let weight = PackedLinear::pack(&[part], k, &pool).unwrap();
            let mut x = vec![3.0; k];
            x.extend(vec![-3.0; k]);
            x.extend((0..k).map(|i| if i % 2 == 0 { 3.0 } else { -3.0 }));
            let mut values = vec![0.0; k];
            weight.row_into(0, &mut values);
            for kernels in KERNELS {
                if !use_kernels(kernels) {
                    continue;
                }
                let out = run_linear(&weight, &x, 3, Activations::Int8, &pool);
                for (row, x) in x.chunks_exact(k).enumerate() {
                    // Every activation is ±127 times one scale, so nothing is lost by rounding it.
                    let terms = x
                        .iter()
                        .zip(&values)
                        .map(|(x, w)| f64::from(*x) * f64::from(*w));
                    let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                        (sum + term, size + term.abs())
                    });
                    for y in &out[row * n..(row + 1) * n] {
                        let error = (f64::from(*y) - exact).abs();
                        assert!(
                            error <= 1e-6 * size,
                            "{format:?} {byte:x} {kernels}: {y} {exact}"
                        );
                    }
                }
            }
        }
    }
}
