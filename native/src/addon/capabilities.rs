//! `capabilities()`: what this build of the addon is and which kernels it chose.

use napi_derive::napi;

/// Must equal `NATIVE_ABI` of `native/binding.ts`.
const ABI: u32 = 7;

#[napi(object, object_from_js = false)]
pub struct Capabilities {
    pub abi: u32,
    pub kernels: String,
    pub cpu_features: Vec<String>,
}

#[napi]
pub fn capabilities() -> Capabilities {
    let cpu = ingot_kernels::cpu();
    Capabilities {
        abi: ABI,
        kernels: cpu.kernels.to_string(),
        cpu_features: cpu.features.iter().map(ToString::to_string).collect(),
    }
}
