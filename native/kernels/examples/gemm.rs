//! GMAC/s of `linear` on the shapes of SmolLM2-135M and one of a larger model: best of many runs, by rows, threads, format
//! and cache state. Shapes that are not whole blocks of a format are passed over.
//!
//! warm: one weight, again and again. cold: as many copies in rotation as fill 128 MB, so weights come from memory.
//! `cargo run --release --example gemm [-- FORMAT… KxN… ROWS…]`; formats default to Q4_1, Q4_0 and Q8_0. `--f32` and `--bf16` take
//! such activations; `avx2`, `scalar` or `avx512-vnni` (without bf16 dot products) take those kernels.

use std::time::Instant;

use ingot_kernels::{Activations, Format, PackedLinear, Part, Pool, Scratch, cpu, linear};

const SHAPES: [(usize, usize); 5] = [
    (576, 960),
    (576, 3072),
    (1536, 576),
    (2048, 2048),
    (576, 49_152),
];
const ROWS: [usize; 5] = [1, 4, 16, 64, 512];
const COLD_BYTES: usize = 128 << 20;
const ROUNDS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for name in &arguments {
        // A kernel family's name selects it, where the CPU has it.
        ingot_kernels::use_kernels(name);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let activations = match (has("--f32"), has("--bf16")) {
        (true, _) => Activations::F32,
        (_, true) => Activations::Bf16,
        _ => Activations::Int8,
    };
    let number = |text: &str| text.parse::<usize>().ok();
    let mut row_counts: Vec<_> = arguments.iter().filter_map(|text| number(text)).collect();
    if row_counts.is_empty() {
        row_counts = ROWS.into();
    }
    let shape = |text: &String| {
        let (k, n) = text.split_once('x')?;
        Some((number(k)?, number(n)?))
    };
    let mut shapes: Vec<_> = arguments.iter().filter_map(shape).collect();
    if shapes.is_empty() {
        shapes = SHAPES.into();
    }
    let mut formats: Vec<_> = arguments
        .iter()
        .filter_map(|name| Format::parse(name))
        .collect();
    if formats.is_empty() {
        formats = vec![Format::Q4_1, Format::Q4_0, Format::Q8_0];
    }
    println!(
        "{} {:?}, {activations:?} activations",
        cpu().kernels,
        cpu().features
    );
    println!("format  KxN         T    warm1  warm2  cold1  cold2   GMAC/s");
    for format in formats {
        for &(k, n) in &shapes {
            let is_whole = k.is_multiple_of(format.block_weights());
            if !is_whole || (n == 49_152 && !matches!(format, Format::Q8_0 | Format::BF16)) {
                continue;
            }
            for &rows in &row_counts {
                if n == 49_152 && rows > 64 {
                    continue;
                }
                let rate =
                    |threads, bytes| measure(format, k, n, rows, threads, bytes, activations);
                println!(
                    "{:6}  {:10}  {rows:3}  {:6.0} {:6.0} {:6.0} {:6.0}",
                    format!("{format:?}"),
                    format!("{k}x{n}"),
                    rate(1, 1),
                    rate(2, 1),
                    rate(1, COLD_BYTES),
                    rate(2, COLD_BYTES)
                );
            }
        }
    }
}

fn measure(
    format: Format,
    k: usize,
    n: usize,
    rows: usize,
    threads: usize,
    bytes: usize,
    activations: Activations,
) -> f64 {
    let pool = Pool::new(threads);
    let first = weight(format, n, k, &pool);
    let copies = (bytes / first.bytes()).max(1);
    let mut weights = vec![first];
    weights.extend((1..copies).map(|_| weight(format, n, k, &pool)));
    let x: Vec<f32> = (0..rows * k)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0)
        .collect();
    let mut out = vec![0.0; rows * n];
    let mut scratch = Scratch::default();
    // Each copy's best call of several rounds: a call is short, so that some fall between other processes' turns.
    let mut best = vec![f64::INFINITY; copies];
    let (start, mut rounds) = (Instant::now(), 0);
    while rounds < ROUNDS || start.elapsed().as_millis() < 150 {
        for (weight, best) in weights.iter().zip(&mut best) {
            let began = Instant::now();
            linear(
                weight,
                &x,
                rows,
                None,
                activations,
                &mut out,
                &mut scratch,
                &pool,
            );
            *best = best.min(began.elapsed().as_secs_f64());
        }
        rounds += 1;
    }
    (rows * k * n * copies) as f64 / best.iter().sum::<f64>() / 1e9
}

/// Any bits do for quants; scales are small numbers, since odd ones would be slower than life.
fn weight(format: Format, n: usize, k: usize, pool: &Pool) -> PackedLinear {
    let row_bytes = k / format.block_weights() * format.block_bytes();
    let mut bytes: Vec<u8> = (0..n * row_bytes).map(|i| ((i * 131) >> 3) as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        let halves: &[usize] = match format {
            Format::F32 | Format::MXFP4 => &[],
            Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
            Format::Q2_K => &[80, 82],
            Format::Q3_K => &[108],
            Format::Q6_K => &[208],
            Format::TQ1_0 => &[52],
            Format::TQ2_0 => &[64],
            _ => &[0],
        };
        for &at in halves {
            block[at..at + 2].copy_from_slice(&0x2400_u16.to_le_bytes());
        }
        if format == Format::MXFP4 {
            block[0] = 118;
        }
    }
    let part = Part {
        format,
        rows: n,
        bytes: &bytes,
    };
    PackedLinear::pack(&[part], k, pool).expect("a weight of whole blocks")
}
