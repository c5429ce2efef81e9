//! Paged attention in the small: sequences in blocks, one call as a step makes it, what models may ask for, and the same in
//! f64 by the definition.

use ingot_kernels::{
    AttentionArgs, KvDtype, KvLayerShape, KvPool, Pool, RopeStyle, RopeTable, Scratch,
    paged_attention,
};

use super::Random;

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub value_dim: usize,
}

pub const fn shape(heads: usize, kv_heads: usize, dim: usize, value_dim: usize) -> Shape {
    Shape {
        heads,
        kv_heads,
        dim,
        value_dim,
    }
}

/// What a model may ask of attention beyond its shape.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub style: RopeStyle,
    /// Pairs that are rotated, from `rope_offset` on.
    pub pairs: usize,
    pub rope_offset: usize,
    pub window: usize,
    pub softcap: f32,
    pub has_sinks: bool,
}

impl Options {
    /// All of the head is rotated, everything is seen.
    pub fn plain(shape: Shape, style: RopeStyle) -> Self {
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
pub struct Sequence {
    pub qkv: Vec<f32>,
    pub blocks: Vec<i32>,
}

pub const BLOCK: usize = 16;
pub const MAX_BLOCKS: usize = 40;
const SCALE: f32 = 0.25;

fn frequency(pair: usize) -> f32 {
    1.0 / 1e4_f32.powf(pair as f32 / 8.0)
}

pub struct World {
    pub shape: Shape,
    pub options: Options,
    pub kv: KvPool,
    pub rope: RopeTable,
    pub sinks: Vec<f32>,
    pub scratch: Scratch,
}

impl World {
    pub fn new(shape: Shape, dtype: KvDtype, options: Options) -> Self {
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

    pub fn width(&self) -> usize {
        let Shape {
            heads,
            kv_heads,
            dim,
            value_dim,
        } = self.shape;
        (heads + kv_heads) * dim + kv_heads * value_dim
    }

    /// One call with rows `from … to` of each sequence; returns the outputs of each.
    pub fn step(&mut self, rows: &[(&Sequence, usize, usize)], pool: &Pool) -> Vec<Vec<f32>> {
        let out_width = self.shape.heads * self.shape.value_dim;
        let mut out = self.step_wanted(rows, None, pool);
        rows.iter()
            .map(|(_, from, to)| {
                let rest = out.split_off((to - from) * out_width);
                std::mem::replace(&mut out, rest)
            })
            .collect()
    }

    /// As `step`; returns the outputs of the rows that attend, all rows of the call counted through.
    pub fn step_wanted(
        &mut self,
        rows: &[(&Sequence, usize, usize)],
        wanted: Option<&[i32]>,
        pool: &Pool,
    ) -> Vec<f32> {
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
        let num_wanted = wanted.map_or(tokens, <[i32]>::len);
        let mut out = vec![f32::NAN; num_wanted * out_width];
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
            wanted,
        };
        paged_attention(args, &mut out, &mut self.scratch, pool).unwrap();
        out
    }
}

pub fn sequence(
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

pub const SHAPES: [Shape; 7] = [
    shape(9, 3, 64, 64),
    shape(4, 4, 16, 16),
    shape(8, 1, 24, 24),
    shape(2, 1, 256, 256),
    shape(6, 2, 8, 8),
    shape(4, 2, 80, 112),
    shape(16, 1, 72, 40),
];

/// Everything a model may ask for, alone and together. Windows end and begin inside, at and across splits of 256.
pub fn variants(shape: Shape) -> Vec<Options> {
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

pub const DTYPES: [KvDtype; 4] = [KvDtype::F32, KvDtype::F16, KvDtype::Bf16, KvDtype::Int8];

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

pub fn worst_error(world: &World, sequence: &Sequence, len: usize, out: &[f32]) -> f64 {
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
