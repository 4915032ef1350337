//! Build script: refuses a release build that is not static, links it small, and compresses what browsers are sent.
//!
//! An environment `RUSTFLAGS` silently replaces the flags of `.cargo/config.toml`; without the check such a build would
//! link dynamically and fail only on somebody else's machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Files of `assets/` that are served; licences lie beside them for readers of the source.
const SERVED: [&str; 4] = ["js", "svg", "png", "yaml"];

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
    if release {
        // Relocations are packed (DT_RELR, glibc 2.36 and newer reads them in a static binary): less to ship, and less to read
        // at each start of a shim.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rerun-if-changed=assets");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names a folder")).join("assets");
    // What is no longer among the assets must not stay.
    let _ = fs::remove_dir_all(&out);
    if let Err(error) = compress(Path::new("assets"), &out) {
        println!("cargo::error=the assets cannot be compressed: {error}");
    }
}

/// The style sheets, in the order in which they hold; every page needs them all, so they travel as one.
const STYLES: [&str; 4] = ["tokens", "layout", "components", "logs"];

/// Puts each served file below `from` into `to`, and all style sheets as one `css/all.css`.
fn compress(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let target = to.join(name);
        if path.is_dir() {
            compress(&path, &target)?;
        } else if path.extension().is_some_and(|extension| SERVED.iter().any(|served| extension == *served)) {
            put(&target, &fs::read(&path)?)?;
        }
    }
    if from.ends_with("css") {
        let sheets: Result<Vec<_>, _> =
            STYLES.iter().map(|name| fs::read(from.join(name).with_extension("css"))).collect();
        put(&to.join("all.css"), &sheets?.concat())?;
    }
    Ok(())
}

/// Writes a file twice: `<name>.gz` and `<name>.br`. The text itself is not kept: the few clients that take neither get it
/// unpacked.
fn put(target: &Path, text: &[u8]) -> io::Result<()> {
    let beside = |extension: &str| File::create(format!("{}.{extension}", target.display()));
    let mut gzip = flate2::write::GzEncoder::new(beside("gz")?, flate2::Compression::best());
    gzip.write_all(text)?;
    gzip.finish()?;
    // Quality 11, window of 4 MiB: the slowest and smallest, once a build.
    brotli::CompressorWriter::new(beside("br")?, 64 << 10, 11, 22).write_all(text)
}
