//! Milliseconds of the MLPs of one step, as one job and as three operators in turns: by rows, threads and format.
//!
//! Each layer has weights of its own, so that these come from memory as in a model. Both variants take turns, best of many,
//! because other work on the machine slows whichever runs beside it; one thread is timed in its own CPU time.
//! `cargo run --release --example mlp [-- FORMAT… KxI ROWS… --threads N --layers N --seconds N]`; defaults: Q4_1, SmolLM2-135M,
//! 1 and 2 threads, 30 layers, 1 second each. Formats: Q4_0, Q4_1, Q8_0, Q4_K, Q6_K, BF16.

use std::sync::LazyLock;
use std::time::Instant;

use ingot_kernels::{
    Activations, Format, Gated, GatedMlp, PackedLinear, Part, Pool, Scratch, cpu, gated, gated_mlp,
    linear,
};

const ROWS: [usize; 7] = [1, 4, 8, 16, 32, 128, 512];

struct Layer {
    gate_up: PackedLinear,
    down: PackedLinear,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)?.parse::<usize>().ok()
    };
    let (mut rows, mut formats, mut shape) = (Vec::new(), Vec::new(), (576, 1536));
    let is_value = |at: usize| at > 0 && arguments[at - 1].starts_with("--");
    for (_, text) in arguments
        .iter()
        .enumerate()
        .filter(|(at, _)| !is_value(*at))
    {
        ingot_kernels::use_kernels(text);
        formats.extend(Format::parse(text));
        rows.extend(text.parse::<usize>().ok());
        if let Some((k, inner)) = text.split_once('x') {
            shape = (k.parse().expect("K"), inner.parse().expect("I"));
        }
    }
    if rows.is_empty() {
        rows = ROWS.into();
    }
    if formats.is_empty() {
        formats = vec![Format::Q4_1];
    }
    let threads = after("--threads").map_or(vec![1, 2], |threads| vec![threads]);
    let layers = after("--layers").unwrap_or(30);
    let seconds = after("--seconds").unwrap_or(1) as f64;
    let (k, inner) = shape;
    println!(
        "{}, {layers} layers of {k} → 2 × {inner} → {k}",
        cpu().kernels
    );
    println!("format  threads  rows  apart ms  one ms  ratio  GMAC/s of each");
    for &format in &formats {
        for &threads in &threads {
            let pool = Pool::new(threads);
            let all: Vec<Layer> = (0..layers)
                .map(|_| Layer {
                    gate_up: weight(format, 2 * inner, k, &pool),
                    down: weight(format, k, inner, &pool),
                })
                .collect();
            for &rows in &rows {
                let [apart, one] = measure(&all, rows, seconds, &pool);
                let macs = (layers * rows * 3 * k * inner) as f64 / 1e6;
                println!(
                    "{:6}  {threads:7}  {rows:4}  {apart:8.3}  {one:6.3}  {:5.3}  {:.0} {:.0}",
                    format!("{format:?}"),
                    apart / one,
                    macs / apart,
                    macs / one
                );
            }
        }
    }
}

/// Best milliseconds of all layers once, apart and as one job.
fn measure(layers: &[Layer], rows: usize, seconds: f64, pool: &Pool) -> [f64; 2] {
    let (k, inner) = (layers[0].gate_up.k(), layers[0].down.k());
    let x: Vec<f32> = (0..rows * k)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0)
        .collect();
    let mut out = vec![0.0; rows * k];
    let (mut wide, mut middle) = (vec![0.0; rows * 2 * inner], vec![0.0; rows * inner]);
    let (int8, scratch) = (Activations::Int8, &mut Scratch::default());
    let mut best = [f64::INFINITY; 2];
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        for (at, best) in best.iter_mut().enumerate() {
            let began = clock(pool);
            for Layer { gate_up, down } in layers {
                if at == 0 {
                    linear(gate_up, &x, rows, None, int8, &mut wide, scratch, pool);
                    gated(Gated::SWIGLU, &wide, rows, inner, &mut middle, pool);
                    linear(down, &middle, rows, None, int8, &mut out, scratch, pool);
                    continue;
                }
                let mlp = GatedMlp {
                    gate_up,
                    gate_up_bias: None,
                    unit: Gated::SWIGLU,
                    down,
                    down_bias: None,
                };
                gated_mlp(&mlp, &x, rows, int8, &mut out, scratch, pool);
            }
            *best = best.min((clock(pool) - began) * 1e3);
        }
    }
    best
}

/// Seconds: of this thread's CPU where it works alone.
fn clock(pool: &Pool) -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    #[cfg(unix)]
    if pool.threads() == 1 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: fills the struct it is given; the clock exists on every Unix.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        return time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    }
    START.elapsed().as_secs_f64()
}

/// Any bits do for quants; scales are small numbers, since odd ones would be slower than life.
fn weight(format: Format, n: usize, k: usize, pool: &Pool) -> PackedLinear {
    let row_bytes = k / format.block_weights() * format.block_bytes();
    let mut bytes: Vec<u8> = (0..n * row_bytes).map(|i| ((i * 131) >> 3) as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        let halves: &[usize] = match format {
            Format::Q4_1 | Format::Q4_K => &[0, 2],
            Format::Q6_K => &[208],
            Format::Q4_0 | Format::Q8_0 | Format::BF16 => &[0],
            _ => panic!("{format:?} is not among the formats of this example"),
        };
        for &at in halves {
            block[at..at + 2].copy_from_slice(&0x2400_u16.to_le_bytes());
        }
    }
    let part = Part {
        format,
        rows: n,
        bytes: &bytes,
    };
    PackedLinear::pack(&[part], k, pool).expect("a weight of whole blocks")
}
