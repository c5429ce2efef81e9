//! Times quantized weights beside a GGUF format and dense ones: `cargo run --release --example quantized`.
//! Weights lie in memory, 64 matrices of 1024 × 2048, one after the other; GMAC/s of one thread, of the CPU time that
//! Linux gave it (a busy machine changes that less than the clock on the wall), the best of some rounds.

use ingot_kernels::{
    Activations, FieldOrder, Fields, Format, Numbers, PackedLinear, Packing, Part, Pool, Quantized,
    Scales, Scratch, Source, Values, linear,
};

const N: usize = 1024;
const K: usize = 2048;
const GROUP: usize = 128;
const MATRICES: usize = 64;

fn main() {
    let pool = Pool::new(1);
    let noise: Vec<u8> = (0..N * K * 4)
        .map(|at| (at * 193 / 7 % 251) as u8 & 0x6f)
        .collect();
    let scales = vec![0x2c; N * K / GROUP * 2];
    let halves = Numbers::Dense(Format::F16, &scales);
    let quantized = |bits: u32, values: Values<'_>| {
        let fields = Fields {
            bytes: &noise[..N * K * bits as usize / 8],
            row_bytes: K * bits as usize / 8,
            bits,
            packing: Packing::InRows,
            order: FieldOrder::Ascending,
            is_output_first: true,
            is_signed: false,
            added: 0,
        };
        let values = match values {
            Values::Integers { zeros: Some(_) } => Values::Integers {
                zeros: Some(Fields {
                    bytes: &noise[..N * K / GROUP * bits as usize / 8],
                    row_bytes: K / GROUP * bits as usize / 8,
                    ..fields
                }),
            },
            other => other,
        };
        let source = Quantized {
            rows: N,
            k: K,
            codes: fields,
            values,
            scales: Scales::Grid {
                numbers: halves,
                is_output_first: true,
                columns: K / GROUP,
                rows_per_scale: 1,
                divisor: 1.0,
            },
            group: GROUP,
            group_of_input: None,
        };
        let sources = [Source::Quantized(Quantized::new(source).unwrap())];
        PackedLinear::pack_sources(&sources, &[None], K, &pool).unwrap()
    };
    let plain = |format: Format| {
        let bytes = N * K / format.block_weights() * format.block_bytes();
        let part = Part {
            format,
            rows: N,
            bytes: &noise[..bytes],
        };
        PackedLinear::pack(&[part], K, &pool).unwrap()
    };
    let some = Fields {
        bytes: &[],
        row_bytes: 0,
        bits: 4,
        packing: Packing::InRows,
        order: FieldOrder::Ascending,
        is_output_first: true,
        is_signed: false,
        added: 0,
    };
    let with_zeros = || Values::Integers { zeros: Some(some) };
    let without = || Values::Integers { zeros: None };
    let table = [0x3f; 64];
    type Make<'a> = Box<dyn Fn() -> PackedLinear + 'a>;
    let kinds: [(&str, Make<'_>); 8] = [
        ("Q4_0", Box::new(|| plain(Format::Q4_0))),
        ("Q8_0", Box::new(|| plain(Format::Q8_0))),
        ("BF16", Box::new(|| plain(Format::BF16))),
        ("4 bits", Box::new(|| quantized(4, without()))),
        ("4 bits, zeros", Box::new(|| quantized(4, with_zeros()))),
        ("8 bits", Box::new(|| quantized(8, without()))),
        ("fp8", Box::new(|| quantized(8, Values::Float8))),
        (
            "table of 16",
            Box::new(|| quantized(4, Values::Table(&table))),
        ),
    ];
    for activations in [Activations::Int8, Activations::F32] {
        for (name, make) in &kinds {
            let weights: Vec<_> = (0..MATRICES).map(|_| make()).collect();
            let mut line = format!("{activations:?} {name:14}");
            for rows in [1, 4, 16, 64] {
                let x = vec![0.5; rows * K];
                let mut out = vec![0.0; rows * N];
                let mut scratch = Scratch::default();
                let mut best = f64::MAX;
                for _ in 0..5 {
                    let start = cpu_seconds();
                    for weight in &weights {
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
                    }
                    best = best.min(cpu_seconds() - start);
                }
                let macs = (MATRICES * rows * N * K) as f64;
                line += &format!("  {rows} rows {:6.1}", macs / best / 1e9);
            }
            println!("{line}");
        }
    }
}

/// Of all threads of this process.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanoseconds: u64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    nanoseconds as f64 / 1e9
}
