//! Passes the linker what a Node addon needs on this platform, and the code what its packed layouts are called.

use std::fs;
use std::path::PathBuf;

fn main() {
    napi_build::setup();
    println!("cargo::rustc-env=INGOT_PACK_LAYOUT={:016x}", layout());
}

/// FNV-1a over the kernels' sources: whoever changes how weights are packed, or read, gets another name without
/// having to think of it, and files that other code packed are made anew.
fn layout() -> u64 {
    let folder = PathBuf::from("kernels/src");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(&folder).expect("the kernels' sources");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a source").path())
        .collect();
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        for byte in fs::read(&file).expect("a source that can be read") {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
