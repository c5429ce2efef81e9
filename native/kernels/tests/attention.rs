//! Paged attention: against f64, and the same bits however prompts are cut, batched, placed or threaded.

mod support;

use std::sync::Arc;

use ingot_kernels::{
    AttentionArgs, KvDtype, KvLayerShape, KvPool, Pool, RopeStyle, RopeTable, Scratch,
    paged_attention, use_kernels,
};
use support::{Random, bits};

#[derive(Clone, Copy, Debug)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    value_dim: usize,
}

const fn shape(heads: usize, kv_heads: usize, dim: usize, value_dim: usize) -> Shape {
    Shape {
        heads,
        kv_heads,
        dim,
        value_dim,
    }
}

/// What a model may ask of attention beyond its shape.
#[derive(Clone, Copy, Debug)]
struct Options {
    style: RopeStyle,
    /// Pairs that are rotated, from `rope_offset` on.
    pairs: usize,
    rope_offset: usize,
    window: usize,
    softcap: f32,
    has_sinks: bool,
}

impl Options {
    /// All of the head is rotated, everything is seen.
    fn plain(shape: Shape, style: RopeStyle) -> Self {
        Self {
            style,
            pairs: shape.dim / 2,
            rope_offset: 0,
            window: usize::MAX,
            softcap: 0.0,
            has_sinks: false,
        }
    }
}

/// One sequence: its qkv rows and the physical blocks it was given.
struct Sequence {
    qkv: Vec<f32>,
    blocks: Vec<i32>,
}

const BLOCK: usize = 16;
const MAX_BLOCKS: usize = 40;
const SCALE: f32 = 0.25;

fn frequency(pair: usize) -> f32 {
    1.0 / 1e4_f32.powf(pair as f32 / 8.0)
}

struct World {
    shape: Shape,
    options: Options,
    kv: KvPool,
    rope: RopeTable,
    sinks: Vec<f32>,
    scratch: Scratch,
}

impl World {
    fn new(shape: Shape, dtype: KvDtype, options: Options) -> Self {
        let layer = KvLayerShape {
            num_kv_heads: shape.kv_heads,
            head_dim: shape.dim,
            value_dim: shape.value_dim,
        };
        let frequencies: Vec<f32> = (0..options.pairs).map(frequency).collect();
        Self {
            shape,
            options,
            kv: KvPool::new(&[layer, layer], dtype, BLOCK, 400).unwrap(),
            rope: RopeTable::new(&frequencies, 1.0, MAX_BLOCKS * BLOCK),
            sinks: (0..shape.heads)
                .map(|head| head as f32 * 0.75 - 1.0)
                .collect(),
            scratch: Scratch::default(),
        }
    }

    fn width(&self) -> usize {
        let Shape {
            heads,
            kv_heads,
            dim,
            value_dim,
        } = self.shape;
        (heads + kv_heads) * dim + kv_heads * value_dim
    }

