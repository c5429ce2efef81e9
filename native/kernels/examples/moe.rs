//! Milliseconds of one mixture of experts, by experts, chosen experts and rows: its cost must follow what is chosen.
//!
//! Random rows each step, so that chosen weights come from memory when there are many. Variants take turns, best of many,
//! because other work on the machine slows whichever runs beside it.
//! `cargo run --release --example moe [-- THREADS]`

use std::sync::Arc;
use std::time::Instant;

use ingot_kernels::{
    Activations, Expert, Format, Gated, PackedLinear, Part, Pool, Router, Scoring, Scratch, moe,
};

const WIDTH: usize = 1024;
const INNER: usize = 512;
const ROUNDS: usize = 40;
/// Experts there are, and experts a row goes through.
const VARIANTS: [(usize, usize); 6] = [(8, 2), (32, 2), (128, 2), (128, 4), (128, 8), (8, 8)];
const ROWS: [usize; 3] = [1, 16, 128];

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5
    }
}

fn matrix(n: usize, k: usize, noise: &mut Noise, pool: &Pool) -> Arc<PackedLinear> {
    let blocks = n * k / 32;
    let bytes: Vec<u8> = (0..blocks)
        .flat_map(|_| {
            let quants: Vec<u8> = (0..32)
                .map(|_| (noise.next() * 255.0) as i8 as u8)
                .collect();
            // 0.001 as f16.
            [0x19, 0x14].into_iter().chain(quants)
        })
        .collect();
    let part = Part {
        format: Format::Q8_0,
        rows: n,
        bytes: &bytes,
    };
    Arc::new(PackedLinear::pack(&[part], k, pool).expect("whole blocks"))
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let pool = Pool::new(threads.unwrap_or(2));
    let mut noise = Noise(7);
    let experts: Vec<Expert> = (0..128)
        .map(|_| Expert {
            gate_up: matrix(2 * INNER, WIDTH, &mut noise, &pool),
            gate_up_bias: None,
            down: matrix(WIDTH, INNER, &mut noise, &pool),
            down_bias: None,
        })
        .collect();
    let mut scratch = Scratch::default();
    println!(
        "experts of [{WIDTH}, {INNER}] in Q8_0, int8 activations, {} threads",
        pool.threads()
    );
    println!("rows  experts  chosen  best ms  ms a chosen expert");
    for rows in ROWS {
        let mut best = [f64::INFINITY; VARIANTS.len()];
        for _ in 0..ROUNDS {
            for (variant, &(num_experts, top_k)) in VARIANTS.iter().enumerate() {
                let router = Router {
                    num_experts,
                    top_k,
                    scoring: Scoring::Softmax,
                    normalise: true,
                    scale: 1.0,
                    correction: None,
                    groups: 1,
                    top_groups: 1,
                };
                let x: Vec<f32> = (0..rows * WIDTH).map(|_| noise.next()).collect();
                let logits: Vec<f32> = (0..rows * num_experts).map(|_| noise.next()).collect();
                let mut out = vec![0.0; x.len()];
                let start = Instant::now();
                moe(
                    &experts[..num_experts],
                    Gated::SWIGLU,
                    &router,
                    &x,
                    &logits,
                    rows,
                    Activations::Int8,
                    &mut out,
                    &mut scratch,
                    &pool,
                );
                best[variant] = best[variant].min(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        for (&(num_experts, top_k), ms) in VARIANTS.iter().zip(best) {
            let each = ms / top_k as f64;
            println!("{rows:4}  {num_experts:7}  {top_k:6}  {ms:7.3}  {each:7.3}");
        }
    }
}
