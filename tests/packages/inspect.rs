//! The package files themselves: what is in them, what lintian and rpmlint say, that they are reproducible. Called by
//! nextest only. Boots nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::{Skip, package, run, text, tool, top};

#[test]
fn lintian_finds_no_error_in_the_deb() {
    run(|| {
        let output = tool("lintian")?
            .args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"])
            .arg(package("now", "deb")?)
            .output()
            .expect("lintian runs");
        assert!(output.status.success(), "{}", text(&output));
        Ok(())
    });
}

#[test]
fn rpmlint_finds_no_error_in_the_rpm() {
    run(|| {
        let output = tool("rpmlint")?
            .arg("-c")
            .arg(top().join("packaging/rpm/rpmlint.toml"))
            .arg(package("now", "rpm")?)
            .output()
            .expect("rpmlint runs");
        assert!(output.status.success(), "{}", text(&output));
        assert!(text(&output).contains(" 0 errors"), "{}", text(&output));
        Ok(())
    });
}

#[test]
fn the_rpm_passes_its_own_digests() {
    run(|| {
        let output = tool("rpm")?.arg("-K").arg(package("now", "rpm")?).output().expect("rpm runs");
        assert!(output.status.success() && text(&output).contains("digests OK"), "{}", text(&output));
        Ok(())
    });
}

/// Files that one format has and the other has not, on purpose: documentation and completions lie elsewhere, the changelog
/// and lintian's overrides are Debian's, the AppArmor profile is for Ubuntu.
fn same_everywhere(path: &str) -> bool {
    !["/usr/share/doc/", "/usr/share/licenses/", "/usr/share/lintian/", "/usr/share/zsh/", "/usr/share/left4me/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

#[test]
fn deb_and_rpm_hold_the_same_files() {
    run(|| {
        let listed = tool("rpm")?.arg("-qlp").arg(package("now", "rpm")?).output().expect("rpm runs");
        assert!(listed.status.success(), "{}", text(&listed));
        let rpm: BTreeSet<String> =
            String::from_utf8(listed.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
        let folder = tempfile::tempdir().expect("a folder");
        unpack_deb(&package("now", "deb")?, folder.path())?;
        let mut deb = BTreeSet::new();
        files_below(folder.path(), folder.path(), &mut deb);
        let common = |files: &BTreeSet<String>| -> BTreeSet<String> {
            files.iter().filter(|path| same_everywhere(path)).cloned().collect()
        };
        assert_eq!(common(&deb), common(&rpm));
        for path in [
            "/usr/bin/left4me",
            "/etc/left4me/config.yaml",
            "/usr/lib/systemd/system/left4me.service",
            "/usr/lib/systemd/system/left4me.socket",
            "/usr/lib/systemd/system/left4me-shim.socket",
            "/usr/lib/systemd/system/left4me-shim@.service",
            "/usr/lib/sysusers.d/left4me.conf",
            "/usr/lib/tmpfiles.d/left4me.conf",
            "/usr/share/man/man1/left4me.1.gz",
            "/usr/share/bash-completion/completions/left4me",
            "/usr/share/fish/vendor_completions.d/left4me.fish",
        ] {
            assert!(rpm.contains(path), "{path} is missing: {rpm:#?}");
        }
        Ok(())
    });
}

#[test]
fn packages_made_twice_have_the_same_bytes() {
    run(|| {
        let folder = tempfile::tempdir().expect("a folder");
        unpack_deb(&package("now", "deb")?, folder.path())?;
        // Another time, another umask, another temporary folder: none may show.
        let output = Command::new("sh")
            .args(["-c", "umask 077; exec \"$@\"", "sh"])
            .arg(top().join("packaging/build"))
            .arg("--binary")
            .arg(folder.path().join("usr/bin/left4me"))
            .arg(folder.path().join("again"))
            .env("TMPDIR", folder.path())
            .output()
            .expect("packaging/build runs");
        assert!(output.status.success(), "{}", text(&output));
        for extension in ["deb", "rpm"] {
            let first = package("now", extension)?;
            let again = folder.path().join("again").join(first.file_name().expect("a name"));
            assert!(
                std::fs::read(&first).expect("readable") == std::fs::read(&again).expect("readable"),
                "{} differs when it is made again",
                first.display()
            );
        }
        Ok(())
    });
}

fn unpack_deb(deb: &Path, folder: &Path) -> Result<(), Skip> {
    let output = tool("dpkg-deb")?.arg("-x").arg(deb).arg(folder).output().expect("dpkg-deb runs");
    assert!(output.status.success(), "{}", text(&output));
    Ok(())
}

fn files_below(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(root, &path, found);
        } else {
            let below = path.strip_prefix(root).expect("below the root");
            found.insert(format!("/{}", below.display()));
        }
    }
}
