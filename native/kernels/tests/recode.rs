//! Weights written anew while they are packed: what they become, what is refused, and that nothing else decides.

mod support;

use half::f16;
use ingot_kernels::{Format, PackedLinear, Part, Pool, Recode, use_kernels};
use support::{KERNELS, Random, bits, stored};

const TARGETS: [Format; 6] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q8_0,
];

fn recode(format: Format, group: Option<usize>) -> Recode {
    Recode::new(format, group).unwrap()
}

fn pack(values: &[f32], k: usize, recode: Recode, pool: &Pool) -> PackedLinear {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let part = Part {
        format: Format::F32,
        rows: values.len() / k,
        bytes: &bytes,
    };
    PackedLinear::pack_as(&[part], &[Some(recode)], k, pool).unwrap()
}

fn rows_of(weight: &PackedLinear) -> Vec<f32> {
    let mut values = vec![0.0; weight.n() * weight.k()];
    for (row, values) in values.chunks_exact_mut(weight.k()).enumerate() {
        weight.row_into(row, values);
    }
    values
}

#[test]
fn a_recoded_row_is_within_half_a_step_of_what_it_was() {
    let pool = Pool::new(2);
    let values = Random(1).values(70 * 96);
    // Of the range of a block; a quant's step is at most this, and least squares may move the ends by one more.
    for (format, steps) in [
        (Format::F32, 0.0),
        (Format::F16, 1e-3),
        (Format::BF16, 8e-3),
        (Format::Q8_0, 1.0 / 127.0),
        (Format::Q4_1, 1.5 / 15.0),
        (Format::Q4_0, 1.5 / 7.0),
    ] {
        let read = rows_of(&pack(&values, 96, recode(format, Some(32)), &pool));
        for (block, read) in values.chunks(32).zip(read.chunks(32)) {
            let largest = block
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            for (value, read) in block.iter().zip(read) {
                let error = (value - read).abs();
                assert!(
                    error <= steps * largest,
                    "{format:?}: {value} became {read}"
                );
            }
        }
    }
}

#[test]
fn least_squares_never_does_worse_than_the_grid_that_reaches_all_values() {
    let pool = Pool::new(1);
    let values = Random(2).values(32 * 640);
    let plain = |block: &[f32]| {
        let (low, high) = block
            .iter()
            .fold((f32::MAX, f32::MIN), |(low, high), &value| {
                (low.min(value), high.max(value))
            });
        let scale = f16::from_f32((high - low) / 15.0).to_f32();
        let low = f16::from_f32(low).to_f32();
        let quant = move |value: f32| ((value - low) / scale).round().clamp(0.0, 15.0);
        block
            .iter()
            .map(|&value| quant(value) * scale + low - value)
            .map(|e| e * e)
            .sum::<f32>()
    };
    let read = rows_of(&pack(&values, 640, recode(Format::Q4_1, Some(32)), &pool));
    let (mut before, mut after) = (0.0, 0.0);
    for (block, read) in values.chunks(32).zip(read.chunks(32)) {
        let error: f32 = block.iter().zip(read).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!(error <= plain(block) * 1.0001 + 1e-12);
        before += plain(block);
        after += error;
    }
    println!("squared error of 4 bits: {before} reaching all values, {after} by least squares");
    assert!(after < before * 0.95);
}

#[test]
fn blocks_of_one_group_share_a_scale_and_a_short_last_group_has_its_own() {
    let pool = Pool::new(1);
    let k = 160;
    let mut values = vec![0.01; k];
    values[3] = 1.0; // in the first group of 64
    values[130] = 2.0; // in the last, of 32
    let steps = |group| {
        let read = rows_of(&pack(&values, k, recode(Format::Q8_0, group), &pool));
        [0, 40, 100, 135].map(|at| (read[at] - 0.01).abs() < 1e-4)
    };
    assert_eq!(steps(Some(32)), [false, true, true, false]);
    assert_eq!(steps(Some(64)), [false, false, true, false]);
    assert_eq!(steps(None), [false; 4]);
}

