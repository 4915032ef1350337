//! The real SteamCMD, Debian's own package of it, on a box without network: the job fails soon and says why.

use std::process::Command;

use crate::support::skip;

/// What the command line said and wrote to standard error; nothing, where this machine cannot run it.
fn install(words: &[&str]) -> Option<(String, String)> {
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packages/real-steamcmd");
    let output = Command::new(driver).arg(env!("CARGO_BIN_EXE_left4me")).args(words).output().expect("the driver runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) {
        skip(said.lines().rev().find_map(|line| line.strip_prefix("SKIP: ")).unwrap_or("no reason given"));
        return None;
    }
    // 1 is the command line's word for a job that failed; 124 would be our patience that ended.
    assert_eq!(output.status.code(), Some(1), "{said}\n{errors}");
    Some((said, errors))
}

#[test]
fn debians_steamcmd_without_network_fails_soon_and_the_job_says_that_steam_cannot_be_reached() {
    let Some((said, errors)) = install(&[]) else { return };
    assert!(said.contains("SteamCMD is /usr/games/steamcmd\n"), "{said}");
    assert!(said.contains("Steamcmd needs to be online to update."), "its own words: {said}");
    let verdict = "SteamCMD cannot reach Steam (it says that it needs to be online to update): the box has no network, no \
                   DNS, or a firewall is in the way";
    assert!(said.contains(verdict) && errors.contains(verdict), "{said}\n{errors}");
    assert_eq!(said.matches("\nsteamcmd +").count(), 1, "it is not tried again: {said}");
    assert!(said.ends_with("\nempty\n"), "no layer is left: {said}");
}

#[test]
fn without_32_bit_libraries_an_install_is_refused_before_anything_runs_and_names_the_packages() {
    let Some((said, errors)) = install(&["bare"]) else { return };
    let text = "SteamCMD and the game are 32-bit programs, and this box lacks ld-linux.so.2, libc.so.6, libstdc++.so.6, \
                libgcc_s.so.1. Nothing was downloaded. Debian, Ubuntu: apt install lib32gcc-s1 lib32stdc++6 libc6-i386 \
                lib32z1; RPM systems: dnf install glibc.i686 libstdc++.i686 libgcc.i686";
    assert!(errors.contains(text), "{errors}");
    assert!(!said.contains("steamcmd +") && !said.contains("empty"), "{said}");
}
