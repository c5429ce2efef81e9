//! Quantized safetensors weights: exact values from every layout, and kernels that agree with them and with each other.

mod support;

use ingot_kernels::{
    Activations, Format, PackedLinear, Part, Pool, Quantized, Recode, Scratch, SharedBytes, Source,
    linear, use_kernels,
};
use support::quantized::{Owned, awq, bytes, float8, gptq, packed, table};
use support::{KERNELS, Random, bits};

/// Every layout, with sizes that have a packed form and some that have none.
fn everything(random: &mut Random) -> Vec<Owned> {
    let mut all = Vec::new();
    for bits in [2, 3, 4, 8] {
        all.push(gptq(bits, (64, 128, 32), true, false, random));
        all.push(gptq(bits, (96, 256, 64), false, true, random));
        all.push(gptq(bits, (32, 96, 96), false, false, random));
    }
    all.push(gptq(4, (40, 256, 128), true, true, random));
    all.push(gptq(4, (32, 64, 16), false, true, random));
    all.push(gptq(4, (32, 48, 24), false, false, random));
    all.push(awq((72, 256, 128), random));
    all.push(awq((32, 64, 64), random));
    for bits in 2..=8 {
        all.push(packed(bits, (45, 128, 64), true, random));
        all.push(packed(bits, (45, 128, 32), false, random));
    }
    all.push(packed(4, (33, 160, 160), false, random));
    all.push(packed(4, (33, 44, 44), true, random));
    for is_symmetric in [true, false] {
        all.push(bytes((37, 160, 160), is_symmetric, random));
        all.push(bytes((37, 256, 128), is_symmetric, random));
    }
    all.push(float8((50, 256, 128), random));
    all.push(float8((50, 160, 128), random));
    all.push(float8((31, 72, 72), random));
    for is_nested in [false, true] {
        all.push(table((64, 256, 64), is_nested, random));
        all.push(table((33, 96, 64), is_nested, random));
        all.push(table((6, 40, 64), is_nested, random));
    }
    all
}

fn pack(stored: &Owned, pool: &Pool) -> PackedLinear {
    let checked = Quantized::new(stored.view()).unwrap();
    PackedLinear::pack_sources(&[Source::Quantized(checked)], &[None], stored.k, pool).unwrap()
}

fn dense(stored: &Owned, pool: &Pool) -> PackedLinear {
    let bytes: Vec<u8> = stored
        .values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let part = Part {
        format: Format::F32,
        rows: stored.rows,
        bytes: &bytes,
    };
    PackedLinear::pack(&[part], stored.k, pool).unwrap()
}

fn run(weight: &PackedLinear, x: &[f32], activations: Activations, pool: &Pool) -> Vec<f32> {
    let rows = x.len() / weight.k();
    let mut out = vec![f32::NAN; rows * weight.n()];
    let scratch = &mut Scratch::default();
    linear(weight, x, rows, None, activations, &mut out, scratch, pool);
    out
}

#[test]
fn every_layout_gives_the_weights_that_its_definition_says() {
    let pool = Pool::new(2);
    for (at, stored) in everything(&mut Random(1)).iter().enumerate() {
        let name = format!("{} {at}: {} × {}", stored.name, stored.rows, stored.k);
        let checked = Quantized::new(stored.view()).unwrap();
        let weight = pack(stored, &pool);
        let (mut codes, mut values) = (vec![0; stored.k], vec![0.0; stored.k]);
        for row in 0..stored.rows {
            let expected = bits(&stored.values[row * stored.k..][..stored.k]);
            checked.row_into(row, &mut codes, &mut values);
            assert_eq!(bits(&values), expected, "{name}, row {row} of the file");
            weight.row_into(row, &mut values);
            assert_eq!(bits(&values), expected, "{name}, row {row} packed");
        }
    }
}

