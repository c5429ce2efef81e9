//! Microseconds of `paged_attention` for one layer of SmolLM2-135M (9 heads over 3 KV heads of 64), best of many runs.
//!
//! One thread is measured in its own CPU time, so that other work on the machine matters less; two in time of the clock.
//! Decode: one row a sequence at the context given. Prefill: one sequence, all rows at once. Blocks of 16 tokens in a
//! shuffled order. An argument such as `Bf16 1 64` chooses cases. `cargo run --release --example attention`

use std::sync::LazyLock;
use std::time::Instant;

use ingot_kernels::{
    AttentionArgs, KvDtype, KvLayerShape, KvPool, Pool, RopeStyle, RopeTable, Scratch, cpu,
    paged_attention,
};

const HEADS: usize = 9;
const KV_HEADS: usize = 3;
const DIM: usize = 64;
const BLOCK: usize = 16;

fn main() {
    println!("{}, best µs of a call", cpu().kernels);
    println!("dtype  case                        1 thread CPU  2 threads");
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for dtype in [KvDtype::F32, KvDtype::F16, KvDtype::Bf16, KvDtype::Int8] {
        for (seqs, rows, context) in [
            (1, 1, 128),
            (1, 1, 512),
            (1, 1, 4096),
            (4, 1, 512),
            (16, 1, 512),
            (1, 64, 64),
            (1, 512, 512),
            (1, 512, 4096),
            (1, 1, 8192),
            (8, 1, 8192),
        ] {
            if !format!("{dtype:?} {seqs} {rows} {context}").contains(&wanted) {
                continue;
            }
            let name = format!("{seqs} x {rows} rows, context {context}");
            println!(
                "{:5}  {name:27}  {:8.1}  {:9.1}",
                format!("{dtype:?}"),
                measure(dtype, seqs, rows, context, 1),
                measure(dtype, seqs, rows, context, 2)
            );
        }
    }
}

fn measure(dtype: KvDtype, seqs: usize, rows: usize, context: usize, threads: usize) -> f64 {
    let per_seq = context.div_ceil(BLOCK);
    let num_blocks = seqs * per_seq;
    let shape = KvLayerShape {
        num_kv_heads: KV_HEADS,
        head_dim: DIM,
        value_dim: DIM,
    };
    let mut kv = KvPool::new(&[shape], dtype, BLOCK, num_blocks).expect("a KV pool");
    let frequencies: Vec<f32> = (0..DIM / 2)
        .map(|i| 1e5_f32.powf(-(i as f32) / 32.0))
        .collect();
    let rope = RopeTable::new(&frequencies, 1.0, context);
    // An odd multiplier permutes the blocks when their number is a power of two, and nearly so otherwise.
    let mut tables: Vec<i32> = (0..num_blocks as i32).collect();
    for i in 0..num_blocks {
        tables.swap(i, i * 7919 % num_blocks);
    }
    let pool = Pool::new(threads);
    let mut scratch = Scratch::default();
    let mut run = |from: usize, to: usize| {
        let count = to - from;
        let tokens = seqs * count;
        let qkv: Vec<f32> = (0..tokens * (HEADS + 2 * KV_HEADS) * DIM)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
            .collect();
        let positions: Vec<i32> = (0..tokens).map(|t| (from + t % count) as i32).collect();
        let slots: Vec<i32> = (0..tokens)
            .map(|t| {
                let position = positions[t] as usize;
                tables[t / count * per_seq + position / BLOCK] * BLOCK as i32
                    + (position % BLOCK) as i32
            })
            .collect();
        let starts: Vec<i32> = (0..=seqs).map(|s| (s * count) as i32).collect();
        let lengths = vec![to as i32; seqs];
        let mut out = vec![1.0; tokens * HEADS * DIM];
        let began = seconds(threads == 1);
        let args = AttentionArgs {
            kv: &mut kv,
            layer: 0,
            num_heads: HEADS,
            num_kv_heads: KV_HEADS,
            head_dim: DIM,
            value_dim: DIM,
            scale: 0.125,
            window: usize::MAX,
            softcap: 0.0,
            sinks: None,
            rope_offset: 0,
            rope_style: RopeStyle::Half,
            rope: Some(&rope),
            qkv: &qkv,
            positions: &positions,
            slot_mapping: &slots,
            query_starts: &starts,
            context_lengths: &lengths,
            block_tables: &tables,
            max_blocks_per_seq: per_seq,
            num_seqs: seqs,
            num_tokens: tokens,
            wanted: None,
        };
        paged_attention(args, &mut out, &mut scratch, &pool).expect("indices are in range");
        (seconds(threads == 1) - began) * 1e6
    };
    if context > rows {
        run(0, context - rows);
    }
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed().as_millis() < 150 {
        best = best.min(run(context - rows, context));
    }
    best
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Of this thread's CPU, or of the clock.
fn seconds(is_cpu: bool) -> f64 {
    #[cfg(unix)]
    if is_cpu {
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
