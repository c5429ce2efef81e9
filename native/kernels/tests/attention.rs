//! Paged attention: against f64, and the same bits however prompts are cut, batched, placed or threaded.

mod support;

use ingot_kernels::{
    AttentionArgs, KvDtype, KvLayerShape, KvPool, Pool, RopeStyle, RopeTable, Scratch,
    paged_attention, use_kernels,
};
use support::{Random, bits};

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    dim: usize,
}

/// One sequence: its qkv rows and the physical blocks it was given.
struct Sequence {
    qkv: Vec<f32>,
    blocks: Vec<i32>,
}

const BLOCK: usize = 16;
const MAX_BLOCKS: usize = 40;

struct World {
    shape: Shape,
    kv: KvPool,
    rope: RopeTable,
    style: RopeStyle,
    scratch: Scratch,
}

impl World {
    fn new(shape: Shape, dtype: KvDtype, style: RopeStyle) -> Self {
        let layer = KvLayerShape {
            num_kv_heads: shape.kv_heads,
            head_dim: shape.dim,
        };
        let frequencies: Vec<f32> = (0..shape.dim / 2)
            .map(|i| 1.0 / 1e4_f32.powf(i as f32 / 8.0))
            .collect();
        Self {
            shape,
            kv: KvPool::new(&[layer, layer], dtype, BLOCK, 400).unwrap(),
            rope: RopeTable::new(&frequencies, 1.0, MAX_BLOCKS * BLOCK),
            style,
            scratch: Scratch::default(),
        }
    }

    fn width(&self) -> usize {
        (self.shape.heads + 2 * self.shape.kv_heads) * self.shape.dim
    }

    /// One call with rows `from … to` of each sequence; returns the outputs of each.
    fn step(&mut self, rows: &[(&Sequence, usize, usize)], pool: &Pool) -> Vec<Vec<f32>> {
        let (width, out_width) = (self.width(), self.shape.heads * self.shape.dim);
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
            scale: 0.25,
            rope_style: self.style,
            rope: Some(&self.rope),
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

const SHAPES: [Shape; 4] = [
    Shape {
        heads: 9,
        kv_heads: 3,
        dim: 64,
    },
    Shape {
        heads: 4,
        kv_heads: 4,
        dim: 16,
    },
    Shape {
        heads: 8,
        kv_heads: 1,
        dim: 24,
    },
    Shape {
        heads: 2,
        kv_heads: 1,
        dim: 256,
    },
];

#[test]
fn f32_attention_matches_f64_arithmetic() {
    let pool = Pool::new(2);
    let mut random = Random(11);
    for shape in SHAPES {
        for style in [RopeStyle::None, RopeStyle::Half, RopeStyle::Interleaved] {
            let mut world = World::new(shape, KvDtype::F32, style);
            let len = 300;
            let sequence = sequence(len, world.width(), (0..).map(|i| 7 * i % 400), &mut random);
            let out = world.step(&[(&sequence, 0, len)], &pool).remove(0);
            let worst = worst_error(&world, &sequence, len, &out);
            assert!(
                worst < 2e-5,
                "{} heads of {}, {style:?}: {worst}",
                shape.heads,
                shape.dim
            );
        }
    }
}

fn worst_error(world: &World, sequence: &Sequence, len: usize, out: &[f32]) -> f64 {
    let (shape, width) = (world.shape, world.width());
    let head = |row: usize, head: usize, rotates: bool| -> Vec<f64> {
        let x: Vec<f64> = sequence.qkv[row * width + head * shape.dim..][..shape.dim]
            .iter()
            .map(|&v| f64::from(v))
            .collect();
        if !rotates || world.style == RopeStyle::None {
            return x;
        }
        let mut y = x.clone();
        for i in 0..shape.dim / 2 {
            let (a, b) = if world.style == RopeStyle::Half {
                (i, i + shape.dim / 2)
            } else {
                (2 * i, 2 * i + 1)
            };
            let angle = f64::from(row as f32 * (1.0 / 1e4_f32.powf(i as f32 / 8.0)));
            y[a] = x[a] * angle.cos() - x[b] * angle.sin();
            y[b] = x[b] * angle.cos() + x[a] * angle.sin();
        }
        y
    };
    let mut worst = 0.0_f64;
    for row in (0..len).step_by(37).chain([len - 1]) {
        for h in 0..shape.heads {
            let q = head(row, h, true);
            let kv = h / (shape.heads / shape.kv_heads);
            let scores: Vec<f64> = (0..=row)
                .map(|t| {
                    0.25 * head(t, shape.heads + kv, true)
                        .iter()
                        .zip(&q)
                        .map(|(k, q)| k * q)
                        .sum::<f64>()
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            for d in 0..shape.dim {
                let value: f64 = (0..=row)
                    .map(|t| weights[t] * head(t, shape.heads + shape.kv_heads + kv, false)[d])
                    .sum();
                let got = f64::from(out[(row * shape.heads + h) * shape.dim + d]);
                worst = worst.max((got - value / total).abs());
            }
        }
    }
    worst
}

#[test]
fn chunks_batches_blocks_threads_and_kernels_leave_no_trace() {
    let mut random = Random(12);
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    for shape in SHAPES {
        for dtype in [KvDtype::F32, KvDtype::Bf16] {
            let mut world = World::new(shape, dtype, RopeStyle::Half);
            let len = 530;
            let a = sequence(len, world.width(), 0.., &mut random);
            let whole = world.step(&[(&a, 0, len)], &pools[0]).remove(0);
            for kernels in ["scalar", "avx2", "avx512-vnni"] {
                if !use_kernels(kernels) || (kernels == "scalar" && shape.heads > 4) {
                    continue;
                }
                for pool in &pools {
                    // Other physical blocks, random cuts, and a neighbour that is at another place of its own prompt.
                    let moved = Sequence {
                        qkv: a.qkv.clone(),
                        blocks: (0..len.div_ceil(BLOCK) as i32)
                            .map(|i| 399 - 3 * i)
                            .collect(),
                    };
                    let b = sequence(200, world.width(), 100.., &mut random);
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
                    assert_eq!(
                        bits(&out),
                        bits(&whole),
                        "{dtype:?} {kernels} {} heads of {}",
                        shape.heads,
                        shape.dim
                    );
                }
            }
        }
    }
}

#[test]
fn indices_outside_the_pool_are_refused() {
    let shape = Shape {
        heads: 2,
        kv_heads: 1,
        dim: 16,
    };
    let layer = KvLayerShape {
        num_kv_heads: 1,
        head_dim: 16,
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
                scale: 1.0,
                rope_style: RopeStyle::None,
                rope: None,
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
    for dtype in [KvDtype::F32, KvDtype::Bf16] {
        let mut world = World::new(shape, dtype, RopeStyle::Half);
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