#[test]
fn codes_are_kept_where_there_is_a_form_for_them() {
    let pool = Pool::new(1);
    let mut random = Random(2);
    let bytes_of = |stored: Owned| pack(&stored, &pool).bytes();
    let weights = 64 * 512;
    // Half a byte a weight, and for each group of 128 four bytes of scale and one of zero point.
    let of_groups = weights / 128 * 5;
    let size = (64, 512, 128);
    assert_eq!(
        bytes_of(gptq(4, size, true, false, &mut random)),
        weights / 2 + of_groups
    );
    assert_eq!(
        bytes_of(gptq(4, size, true, true, &mut random)),
        weights / 2 + of_groups + 512 * 4
    );
    assert_eq!(
        bytes_of(packed(4, size, true, &mut random)),
        weights / 2 + weights / 128 * 4
    );
    assert_eq!(
        bytes_of(float8(size, &mut random)),
        weights + weights / 128 * 4
    );
}

#[test]
fn f32_activations_give_the_bits_of_the_weights_written_out_as_f32() {
    let pool = Pool::new(2);
    let mut random = Random(3);
    for (at, stored) in everything(&mut Random(4)).iter().enumerate() {
        let (weight, reference) = (pack(stored, &pool), dense(stored, &pool));
        let x = random.values(9 * stored.k);
        let out = run(&weight, &x, Activations::F32, &pool);
        let expected = run(&reference, &x, Activations::F32, &pool);
        assert_eq!(bits(&out), bits(&expected), "{} {at}", stored.name);
    }
}

