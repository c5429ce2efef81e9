//! Gated MLPs as one job: the bits of `linear`, `gated` and `linear` in turn, for every format, unit, kernel family and cut.

mod support;

use ingot_kernels::{
    Activations, Curve, Format, Gated, GatedMlp, MlpLayer, PackedLinear, Part, Pool, Scratch,
    gated, gated_mlp, gated_mlp_in_turn, use_kernels,
};
use support::{FORMATS, KERNELS, Random, bits, naming_kernels, run_linear, stored};

const ACTIVATIONS: [Activations; 3] = [Activations::F32, Activations::Bf16, Activations::Int8];

struct Mlp {
    gate_up: PackedLinear,
    down: PackedLinear,
    gate_up_bias: Vec<f32>,
    down_bias: Vec<f32>,
}

impl Mlp {
    /// Gate and up in formats of their own, `[inner, k]` each; down `[n, inner]`.
    fn new(formats: [Format; 3], [k, inner, n]: [usize; 3], random: &mut Random) -> Self {
        let pool = Pool::new(1);
        let bytes = [(0, inner, k), (1, inner, k), (2, n, inner)]
            .map(|(at, rows, width)| stored(formats[at], rows, width, random).0);
        let part = |at: usize, rows| Part {
            format: formats[at],
            rows,
            bytes: &bytes[at],
        };
        Self {
            gate_up: PackedLinear::pack(&[part(0, inner), part(1, inner)], k, &pool).unwrap(),
            down: PackedLinear::pack(&[part(2, n)], inner, &pool).unwrap(),
            gate_up_bias: random.values(2 * inner),
            down_bias: random.values(n),
        }
    }

    fn with(&self, unit: Gated, has_bias: bool) -> GatedMlp<'_> {
        GatedMlp {
            gate_up: &self.gate_up,
            gate_up_bias: has_bias.then_some(&self.gate_up_bias),
            unit,
            down: &self.down,
            down_bias: has_bias.then_some(&self.down_bias),
        }
    }
}

/// One after the other, with the kernels of the three operators; the reference.
fn apart(mlp: &GatedMlp<'_>, x: &[f32], rows: usize, activations: Activations) -> Vec<f32> {
    let pool = Pool::new(1);
    let layer = |weight: &PackedLinear, x: &[f32], bias: Option<&[f32]>| {
        let mut out = run_linear(weight, x, rows, activations, &pool);
        for row in out.chunks_exact_mut(weight.n()) {
            for (value, bias) in row.iter_mut().zip(bias.unwrap_or(&[])) {
                *value += bias;
            }
        }
        out
    };
    let wide = layer(mlp.gate_up, x, mlp.gate_up_bias);
    let inner = mlp.down.k();
    let mut middle = vec![f32::NAN; rows * inner];
    gated(mlp.unit, &wide, rows, inner, &mut middle, &pool);
    layer(mlp.down, &middle, mlp.down_bias)
}

fn whole(
    mlp: &GatedMlp<'_>,
    x: &[f32],
    rows: usize,
    activations: Activations,
    scratch: &mut Scratch,
    pool: &Pool,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * mlp.down.n()];
    gated_mlp(mlp, x, rows, activations, &mut out, scratch, pool);
    out
}

#[test]
fn every_format_has_the_bits_of_its_layers_in_turn() {
    let _naming = naming_kernels();
    let mut random = Random(51);
    let pools = [Pool::new(1), Pool::new(2)];
    for format in FORMATS {
        let mlp = Mlp::new([format; 3], [256, 256, 70], &mut random);
        let mlp = mlp.with(Gated::SWIGLU, false);
        let x = random.values(21 * 256);
        for activations in ACTIVATIONS {
            use_kernels("scalar");
            let expected = apart(&mlp, &x, 21, activations);
            for kernels in KERNELS.into_iter().filter(|name| use_kernels(name)) {
                for (pool, rows) in [(&pools[0], 21), (&pools[1], 21), (&pools[1], 5)] {
                    let scratch = &mut Scratch::default();
                    let out = whole(&mlp, &x[..rows * 256], rows, activations, scratch, pool);
                    assert_eq!(
                        bits(&out),
                        bits(&expected[..rows * 70]),
                        "{format:?} {activations:?} {kernels} {rows} rows"
                    );
                }
            }
        }
    }
}

