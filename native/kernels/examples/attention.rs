//! Microseconds of `paged_attention` for one layer of SmolLM2-135M (9 heads over 3 KV heads of 64), best of many runs.
//!
//! One thread is measured in its own CPU time, so that other work on the machine matters less; two in time of the clock.
//! Decode: one row a sequence at the context given. Prefill: one sequence, all rows at once. Blocks of 16 tokens in a
//! shuffled order. An argument such as `Bf16 1 64` chooses cases. Batches: single rows at contexts of 128 to 192 through all
//! 30 layers of a pool, so that KV comes from memory as in a step, of which a call is a thirtieth; `Bf16 batch` chooses these.
//! The last column is a digest of the results: builds and thread counts that claim the same bits share it.
//! `cargo run --release --example attention`

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
/// One row a sequence, contexts spread over this range, through as many layers; sets of sequences take turns, this many
/// sequences in all, so that small batches do not find their KV in a cache either.
const BATCHES: [usize; 5] = [1, 4, 16, 32, 64];
const SEQUENCES: usize = 64;
const BATCH_CONTEXTS: (usize, usize) = (128, 192);
const LAYERS: usize = 30;

fn main() {
    println!("{}, best µs of a call", cpu().kernels);
    println!("dtype  case                        1 thread CPU  2 threads  digest");
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
            let case = |threads| Case {
                dtype,
                layers: 1,
                sets: 1,
                rows,
                contexts: vec![context; seqs],
                threads,
            };
            let name = format!("{seqs} x {rows} rows, context {context}");
            print(&name, case);
        }
        for seqs in BATCHES {
            if !format!("{dtype:?} batch {seqs}").contains(&wanted) {
                continue;
            }
            let (low, high) = BATCH_CONTEXTS;
            let case = |threads| Case {
                dtype,
                layers: LAYERS,
                sets: SEQUENCES / seqs,
                rows: 1,
                contexts: (0..seqs).map(|s| low + s * 29 % (high - low)).collect(),
                threads,
            };
            print(&format!("batch {seqs}, {low} to {high}"), case);
        }
    }
}

fn print(name: &str, case: impl Fn(usize) -> Case) {
    let (one, digest) = case(1).measure();
    let (two, digest_of_two) = case(2).measure();
    assert_eq!(digest, digest_of_two, "threads changed the result");
    let dtype = format!("{:?}", case(1).dtype);
    println!("{dtype:5}  {name:27}  {one:8.1}  {two:9.1}  {digest:016x}");
}

struct Case {
    dtype: KvDtype,
    layers: usize,
    /// Sets of sequences that are measured in turns.
    sets: usize,
    /// Of each sequence in the measured call.
    rows: usize,
    /// Of each sequence at the end of it.
    contexts: Vec<usize>,
    threads: usize,
}

impl Case {
    /// Best microseconds of a call, and a digest of the first one's results.
    fn measure(&self) -> (f64, u64) {
        let longest = *self.contexts.iter().max().expect("a sequence");
        let per_seq = longest.div_ceil(BLOCK);
        let num_blocks = self.sets * self.contexts.len() * per_seq;
        let shape = KvLayerShape {
            num_kv_heads: KV_HEADS,
            head_dim: DIM,
            value_dim: DIM,
        };
        let shapes = vec![shape; self.layers];
        let mut kv = KvPool::new(&shapes, self.dtype, BLOCK, num_blocks).expect("a KV pool");
        let frequencies: Vec<f32> = (0..DIM / 2)
            .map(|i| 1e5_f32.powf(-(i as f32) / 32.0))
            .collect();
        let rope = RopeTable::new(&frequencies, 1.0, longest);
        // An odd multiplier permutes the blocks when their number is a power of two, and nearly so otherwise.
        let mut tables: Vec<i32> = (0..num_blocks as i32).collect();
        for i in 0..num_blocks {
            tables.swap(i, i * 7919 % num_blocks);
        }
        let pool = Pool::new(self.threads);
        let mut scratch = Scratch::default();
        let mut run = |set: usize, ranges: &[(usize, usize)]| {
            let tables = &tables[set * ranges.len() * per_seq..];
            let step = Step::new(ranges, tables, per_seq);
            let mut out = vec![1.0; step.positions.len() * HEADS * DIM];
            let began = seconds(self.threads == 1);
            for layer in 0..self.layers {
                let args = step.args(&mut kv, layer, &rope, tables, per_seq);
                paged_attention(args, &mut out, &mut scratch, &pool).expect("indices are in range");
            }
            let spent = (seconds(self.threads == 1) - began) * 1e6 / self.layers as f64;
            (spent, out)
        };
        let last: Vec<_> = (self.contexts.iter())
            .map(|&to| (to - self.rows, to))
            .collect();
        let before: Vec<_> = last.iter().map(|&(from, _)| (0, from)).collect();
        for set in 0..self.sets {
            run(set, &before);
        }
        let start = Instant::now();
        let digest = run(0, &last).1.iter().fold(0, |digest: u64, number| {
            (digest.rotate_left(5) ^ u64::from(number.to_bits()))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let mut best = f64::INFINITY;
        // Set 0 has just been read.
        for set in (0..self.sets).cycle().skip(1) {
            best = best.min(run(set, &last).0);
            if start.elapsed().as_millis() > 150 * self.layers.min(4) as u128 {
                break;
            }
        }
        (best, digest)
    }
}

/// Rows `from..to` of each sequence, as one call takes them.
struct Step {
    qkv: Vec<f32>,
    positions: Vec<i32>,
    slots: Vec<i32>,
    starts: Vec<i32>,
    lengths: Vec<i32>,
}

impl Step {
    fn new(ranges: &[(usize, usize)], tables: &[i32], per_seq: usize) -> Self {
        let (mut positions, mut slots, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for (sequence, &(from, to)) in ranges.iter().enumerate() {
            for position in from..to {
                let block = tables[sequence * per_seq + position / BLOCK];
                positions.push(position as i32);
                slots.push(block * BLOCK as i32 + (position % BLOCK) as i32);
            }
            starts.push(positions.len() as i32);
        }
        Self {
            qkv: (0..positions.len() * (HEADS + 2 * KV_HEADS) * DIM)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
                .collect(),
            positions,
            slots,
            starts,
            lengths: ranges.iter().map(|&(_, to)| to as i32).collect(),
        }
    }

    fn args<'a>(
        &'a self,
        kv: &'a mut KvPool,
        layer: usize,
        rope: &'a RopeTable,
        tables: &'a [i32],
        per_seq: usize,
    ) -> AttentionArgs<'a> {
        AttentionArgs {
            kv,
            layer,
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
            rope: Some(rope),
            qkv: &self.qkv,
            positions: &self.positions,
            slot_mapping: &self.slots,
            query_starts: &self.starts,
            context_lengths: &self.lengths,
            block_tables: tables,
            max_blocks_per_seq: per_seq,
            num_seqs: self.lengths.len(),
            num_tokens: self.positions.len(),
            wanted: None,
        }
    }
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
