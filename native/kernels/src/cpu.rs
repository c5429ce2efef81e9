//! Which kernels this CPU runs: decided at first use, best first.

use std::sync::atomic::{AtomicU8, Ordering};

pub struct CpuInfo {
    /// `avx512-vnni`, `avx2`, `neon` or `scalar`.
    pub kernels: &'static str,
    /// The features that the choice looked at and found.
    pub features: Vec<&'static str>,
}

/// Kernel families, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Family {
    Avx512Vnni = 0,
    Avx2 = 1,
    Portable = 2,
}

pub fn cpu() -> CpuInfo {
    CpuInfo {
        kernels: name_of(family()),
        features: features(),
    }
}

/// Use a family other than the best from now on, for comparisons; `false` when this CPU does not have it. `avx512-bf16` is
/// `avx512-vnni` with bf16 dot products, which is what the latter means by default where the CPU has them.
/// Results have the same bits whichever is used.
pub fn use_kernels(name: &str) -> bool {
    let best = detect();
    let (name, bf16) = match name {
        "avx512-bf16" => ("avx512-vnni", Some(true)),
        "avx512-vnni" => (name, Some(false)),
        _ => (name, None),
    };
    if bf16 == Some(true) && !has_bf16() {
        return false;
    }
    let wanted = [Family::Avx512Vnni, Family::Avx2, Family::Portable]
        .into_iter()
        .find(|&family| name_of(family) == name && family as u8 >= best as u8);
    if let Some(family) = wanted {
        CHOSEN.store(family as u8, Ordering::Relaxed);
        BF16.store(u8::from(bf16 == Some(true)), Ordering::Relaxed);
    }
    wanted.is_some()
}

/// Whether attention uses the CPU's own dot product of bf16 pairs; same bits, see `attention_bf16`.
pub(crate) fn multiplies_bf16() -> bool {
    match BF16.load(Ordering::Relaxed) {
        0 => false,
        1 => true,
        _ => {
            let multiplies = family() == Family::Avx512Vnni && has_bf16();
            BF16.store(u8::from(multiplies), Ordering::Relaxed);
            multiplies
        }
    }
}

fn has_bf16() -> bool {
    features().contains(&"avx512bf16")
}

static BF16: AtomicU8 = AtomicU8::new(u8::MAX);

static CHOSEN: AtomicU8 = AtomicU8::new(u8::MAX);

#[inline]
pub(crate) fn family() -> Family {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => Family::Avx512Vnni,
        1 => Family::Avx2,
        2 => Family::Portable,
        _ => {
            let family = detect();
            CHOSEN.store(family as u8, Ordering::Relaxed);
            family
        }
    }
}

fn name_of(family: Family) -> &'static str {
    match family {
        Family::Avx512Vnni => "avx512-vnni",
        Family::Avx2 => "avx2",
        Family::Portable if cfg!(target_arch = "aarch64") => "neon",
        Family::Portable => "scalar",
    }
}

fn detect() -> Family {
    let features = features();
    let has = |wanted: &[&str]| wanted.iter().all(|name| features.contains(name));
    if has(&[
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512vnni",
        "fma",
        "f16c",
    ]) {
        Family::Avx512Vnni
    } else if has(&["avx2", "fma", "f16c"]) {
        Family::Avx2
    } else {
        Family::Portable
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! detect {
        ($($name:tt),*) => { $(if std::is_x86_feature_detected!($name) { found.push($name); })* };
    }
    detect!(
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512vnni",
        "avx512bf16"
    );
    found
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    if cfg!(target_arch = "aarch64") {
        vec!["neon"]
    } else {
        Vec::new()
    }
}