#[test]
fn any_number_of_rows_and_threads_gives_the_same_bits() {
    let mut random = Random(52);
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    // The middle as int8, as pairs of bf16, in formats that take different activations, and not in whole tiles.
    for (formats, inner) in [
        ([Format::Q4_1, Format::Q8_0, Format::Q4_0], 192),
        ([Format::BF16; 3], 96),
        ([Format::BF16, Format::Q4_0, Format::Q5_0], 64),
        ([Format::Q4_0, Format::Q4_0, Format::BF16], 64),
        ([Format::Q8_0, Format::F16, Format::Q8_0], 96),
        ([Format::BF16; 3], 51),
        ([Format::Q4_0, Format::Q4_0, Format::BF16], 51),
    ] {
        let mlp = Mlp::new(formats, [96, inner, 45], &mut random);
        let mlp = mlp.with(Gated::SWIGLU, true);
        let x = random.values(70 * 96);
        for activations in [Activations::Bf16, Activations::Int8] {
            let expected = apart(&mlp, &x, 70, activations);
            // Working memory that other calls have used before.
            let mut scratch = Scratch::default();
            for pool in &pools {
                for rows in 1..=70 {
                    let x = &x[..rows * 96];
                    let out = whole(&mlp, x, rows, activations, &mut scratch, pool);
                    assert_eq!(
                        bits(&out),
                        bits(&expected[..rows * 45]),
                        "{formats:?} {activations:?} {rows} rows"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_that_take_many_pieces_have_the_bits_of_a_few() {
    let mut random = Random(53);
    let mlp = Mlp::new([Format::Q4_0; 3], [1024, 3072, 64], &mut random);
    let mlp = mlp.with(Gated::SWIGLU, false);
    let x = random.values(301 * 1024);
    let expected = apart(&mlp, &x, 301, Activations::Int8);
    for threads in [1, 2] {
        let (scratch, pool) = (&mut Scratch::default(), Pool::new(threads));
        let out = whole(&mlp, &x, 301, Activations::Int8, scratch, &pool);
        assert_eq!(bits(&out), bits(&expected), "{threads} threads");
    }
}

#[test]
fn every_unit_has_the_bits_of_its_operator() {
    let _naming = naming_kernels();
    let mut random = Random(54);
    let pool = Pool::new(2);
    let mlps = [Format::Q4_1, Format::BF16]
        .map(|format| Mlp::new([format; 3], [64, 128, 33], &mut random));
    let x = random.values(17 * 64);
    let curves = [
        Curve::Silu,
        Curve::Gelu,
        Curve::GeluTanh,
        Curve::Relu,
        Curve::Relu2,
        Curve::QuickGelu,
    ];
    for (curve, is_interleaved) in curves
        .into_iter()
        .flat_map(|curve| [(curve, false), (curve, true)])
    {
        for (limit, alpha, up_offset) in [(f32::INFINITY, 1.0, 0.0), (0.4, 1.702, 1.0)] {
            let unit = Gated {
                curve,
                is_interleaved,
                limit,
                alpha,
                up_offset,
            };
            for mlp in &mlps {
                let mlp = mlp.with(unit, true);
                let expected = apart(&mlp, &x, 17, Activations::Int8);
                for kernels in KERNELS.into_iter().filter(|name| use_kernels(name)) {
                    for rows in [1, 3, 17] {
                        let x = &x[..rows * 64];
                        let scratch = &mut Scratch::default();
                        let out = whole(&mlp, x, rows, Activations::Int8, scratch, &pool);
                        assert_eq!(
                            bits(&out),
                            bits(&expected[..rows * 33]),
                            "{unit:?} {kernels} {rows} rows"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so_in_its_own_row_only() {
    let mut random = Random(55);
    let pool = Pool::new(2);
    for format in [Format::Q4_0, Format::BF16] {
        let mlp = Mlp::new([format; 3], [64, 96, 40], &mut random);
        let mlp = mlp.with(Gated::SWIGLU, false);
        let x = random.values(12 * 64);
        let run = |x: &[f32]| {
            let scratch = &mut Scratch::default();
            whole(&mlp, x, 12, Activations::Int8, scratch, &pool)
        };
        let clean = run(&x);
        let mut spoilt = x.clone();
        spoilt[5 * 64 + 3] = f32::NAN;
        let out = run(&spoilt);
        assert!(out[5 * 40..6 * 40].iter().all(|value| value.is_nan()));
        assert_eq!(bits(&out[..5 * 40]), bits(&clean[..5 * 40]));
        assert_eq!(bits(&out[6 * 40..]), bits(&clean[6 * 40..]));
    }
}

#[test]
fn in_turn_each_layer_is_seen_and_may_be_changed() {
    let mut random = Random(56);
    let (pool, scratch) = (Pool::new(2), &mut Scratch::default());
    let mlp = Mlp::new([Format::Q8_0; 3], [64, 96, 40], &mut random);
    let mlp = mlp.with(Gated::SWIGLU, true);
    let x = random.values(9 * 64);
    let mut out = vec![f32::NAN; 9 * 40];
    let mut seen = Vec::new();
    let int8 = Activations::Int8;
    gated_mlp_in_turn(
        &mlp,
        &x,
        9,
        int8,
        &mut out,
        scratch,
        &pool,
        &mut |layer, x, out, _| {
            seen.push((layer, x.len(), out.len()));
            if layer == MlpLayer::Down {
                out[0] += 1.0;
            }
        },
    );
    let sizes = [
        (MlpLayer::GateUp, 9 * 64, 9 * 192),
        (MlpLayer::Down, 9 * 96, 9 * 40),
    ];
    assert_eq!(seen, sizes);
    let mut expected = apart(&mlp, &x, 9, int8);
    expected[0] += 1.0;
    assert_eq!(bits(&out), bits(&expected));
}

#[test]
fn no_rows_are_nothing_to_do() {
    let mlp = Mlp::new([Format::Q4_0; 3], [32, 32, 8], &mut Random(57));
    let (scratch, pool) = (&mut Scratch::default(), Pool::new(2));
    let out = whole(
        &mlp.with(Gated::SWIGLU, false),
        &[],
        0,
        Activations::Int8,
        scratch,
        &pool,
    );
    assert_eq!(out, []);
}
