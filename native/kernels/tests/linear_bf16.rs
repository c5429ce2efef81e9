//! Weights and activations of bf16: rounding is all that is lost, and every CPU gives the same bits.

mod support;

use ingot_kernels::{Activations, Format, PackedLinear, Part, Pool, use_kernels};
use support::{KERNELS, Random, bits, inputs, run_linear, stored};

#[test]
fn bf16_activations_are_f32_ones_rounded_to_bf16() {
    let pool = Pool::new(2);
    let mut random = Random(31);
    for format in [
        Format::F32,
        Format::BF16,
        Format::Q4_1,
        Format::Q8_0,
        Format::Q6_K,
    ] {
        let (n, k) = (40, inputs(format, 96));
        let (bytes, _) = stored(format, n, k, &mut random);
        let part = Part {
            format,
            rows: n,
            bytes: &bytes,
        };
        let weight = PackedLinear::pack(&[part], k, &pool).unwrap();
        for rows in [1, 9] {
            let x = random.values(rows * k);
            let rounded: Vec<f32> = x
                .iter()
                .map(|value| half::bf16::from_f32(*value).to_f32())
                .collect();
            let expected = run_linear(&weight, &rounded, rows, Activations::F32, &pool);
            let got = run_linear(&weight, &x, rows, Activations::Bf16, &pool);
            assert_eq!(bits(&got), bits(&expected), "{format:?}, {rows} rows");
        }
    }
}

#[test]
fn pairs_of_bf16_that_are_nearly_nothing_have_the_same_bits_on_every_cpu() {
    let pool = Pool::new(1);
    let mut random = Random(35);
    let (n, k, rows) = (33, 64, 7);
    // Magnitudes from subnormals to 2^20, most of them about where weights and activations are taken for nothing.
    let mut tiny = |len: usize, around: i32| -> Vec<f32> {
        let power = |random: &mut Random| match random.below(8) {
            0 => 20 - random.below(160) as i32,
            _ => around + 8 - random.below(16) as i32,
        };
        (0..len)
            .map(|_| random.value() * 2.0_f32.powi(power(&mut random)))
            .collect()
    };
    let bytes: Vec<u8> = tiny(n * k, -62)
        .iter()
        .flat_map(|value| half::bf16::from_f32(*value).to_le_bytes())
        .collect();
    let part = Part {
        format: Format::BF16,
        rows: n,
        bytes: &bytes,
    };
    let weight = PackedLinear::pack(&[part], k, &pool).unwrap();
    let x = tiny(rows * k, -50);
    let mut expected = None;
    for kernels in KERNELS {
        if use_kernels(kernels) {
            let out = bits(&run_linear(&weight, &x, rows, Activations::Int8, &pool));
            assert_eq!(expected.get_or_insert(out.clone()), &out, "{kernels}");
        }
    }
}