    /// One call with rows `from … to` of each sequence; returns the outputs of each.
    fn step(&mut self, rows: &[(&Sequence, usize, usize)], pool: &Pool) -> Vec<Vec<f32>> {
        let (width, out_width) = (self.width(), self.shape.heads * self.shape.value_dim);
        let (mut qkv, mut positions, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let (mut starts, mut contexts, mut tables) = (vec![0], Vec::new(), Vec::new());
        for (sequence, from, to) in rows {
            qkv.extend_from_slice(&sequence.qkv[from * width..to * width]);
            for position in *from..*to {
                positions.push(position as i32);
                slots.push(
                    sequence.blocks[position / BLOCK] * BLOCK as i32 + (position % BLOCK) as i32,
                );
            }
            starts.push(positions.len() as i32);
            contexts.push(*to as i32);
            let mut table = sequence.blocks.clone();
            table.resize(MAX_BLOCKS, -1);
            tables.extend(table);
        }
        let tokens = positions.len();
        let mut out = vec![f32::NAN; tokens * out_width];
        let args = AttentionArgs {
            kv: &mut self.kv,
            layer: 1,
            num_heads: self.shape.heads,
            num_kv_heads: self.shape.kv_heads,
            head_dim: self.shape.dim,
            value_dim: self.shape.value_dim,
            scale: SCALE,
            window: self.options.window,
            softcap: self.options.softcap,
            sinks: self.options.has_sinks.then_some(&self.sinks),
            rope_style: self.options.style,
            rope: Some(&self.rope),
            rope_offset: self.options.rope_offset,
            qkv: &qkv,
            positions: &positions,
            slot_mapping: &slots,
            query_starts: &starts,
            context_lengths: &contexts,
            block_tables: &tables,
            max_blocks_per_seq: MAX_BLOCKS,
            num_seqs: rows.len(),
            num_tokens: tokens,
        };
        paged_attention(args, &mut out, &mut self.scratch, pool).unwrap();
        starts
            .windows(2)
            .map(|pair| out[pair[0] as usize * out_width..pair[1] as usize * out_width].to_vec())
            .collect()
    }
}

fn sequence(
    len: usize,
    width: usize,
    blocks: impl Iterator<Item = i32>,
    random: &mut Random,
) -> Sequence {
    Sequence {
        qkv: random.values(len * width),
        blocks: blocks.take(len.div_ceil(BLOCK)).collect(),
    }
}

const SHAPES: [Shape; 7] = [
    shape(9, 3, 64, 64),
    shape(4, 4, 16, 16),
    shape(8, 1, 24, 24),
    shape(2, 1, 256, 256),
    shape(6, 2, 8, 8),
    shape(4, 2, 80, 112),
    shape(16, 1, 72, 40),
];

/// Everything a model may ask for, alone and together. Windows end and begin inside, at and across splits of 256.
fn variants(shape: Shape) -> Vec<Options> {
    let plain = Options::plain(shape, RopeStyle::Half);
    let partial = Options {
        pairs: shape.dim / 4,
        rope_offset: shape.dim - shape.dim / 4 * 2,
        ..plain
    };
    vec![
        plain,
        Options::plain(shape, RopeStyle::None),
        Options::plain(shape, RopeStyle::Interleaved),
        partial,
        Options {
            style: RopeStyle::Interleaved,
            rope_offset: 0,
            ..partial
        },
        Options { window: 1, ..plain },
        Options { window: 7, ..plain },
        Options {
            window: 256,
            ..plain
        },
        Options {
            softcap: 3.0,
            ..plain
        },
        Options {
            has_sinks: true,
            ..plain
        },
        Options {
            style: RopeStyle::Interleaved,
            window: 100,
            softcap: 5.0,
            has_sinks: true,
            ..partial
        },
    ]
}

#[test]
fn f32_attention_matches_f64_arithmetic() {
    let pool = Pool::new(2);
    let mut random = Random(11);
    for shape in SHAPES {
        for options in variants(shape) {
            let mut world = World::new(shape, KvDtype::F32, options);
            let len = 300;
            let sequence = sequence(len, world.width(), (0..).map(|i| 7 * i % 400), &mut random);
            let out = world.step(&[(&sequence, 0, len)], &pool).remove(0);
            let worst = worst_error(&world, &sequence, len, &out);
            assert!(worst < 2e-5, "{shape:?} {options:?}: {worst}");
        }
    }
}

/// Numbers of one head of a row as f64: queries, then keys, then values.
fn head_of(world: &World, sequence: &Sequence, row: usize, head: usize) -> Vec<f64> {
    let (shape, options) = (world.shape, world.options);
    let num_rotated = shape.heads + shape.kv_heads;
    let (at, width) = if head < num_rotated {
        (head * shape.dim, shape.dim)
    } else {
        let at = num_rotated * shape.dim + (head - num_rotated) * shape.value_dim;
        (at, shape.value_dim)
    };
    let x: Vec<f64> = sequence.qkv[row * world.width() + at..][..width]
        .iter()
        .map(|&v| f64::from(v))
        .collect();
    let mut y = x.clone();
    if head >= num_rotated || options.style == RopeStyle::None {
        return y;
    }
    for i in 0..options.pairs {
        let (a, b) = if options.style == RopeStyle::Half {
            (i, i + options.pairs)
        } else {
            (2 * i, 2 * i + 1)
        };
        let (a, b) = (a + options.rope_offset, b + options.rope_offset);
        let angle = f64::from(row as f32 * frequency(i));
        y[a] = x[a] * angle.cos() - x[b] * angle.sin();
        y[b] = x[b] * angle.cos() + x[a] * angle.sin();
    }
    y
}

fn worst_error(world: &World, sequence: &Sequence, len: usize, out: &[f32]) -> f64 {
    let (shape, options) = (world.shape, world.options);
    let finish = |score: f64| {
        let cap = f64::from(options.softcap);
        if cap > 0.0 {
            cap * (score / cap).tanh()
        } else {
            score
        }
    };
    let mut worst = 0.0_f64;
    for row in (0..len).step_by(37).chain([len - 1]) {
        let seen = (row + 1).saturating_sub(options.window)..row + 1;
        for h in 0..shape.heads {
            let q = head_of(world, sequence, row, h);
            let kv = h / (shape.heads / shape.kv_heads);
            let mut scores: Vec<f64> = seen
                .clone()
                .map(|t| {
                    let key = head_of(world, sequence, t, shape.heads + kv);
                    finish(f64::from(SCALE) * key.iter().zip(&q).map(|(k, q)| k * q).sum::<f64>())
                })
                .collect();
            if options.has_sinks {
                scores.push(f64::from(world.sinks[h]));
            }
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut expected = vec![0.0; shape.value_dim];
            for (t, weight) in seen.clone().zip(&weights) {
                let value = head_of(world, sequence, t, shape.heads + shape.kv_heads + kv);
                for (sum, value) in expected.iter_mut().zip(value) {
                    *sum += weight * value / total;
                }
            }
            let got = &out[(row * shape.heads + h) * shape.value_dim..][..shape.value_dim];
            for (got, expected) in got.iter().zip(expected) {
                worst = worst.max((f64::from(*got) - expected).abs());
            }
        }
    }
    worst
}

/// Against f64 arithmetic on the numbers before they are rounded: what each KV type costs. Values lie within ±1.
#[test]
fn narrower_kv_stays_within_its_stated_error() {
    let pool = Pool::new(2);
    for (dtype, most) in [
        (KvDtype::F16, 1e-3),
        (KvDtype::Bf16, 1e-2),
        (KvDtype::Int8, 2e-2),
    ] {
        let mut random = Random(16);
        let mut worst = 0.0_f64;
        for shape in SHAPES {
            for options in variants(shape) {
                let mut world = World::new(shape, dtype, options);
                let len = 300;
                let a = sequence(len, world.width(), (0..).map(|i| 7 * i % 400), &mut random);
                let out = world.step(&[(&a, 0, len)], &pool).remove(0);
                worst = worst.max(worst_error(&world, &a, len, &out));
            }
        }
        println!("{dtype:?} KV: largest error {worst:.1e} of values within 1, limit {most:.0e}");
        assert!(worst < most, "{dtype:?}: {worst}");
    }
}

#[test]
fn tiny_and_huge_numbers_have_the_same_bits_on_all_kernels() {
    let pool = Pool::new(1);
    let mut random = Random(17);
    let shape = shape(4, 2, 24, 24);
    for dtype in DTYPES {
        let mut world = World::new(shape, dtype, Options::plain(shape, RopeStyle::Half));
        let mut a = sequence(70, world.width(), 0.., &mut random);
        for number in &mut a.qkv {
            *number *= 10_f32.powi(random.below(44) as i32 - 40);
        }
        let mut results = KERNELS
            .into_iter()
            .filter(|kernels| use_kernels(kernels))
            .map(|kernels| (kernels, bits(&world.step(&[(&a, 0, 70)], &pool).remove(0))));
        let (_, first) = results.next().unwrap();
        for (kernels, other) in results {
            assert_eq!(first, other, "{dtype:?} {kernels}");
        }
    }
}

const DTYPES: [KvDtype; 4] = [KvDtype::F32, KvDtype::F16, KvDtype::Bf16, KvDtype::Int8];
const KERNELS: [&str; 4] = ["scalar", "avx2", "avx512-vnni", "avx512-bf16"];

#[test]
fn chunks_batches_blocks_threads_and_kernels_leave_no_trace() {
    let mut random = Random(12);
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    for shape in SHAPES {
        for dtype in DTYPES {
            // The plain case and all options together.
            for options in [variants(shape)[0], variants(shape)[10]] {
                leaves_no_trace(shape, dtype, options, &pools, &mut random);
            }
        }
    }
}

fn leaves_no_trace(
    shape: Shape,
    dtype: KvDtype,
    options: Options,
    pools: &[Arc<Pool>],
    random: &mut Random,
) {
    let mut world = World::new(shape, dtype, options);
    let len = 530;
    let a = sequence(len, world.width(), 0.., random);
    let whole = world.step(&[(&a, 0, len)], &pools[0]).remove(0);
    for (index, kernels) in KERNELS.into_iter().enumerate() {
        if !use_kernels(kernels) || (kernels == "scalar" && shape.heads > 6) {
            continue;
        }
        for pool in [&pools[index % 3], &pools[(index + 1) % 3]] {
            // Other physical blocks, random cuts, and a neighbour that is at another place of its own prompt.
            let moved = Sequence {
                qkv: a.qkv.clone(),
                blocks: (0..len.div_ceil(BLOCK) as i32)
                    .map(|i| 399 - 3 * i)
                    .collect(),
            };
            let b = sequence(200, world.width(), 100.., random);
            let (mut done, mut b_done, mut out) = (0, 0, Vec::new());
            while done < len {
                let next = (done + 1 + random.below(90)).min(len);
                let b_next = (b_done + 1 + random.below(9)).min(200);
                let mut rows = vec![(&moved, done, next)];
                if b_next > b_done {
                    rows.insert(random.below(2), (&b, b_done, b_next));
                }
                let at = rows
                    .iter()
                    .position(|row| std::ptr::eq(row.0, &moved))
                    .unwrap();
                out.extend(world.step(&rows, pool).swap_remove(at));
                (done, b_done) = (next, b_next);
            }
            let name = format!("{dtype:?} {kernels} {shape:?} {options:?}");
            assert_eq!(bits(&out), bits(&whole), "{name}");
        }
    }
}

#[test]
fn a_long_context_in_parallel_splits_has_the_bits_of_one_thread() {
    let (one, many) = (Pool::new(1), Pool::new(3));
    let mut random = Random(14);
    let shape = shape(4, 1, 16, 16);
    for (index, options) in variants(shape).into_iter().enumerate() {
        let mut world = World::new(shape, DTYPES[index % 4], options);
        let len = MAX_BLOCKS * BLOCK;
        let a = sequence(len, world.width(), 0.., &mut random);
        let whole = world.step(&[(&a, 0, len)], &one).remove(0);
        let width = whole.len() / len;
        for row in [0, 6, 255, 256, 300, 511, 512, 639] {
            let alone = world.step(&[(&a, row, row + 1)], &many).remove(0);
            assert_eq!(
                bits(&alone),
                bits(&whole[row * width..][..width]),
                "{row} {options:?}"
            );
        }
    }
}

#[test]
fn keys_outside_of_the_window_have_no_influence_at_all() {
    let shape = shape(4, 2, 16, 16);
    let options = Options {
        window: 41,
        ..Options::plain(shape, RopeStyle::Half)
    };
    let pool = Pool::new(2);
    let mut random = Random(15);
    for dtype in DTYPES {
        let mut world = World::new(shape, dtype, options);
        let mut a = sequence(400, world.width(), 0.., &mut random);
        let clean = world.step(&[(&a, 0, 400)], &pool).remove(0);
        let width = world.width();
        a.qkv[..300 * width].fill(f32::NAN);
        let out = world.step(&[(&a, 0, 400)], &pool).remove(0);
        let seen = 340 * shape.heads * shape.value_dim;
        assert_eq!(bits(&out[seen..]), bits(&clean[seen..]), "{dtype:?}");
        assert!(out[seen - 1].is_nan());
    }
}

#[test]
fn indices_outside_the_pool_are_refused() {
    let shape = shape(2, 1, 16, 16);
    let layer = KvLayerShape {
        num_kv_heads: 1,
        head_dim: 16,
        value_dim: 16,
    };
    let mut kv = KvPool::new(&[layer], KvDtype::F32, BLOCK, 4).unwrap();
    let pool = Pool::new(1);
    let qkv = vec![0.0; 2 * 64];
    let mut attempt =
        |positions: [i32; 2], slots: [i32; 2], starts: [i32; 2], context: i32, table: [i32; 2]| {
            let args = AttentionArgs {
                kv: &mut kv,
                layer: 0,
                num_heads: shape.heads,
                num_kv_heads: 1,
                head_dim: 16,
                value_dim: 16,
                scale: 1.0,
                window: usize::MAX,
                softcap: 0.0,
                sinks: None,
                rope_style: RopeStyle::None,
                rope: None,
                rope_offset: 0,
                qkv: &qkv,
                positions: &positions,
                slot_mapping: &slots,
                query_starts: &starts,
                context_lengths: &[context],
                block_tables: &table,
                max_blocks_per_seq: 2,
                num_seqs: 1,
                num_tokens: 2,
            };
            paged_attention(args, &mut [0.0; 64], &mut Scratch::default(), &pool)
        };
    assert!(attempt([0, 1], [0, 1], [0, 2], 2, [0, -1]).is_ok());
    assert!(attempt([0, 1], [-1, -1], [0, 2], 2, [0, -1]).is_ok());
    assert!(attempt([0, 1], [5, 5], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([0, 1], [5, -1], [0, 2], 2, [0, -1]).is_ok());
    assert!(attempt([0, 1], [0, 64], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([0, 1], [-2, 1], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([1, 1], [0, 1], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([0, 16], [0, 16], [0, 2], 17, [0, -1]).is_err());
    assert!(attempt([0, 16], [0, 16], [0, 2], 17, [0, 4]).is_err());
    assert!(attempt([0, 32], [0, 16], [0, 2], 33, [0, 1]).is_err());
    assert!(attempt([0, 1], [0, 1], [0, 3], 2, [0, 1]).is_err());
    assert!(attempt([0, 1], [0, 1], [0, 2], 1, [0, 1]).is_err());
}

#[test]
fn a_key_that_is_not_a_number_spoils_the_rows_that_see_it_and_no_other() {
    let shape = SHAPES[0];
    let pool = Pool::new(2);
    let mut random = Random(13);
    for dtype in DTYPES {
        let mut world = World::new(shape, dtype, Options::plain(shape, RopeStyle::Half));
        let len = 40;
        let mut spoilt = sequence(len, world.width(), 0.., &mut random);
        let clean = world.step(&[(&spoilt, 0, len)], &pool).remove(0);
        let key = 21 * world.width() + shape.heads * shape.dim + 3;
        spoilt.qkv[key] = f32::NAN;
        let out = world.step(&[(&spoilt, 0, len)], &pool).remove(0);
        let width = shape.heads * shape.dim;
        assert_eq!(bits(&out[..21 * width]), bits(&clean[..21 * width]));
        let group = shape.heads / shape.kv_heads * shape.dim;
        for row in out[21 * width..].chunks_exact(width) {
            assert!(row[..group].iter().all(|x| x.is_nan()), "{dtype:?}");
            assert!(row[group..].iter().all(|x| x.is_finite()), "{dtype:?}");
        }
    }
}
