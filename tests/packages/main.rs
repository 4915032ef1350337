//! The packages as users get them: installed, upgraded and removed in Debian systems with real systemd, and looked at by
//! the distributions' own checkers.
//!
//! `tests/run` builds the packages and names their folder in `LEFT4ME_TESTS_PACKAGES`: `now/` holds this version, `next/`
//! the same binary as a newer one, to upgrade to. The drivers `nspawn` and `vm` boot the systems; what happens inside is
//! in `suites/`. A machine that cannot boot them makes a skip with its reason, never a silent pass. Nothing here compiles
//! anything, or touches the machine outside the tests' cache and temporary folders.

mod inspect;
mod settings;
mod systems;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What stands between a test and its result on this machine: printed as `SKIP: reason`, which `tests/run` counts.
#[derive(Debug)]
struct Skip(String);

/// Runs the body of a test; a skip is printed where `tests/run` looks for it.
fn run(body: impl FnOnce() -> Result<(), Skip>) {
    if let Err(Skip(reason)) = body() {
        println!("SKIP: {reason}");
    }
}

/// One of the built packages: `version` is `now` or `next`, `extension` is `deb` or `rpm`.
fn package(version: &str, extension: &str) -> Result<PathBuf, Skip> {
    let folder = std::env::var_os("LEFT4ME_TESTS_PACKAGES")
        .map(|folder| Path::new(&folder).join(version))
        .ok_or_else(|| Skip("no packages were built: tests/run builds them and names them".to_owned()))?;
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    assert_eq!(found.len(), 1, "exactly one .{extension} in {}", folder.display());
    Ok(found.remove(0))
}

/// A program of the distribution, which `tests/run` installs; a machine without it makes a skip.
fn tool(name: &str) -> Result<Command, Skip> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if found { Ok(Command::new(name)) } else { Err(Skip(format!("{name} is not installed"))) }
}

/// Both streams of a finished program, for the message of a failed assertion.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The checkout.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