#[test]
fn int8_activations_lose_only_what_rounding_them_loses() {
    let pool = Pool::new(2);
    let mut random = Random(5);
    for (at, stored) in everything(&mut Random(6)).iter().enumerate() {
        let k = stored.k;
        // Whole multiples of one scale in each block of 32 are rounded to themselves, in whatever order.
        let x: Vec<f32> = (0..7 * k)
            .map(|at| match at % 32 {
                _ if random.below(2) == 0 => 1.0,
                _ => -1.0,
            })
            .collect();
        let out = run(&pack(stored, &pool), &x, Activations::Int8, &pool);
        for (y, got) in out.iter().enumerate() {
            let (row, column) = (y / stored.rows, y % stored.rows);
            let terms = (0..k)
                .map(|i| f64::from(x[row * k + i]) * f64::from(stored.values[column * k + i]));
            let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), term: f64| {
                (sum + term, size + term.abs())
            });
            assert!(
                (f64::from(*got) - exact).abs() <= 2e-6 * size + 1e-9,
                "{} {at}: {got} {exact}",
                stored.name
            );
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_in_any_batch_on_any_threads_and_kernels() {
    let mut random = Random(7);
    let pools = [Pool::new(1), Pool::new(3)];
    let k = 256;
    let parts = [
        gptq(4, (40, k, 128), true, true, &mut random),
        gptq(8, (32, k, 64), false, true, &mut random),
        gptq(3, (32, k, 32), false, false, &mut random),
        awq((40, k, 128), &mut random),
        packed(8, (33, k, k), true, &mut random),
        bytes((20, k, 128), false, &mut random),
        float8((50, k, 128), &mut random),
        table((50, k, 64), true, &mut random),
    ];
    let sources: Vec<_> = parts
        .iter()
        .map(|part| Source::Quantized(part.view()))
        .collect();
    let recodes = vec![None; sources.len()];
    let weight = PackedLinear::pack_sources(&sources, &recodes, k, &pools[0]).unwrap();
    let x = random.values(31 * k);
    for activations in [Activations::F32, Activations::Int8] {
        let alone: Vec<f32> = x
            .chunks(k)
            .flat_map(|row| run(&weight, row, activations, &pools[0]))
            .collect();
        for kernels in KERNELS {
            if !use_kernels(kernels) {
                println!("this CPU has no {kernels}");
                continue;
            }
            for pool in &pools {
                for rows in [1, 2, 3, 4, 5, 6, 7, 8, 13, 31] {
                    let out = run(&weight, &x[..rows * k], activations, pool);
                    let expected = &alone[..rows * weight.n()];
                    assert_eq!(
                        bits(&out),
                        bits(expected),
                        "{activations:?} {kernels} {rows}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_packed_weight_comes_back_from_its_bytes() {
    let pool = Pool::new(1);
    let stored = gptq(4, (40, 256, 128), true, true, &mut Random(8));
    let weight = std::sync::Arc::new(pack(&stored, &pool));
    let parts: Vec<_> = weight
        .packed_parts()
        .map(|(shape, bytes)| {
            // SAFETY: the weight owns the bytes, never changes them, and is kept.
            (
                shape,
                unsafe { SharedBytes::new(bytes, weight.clone()) }.unwrap(),
            )
        })
        .collect();
    let again = PackedLinear::from_packed(parts, 256).unwrap();
    let (mut before, mut after) = (vec![0.0; 256], vec![0.0; 256]);
    for row in 0..40 {
        weight.row_into(row, &mut before);
        again.row_into(row, &mut after);
        assert_eq!(bits(&before), bits(&after));
    }
}

#[test]
fn a_quantized_weight_can_be_written_in_another_format_on_load() {
    let pool = Pool::new(1);
    let stored = gptq(4, (40, 256, 128), true, true, &mut Random(9));
    let sources = [Source::Quantized(stored.view())];
    let recode = Recode::new(Format::BF16, None).unwrap();
    let weight = PackedLinear::pack_sources(&sources, &[Some(recode)], 256, &pool).unwrap();
    let mut values = vec![0.0; 256];
    weight.row_into(7, &mut values);
    let rounded = |value: &f32| half::bf16::from_f32(*value).to_f32();
    let expected: Vec<f32> = stored.values[7 * 256..8 * 256]
        .iter()
        .map(rounded)
        .collect();
    assert_eq!(bits(&values), bits(&expected));
}

#[test]
fn what_is_wrong_with_a_quantized_weight_is_said() {
    let stored = gptq(4, (40, 256, 128), true, true, &mut Random(10));
    let good = stored.view();
    let refused = |changed: Quantized<'_>| Quantized::new(changed).unwrap_err().0;
    let groups = [9_i32; 256].map(i32::to_le_bytes).concat();
    let changed = Quantized {
        group_of_input: Some(&groups),
        ..good
    };
    assert_eq!(
        refused(changed),
        "groups of inputs: input 0 is in group 9, but there are groups 0 to 1"
    );
    let negative = [-1_i32; 256].map(i32::to_le_bytes).concat();
    let changed = Quantized {
        group_of_input: Some(&negative),
        ..good
    };
    assert!(refused(changed).contains("group -1"));
    let changed = Quantized {
        group_of_input: Some(&groups[4..]),
        ..good
    };
    assert!(refused(changed).contains("1020 bytes, expected 1024"));
    assert!(refused(Quantized { rows: 41, ..good }).contains("codes"));
    assert!(refused(Quantized { k: 264, ..good }).contains("codes"));
    assert!(refused(Quantized { k: 0, ..good }).contains("inputs"));
    assert!(refused(Quantized { group: 64, ..good }).contains("zero points"));
    let infinite = packed(4, (8, 64, 64), true, &mut Random(11));
    let mut view = infinite.view();
    let scales = [0xff; 32];
    if let ingot_kernels::Scales::Grid { numbers, .. } = &mut view.scales {
        *numbers = ingot_kernels::Numbers::Dense(Format::F32, &scales);
    }
    assert_eq!(refused(view), "scales: NaN for row 0, group 0");
}

#[test]
fn an_e4m3_that_is_not_a_number_is_refused() {
    let pool = Pool::new(2);
    for k in [64, 40] {
        let mut stored = float8((3, k, k), &mut Random(12));
        stored.codes[2 * k + 5] = 0xff;
        let source = Source::Quantized(Quantized::new(stored.view()).unwrap());
        let refused = PackedLinear::pack_sources(&[source], &[None], k, &pool);
        assert!(refused.is_err_and(|error| error.0.contains("not a number")));
    }
}
