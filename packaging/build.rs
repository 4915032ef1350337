//! Build script: refuses a release build that is not static, and tells the binary which commit it is made of.
//!
//! An environment `RUSTFLAGS` silently replaces the flags of `.cargo/config.toml`; without this check such a build
//! would link dynamically and fail only on somebody else's machine.

fn main() {
    println!("cargo::rerun-if-changed=packaging/build.rs");
    println!("cargo::rerun-if-env-changed=RUSTFLAGS");
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if release && !features.split(',').any(|feature| feature == "crt-static") {
        println!(
            "cargo::error=a release build must be static: unset RUSTFLAGS, or add `-C target-feature=+crt-static` to it"
        );
    }
}
