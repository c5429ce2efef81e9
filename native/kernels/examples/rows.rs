//! Nanoseconds a row of what a layer does between its products, for SmolLM2-135M: best of many calls on 512 rows, one thread,
//! in its own CPU time. `cargo run --release --example rows`

use std::time::Instant;

use ingot_kernels::{Gated, Pool, add_rms_norm, cpu, gated, rms_norm};

const ROWS: usize = 512;
const HIDDEN: usize = 576;
const INNER: usize = 1536;

fn main() {
    let pool = Pool::new(1);
    let values = |len: usize| -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0)
            .collect()
    };
    let (x, residual, weight) = (values(ROWS * HIDDEN), values(ROWS * HIDDEN), values(HIDDEN));
    let (mut sum, mut normed) = (vec![0.0; ROWS * HIDDEN], vec![0.0; ROWS * HIDDEN]);
    println!("{}, best ns a row", cpu().kernels);
    report("norm", &mut || {
        rms_norm(&x, &weight, 1e-5, 0.0, ROWS, &mut normed, &pool);
    });
    report("add and norm", &mut || {
        add_rms_norm(
            &x,
            &residual,
            &weight,
            1e-5,
            0.0,
            ROWS,
            &mut sum,
            &mut normed,
            &pool,
        );
    });
    let (gate_up, mut out) = (values(ROWS * 2 * INNER), vec![0.0; ROWS * INNER]);
    report("swiglu", &mut || {
        gated(Gated::SWIGLU, &gate_up, ROWS, INNER, &mut out, &pool);
    });
}

fn report(name: &str, call: &mut dyn FnMut()) {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_millis() < 500 {
        let began = seconds();
        call();
        best = best.min(seconds() - began);
    }
    println!("{name:14} {:7.1}", best * 1e9 / ROWS as f64);
}

/// Of this thread's CPU.
#[cfg(unix)]
fn seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills the struct it is given; the clock exists on every Unix.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(not(unix))]
fn seconds() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64()
}
