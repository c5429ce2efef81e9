//! Block formats: sizes, and values with the bits that the Python package `gguf` gives them.

mod support;

use ingot_kernels::{Format, PackedLinear, Part, Pool};
use support::bits;

/// `tests/vectors/make_gguf_blocks.py` made it, and makes larger ones for INGOT_GGUF_BLOCKS.
fn vectors() -> String {
    let path = std::env::var("INGOT_GGUF_BLOCKS").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/gguf_blocks.txt").to_owned()
    });
    std::fs::read_to_string(path).expect("a readable file of blocks")
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hex") as u8;
    hex.as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[test]
fn every_block_format_has_the_values_of_the_gguf_package_stored_and_packed() {
    let pool = Pool::new(2);
    let mut seen = Vec::new();
    for line in vectors().lines() {
        let [name, bytes, values] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("three fields a line");
        };
        let format = Format::parse(name).expect("a format of ours");
        let bytes = bytes_of(bytes);
        let expected: Vec<u32> = bytes_of(values)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        let mut values = vec![0.0; expected.len()];
        format.dequantise_into(&bytes, &mut values);
        assert!(bits(&values) == expected, "{name} as stored");
        let k = 256;
        let rows = expected.len() / k;
        let bytes = &bytes;
        let part = Part {
            format,
            rows,
            bytes,
        };
        let weight = PackedLinear::pack(&[part], k, &pool).unwrap();
        for (row, values) in values.chunks_exact_mut(k).enumerate() {
            weight.row_into(row, values);
        }
        assert!(bits(&values) == expected, "{name} packed");
        seen.push(name.to_owned());
    }
    let wanted = Format::ALL
        .into_iter()
        .filter(|format| format.block_weights() > 1);
    assert!(wanted.eq(seen.iter().filter_map(|name| Format::parse(name))));
}

#[test]
fn names_and_block_sizes_are_those_of_the_products_format_table() {
    // src/base/tensor-format.ts, in its order.
    let table = [
        ("F32", 1, 4),
        ("F16", 1, 2),
        ("BF16", 1, 2),
        ("Q4_0", 32, 18),
        ("Q4_1", 32, 20),
        ("Q5_0", 32, 22),
        ("Q5_1", 32, 24),
        ("Q8_0", 32, 34),
        ("Q2_K", 256, 84),
        ("Q3_K", 256, 110),
        ("Q4_K", 256, 144),
        ("Q5_K", 256, 176),
        ("Q6_K", 256, 210),
        ("IQ4_NL", 32, 18),
        ("IQ4_XS", 256, 136),
        ("TQ1_0", 256, 54),
        ("TQ2_0", 256, 66),
        ("MXFP4", 32, 17),
    ];
    assert_eq!(table.len(), Format::ALL.len());
    for (format, (name, weights, bytes)) in Format::ALL.into_iter().zip(table) {
        assert_eq!(Format::parse(name), Some(format));
        assert_eq!(format!("{format:?}"), name);
        assert_eq!(format.block_weights(), weights, "{name}");
        assert_eq!(format.block_bytes(), bytes, "{name}");
    }
    assert_eq!(Format::parse("Q4_K_M"), None);
}

#[test]
fn packed_weights_take_about_what_is_stored() {
    let pool = Pool::new(1);
    // Bits a weight, packed, of 64 columns and 768 inputs.
    let expected = [
        (Format::Q5_1, 6.0),
        (Format::Q2_K, 3.125),
        (Format::Q3_K, 3.5625),
        (Format::Q4_K, 4.625),
        (Format::Q5_K, 5.625),
        (Format::Q6_K, 6.5625),
        (Format::IQ4_NL, 4.5),
        (Format::IQ4_XS, 4.3125),
        (Format::TQ1_0, 2.0625),
        (Format::TQ2_0, 2.0625),
        (Format::MXFP4, 4.25),
    ];
    for (format, bits) in expected {
        let (rows, k) = (64, 768);
        let bytes = vec![0; rows * k / format.block_weights() * format.block_bytes()];
        let part = Part {
            format,
            rows,
            bytes: &bytes,
        };
        let weight = PackedLinear::pack(&[part], k, &pool).unwrap();
        let held = (weight.bytes() * 8) as f64 / (rows * k) as f64;
        assert_eq!(held, bits, "{format:?}");
    }
}
