//! Which kernels this CPU runs: decided at first use, best first.

use std::sync::atomic::{AtomicU8, Ordering};

pub struct CpuInfo {
    /// `avx512-vnni`, `avx2-vnni`, `avx2`, `neon-dotprod`, `neon` or `scalar`.
    pub kernels: &'static str,
    /// The features that the choice looked at and found.
    pub features: Vec<&'static str>,
}

/// Kernel families, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Family {
    Avx512Vnni = 0,
    /// AVX2 with `vpdpbusd` on 256 bits, in either encoding.
    Avx2Vnni = 1,
    Avx2 = 2,
    NeonDotprod = 3,
    Neon = 4,
    /// Plain Rust: the reference of all others.
    Portable = 5,
}

const FAMILIES: [Family; 6] = [
    Family::Avx512Vnni,
    Family::Avx2Vnni,
    Family::Avx2,
    Family::NeonDotprod,
    Family::Neon,
    Family::Portable,
];

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx2Vnni => "avx2-vnni",
            Self::Avx2 => "avx2",
            Self::NeonDotprod => "neon-dotprod",
            Self::Neon => "neon",
            Self::Portable => "scalar",
        }
    }

    /// Whether a CPU with these features has it.
    fn is_among(self, features: &[&str]) -> bool {
        let has = |wanted: &[&str]| wanted.iter().all(|name| features.contains(name));
        let avx512 = ["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni"];
        let avx2 = has(&["avx2", "fma", "f16c"]);
        match self {
            Self::Avx512Vnni => avx2 && has(&avx512),
            Self::Avx2Vnni => avx2 && (has(&["avxvnni"]) || has(&avx512)),
            Self::Avx2 => avx2,
            Self::NeonDotprod => has(&["neon", "dotprod"]),
            Self::Neon => has(&["neon"]),
            Self::Portable => true,
        }
    }
}

pub fn cpu() -> CpuInfo {
    CpuInfo {
        kernels: family().name(),
        features: features(),
    }
}

/// Use a family other than the best from now on, for comparisons; `false` when this CPU does not have it. `avx512-bf16` is
/// `avx512-vnni` with bf16 dot products, which is what the latter means by default where the CPU has them.
/// Results have the same bits whichever is used.
pub fn use_kernels(name: &str) -> bool {
    let features = features();
    let (name, bf16) = match name {
        "avx512-bf16" => ("avx512-vnni", Some(true)),
        "avx512-vnni" => (name, Some(false)),
        _ => (name, None),
    };
    if bf16 == Some(true) && !has_bf16() {
        return false;
    }
    let wanted = FAMILIES
        .into_iter()
        .find(|family| family.name() == name && family.is_among(&features));
    if let Some(family) = wanted {
        CHOSEN.store(family as u8, Ordering::Relaxed);
        BF16.store(u8::from(bf16 == Some(true)), Ordering::Relaxed);
    }
    wanted.is_some()
}

/// Whether attention uses the CPU's own dot product of bf16 pairs; same bits, see `attention_bf16`.
#[cfg(target_arch = "x86_64")]
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
    match FAMILIES.get(usize::from(CHOSEN.load(Ordering::Relaxed))) {
        Some(&family) => family,
        None => {
            let family = detect();
            CHOSEN.store(family as u8, Ordering::Relaxed);
            family
        }
    }
}

/// Whether `vpdpbusd` on 256 bits is there in the encoding that needs no AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_vex_vnni() -> bool {
    std::is_x86_feature_detected!("avxvnni")
}

fn detect() -> Family {
    best_of(&features())
}

fn best_of(features: &[&str]) -> Family {
    let best = FAMILIES
        .into_iter()
        .find(|family| family.is_among(features));
    best.unwrap_or(Family::Portable)
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
        "avxvnni",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512vnni",
        "avx512bf16"
    );
    found
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    // NEON belongs to every aarch64 that has an operating system.
    let mut found = vec!["neon"];
    if std::arch::is_aarch64_feature_detected!("dotprod") {
        found.push("dotprod");
    }
    found
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_gets_the_best_family_that_its_features_allow() {
        let best = |features: &str| {
            let features: Vec<_> = features.split_whitespace().collect();
            best_of(&features).name()
        };
        let avx2 = "avx2 fma f16c";
        let avx512 = "avx512f avx512bw avx512vl avx512dq";
        assert_eq!(best(&format!("{avx2} {avx512} avx512vnni")), "avx512-vnni");
        assert_eq!(best(&format!("{avx2} avxvnni")), "avx2-vnni");
        // AVX-512 without its dot products.
        assert_eq!(best(&format!("{avx2} {avx512}")), "avx2");
        assert_eq!(best(avx2), "avx2");
        assert_eq!(best("avx2"), "scalar");
        assert_eq!(best("neon dotprod"), "neon-dotprod");
        assert_eq!(best("neon"), "neon");
        assert_eq!(best(""), "scalar");
    }

    #[test]
    fn a_family_that_the_processor_lacks_is_refused() {
        for family in FAMILIES {
            assert_eq!(use_kernels(family.name()), family.is_among(&features()));
        }
        assert!(!use_kernels("avx3"));
        assert!(use_kernels(detect().name()));
    }
}