#[test]
fn what_a_format_cannot_hold_is_refused() {
    let pool = Pool::new(2);
    let make = |at: f32, format| {
        let mut values = vec![0.5_f32; 64 * 40];
        values[64 * 39 + 5] = at;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let part = Part {
            format: Format::F32,
            rows: 40,
            bytes: &bytes,
        };
        PackedLinear::pack_as(&[part], &[Some(recode(format, Some(32)))], 64, &pool)
            .err()
            .map(|error| error.to_string())
    };
    let refusal = |format: Format| {
        Some(format!(
            "a value is not a number, or too large for {}",
            format.name()
        ))
    };
    for format in TARGETS {
        assert_eq!(make(1.0, format), None);
        assert_eq!(make(f32::NAN, format), refusal(format));
        assert_eq!(make(f32::INFINITY, format), refusal(format));
        assert_eq!(make(f32::NEG_INFINITY, format), refusal(format));
        let is_wide = matches!(format, Format::F32 | Format::BF16);
        assert_eq!(
            make(3e8, format),
            if is_wide { None } else { refusal(format) }
        );
    }
    assert_eq!(
        Recode::new(Format::Q6_K, None).unwrap_err().to_string(),
        "weights can be written as F32, F16, BF16, Q4_0, Q4_1 or Q8_0, not as Q6_K"
    );
    assert_eq!(
        Recode::new(Format::Q8_0, Some(48)).unwrap_err().to_string(),
        "a group must be whole blocks of 32 weights, got 48"
    );
}

#[test]
fn threads_and_kernels_do_not_change_a_byte() {
    let mut random = Random(5);
    let (bytes, _) = stored(Format::Q6_K, 67, 512, &mut random);
    for format in TARGETS {
        let packed = |threads| {
            let part = Part {
                format: Format::Q6_K,
                rows: 67,
                bytes: &bytes,
            };
            let pool = Pool::new(threads);
            let target = recode(format, Some(128));
            let weight = PackedLinear::pack_as(&[part], &[Some(target)], 512, &pool).unwrap();
            weight
                .packed_parts()
                .map(|(_, bytes)| bytes.to_vec())
                .collect::<Vec<_>>()
        };
        let expected = packed(1);
        for kernels in KERNELS {
            if use_kernels(kernels) {
                assert!(packed(3) == expected, "{format:?} on {kernels}");
            }
        }
    }
}

#[test]
fn a_weight_made_of_its_packed_bytes_is_the_same_weight() {
    let pool = Pool::new(1);
    let values = Random(6).values(45 * 64);
    let weight = pack(&values, 64, recode(Format::Q4_0, Some(32)), &pool);
    let parts: Vec<_> = weight.packed_parts().collect();
    let (shape, bytes) = parts[0];
    assert_eq!((shape.format, shape.rows), (Format::Q4_0, 45));
    assert_eq!(shape.bytes(64), Some(bytes.len()));
    // The weight itself owns the bytes, so it serves as their owner here.
    let owner = std::sync::Arc::new(pack(&values, 64, recode(Format::Q4_0, Some(32)), &pool));
    let held = owner.clone();
    let shared = |len: usize| {
        let bytes = held.packed_parts().next().unwrap().1;
        // SAFETY: the owner's bytes live as long as it does and are never written.
        unsafe { ingot_kernels::SharedBytes::new(&bytes[..len], owner.clone()) }.unwrap()
    };
    let again = PackedLinear::from_packed([(shape, shared(bytes.len()))], 64).unwrap();
    assert_eq!(bits(&rows_of(&again)), bits(&rows_of(&weight)));
    let error = PackedLinear::from_packed([(shape, shared(64))], 64)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "PackedShape { format: Q4_0, grouped: None, rows: 45 } of 64 inputs is not 64 packed bytes"
    );
}
