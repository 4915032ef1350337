//! The packages in whole systems: each test boots one and runs a suite of `suites/` in it. Called by nextest only. What a
//! suite does stands in its file; here is only which system it runs in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Skip, package, run, text, top};

/// Runs `suite` with both versions of the package in a system booted by `driver` (a program of this folder and its
/// arguments).
fn in_system(driver: &[&str], suite: &str) -> Result<(), Skip> {
    let job = job(suite)?;
    let (program, arguments) = driver.split_first().expect("a driver");
    let output = Command::new(here().join(program)).args(arguments).arg(job.path()).output().expect("the driver runs");
    checked(&output)
}

/// A skip with the driver's reason, a failed test with all that was said, or done.
fn checked(output: &Output) -> Result<(), Skip> {
    let said = text(output);
    if output.status.code() == Some(77) {
        let reason = said.lines().rev().find_map(|line| line.strip_prefix("SKIP: ")).unwrap_or("no reason given");
        return Err(Skip(reason.to_owned()));
    }
    assert!(output.status.success(), "failed with {}:\n{said}", output.status);
    // Figures that a suite measured; shown with `--success-output`.
    for line in said.lines().filter(|line| line.starts_with("MEASURED: ")) {
        println!("{line}");
    }
    Ok(())
}

/// A folder with the suite as `run`, what suites share, and the packages.
fn job(suite: &str) -> Result<tempfile::TempDir, Skip> {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, folder.path().join(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    };
    copy(&here().join("suites").join(suite), "run");
    copy(&here().join("suites/shared"), "shared");
    copy(&here().join("suites/steamcmd"), "steamcmd");
    for version in ["now", "next"] {
        copy(&package(version, "deb")?, &format!("{version}.deb"));
    }
    Ok(folder)
}

fn here() -> PathBuf {
    top().join("tests/packages")
}

#[test]
fn units_verify_and_are_hardened_on_bookworm() {
    run(|| in_system(&["nspawn", "bookworm"], "units"));
}

#[test]
fn units_verify_and_are_hardened_on_trixie() {
    run(|| in_system(&["nspawn", "trixie"], "units"));
}

#[test]
fn the_package_lives_its_whole_life_on_bookworm() {
    run(|| in_system(&["nspawn", "bookworm"], "lifecycle"));
}

#[test]
fn the_package_lives_its_whole_life_on_trixie() {
    run(|| in_system(&["nspawn", "trixie"], "lifecycle"));
}

#[test]
fn the_package_lives_its_whole_life_in_a_virtual_machine() {
    run(|| in_system(&["vm"], "lifecycle"));
}

#[test]
fn the_page_s_socket_as_a_unit_starts_the_daemon_and_refuses_nobody() {
    run(|| in_system(&["nspawn", "bookworm"], "activation"));
}

#[test]
fn the_apparmor_profile_is_understood_by_apparmor_4() {
    run(|| {
        let profile = top().join("packaging/apparmor/left4me");
        let output = Command::new(here().join("apparmor")).arg(profile).output().expect("the driver runs");
        checked(&output)
    });
}

#[test]
fn limits_are_enforced_in_a_virtual_machine() {
    run(|| in_system(&["vm"], "limits"));
}

#[test]
fn rpm_scriptlets_do_their_work_in_a_root() {
    run(|| {
        let output = Command::new(here().join("rpm"))
            .arg(package("now", "rpm")?)
            .arg(package("next", "rpm")?)
            .output()
            .expect("the driver runs");
        checked(&output)
    });
}
