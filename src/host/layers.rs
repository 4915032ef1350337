//! Game layers: an install writes a new one on top of the current stack; success renames it into place, failure removes
//! it. Running servers keep the layers that they have mounted.
//!
//! ```text
//! begin ──▶ <n>.new (SteamCMD writes) ──▶ publish ──▶ <n>, immutable
//!               └──────────────────────▶ discard ──▶ gone ◀── hide ◀── a layer that nothing uses
//! ```
//!
//! A deep stack is compacted: what a game would see of it is copied, inside a sandbox, into a layer that is published like
//! any other and takes the stack's place for builds; who has the old layers mounted keeps them.

use std::fs;
use std::io;
use std::path::Path;

use super::instance::environment;
use super::launch::{Bind, ConsoleLimits, LAUNCH_VERSION, Launch, Layer, Limits, StopPlan};
use super::paths::{Paths, Run};
use super::sandbox::HOME;
use crate::model::id::{JobId, LayerId};
use crate::sys;

/// Makes an empty new layer. What an earlier try left under that number goes first.
pub fn begin(paths: &Paths, layer: LayerId) -> io::Result<()> {
    discard(paths, layer)?;
    if paths.layer(layer).exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("game layer {layer} is published already")));
    }
    // SteamCMD reports a false disk-write error where this folder is missing (domain.md).
    fs::create_dir_all(paths.new_layer(layer).join("steamapps"))?;
    fs::create_dir_all(paths.layer_work(layer))?;
    // The lowest layer of the first install: overlayfs needs one.
    fs::create_dir_all(paths.installation().join("empty"))
}

/// Writes a new layer to the disk: [`publish`] then has little to wait for.
pub fn write_out(paths: &Paths, layer: LayerId) -> io::Result<()> {
    sys::fs::sync_file_system(&paths.new_layer(layer))
}

/// Publishes a new layer: everything written to the disk, then renamed, then the name made durable. Answers its bytes.
/// Published twice is fine: a crash may have come between the rename and whatever the caller does next.
pub fn publish(paths: &Paths, layer: LayerId) -> io::Result<u64> {
    let (new, done) = (paths.new_layer(layer), paths.layer(layer));
    sys::fs::remove_tree(&paths.layer_work(layer))?;
    if !done.is_dir() {
        sys::fs::sync_file_system(&new)?;
        fs::rename(&new, &done)?;
    }
    sys::fs::sync_folder(&paths.installation())?;
    size(&done)
}

/// Removes a new layer that was not published.
pub fn discard(paths: &Paths, layer: LayerId) -> io::Result<()> {
    sys::fs::remove_tree(&paths.new_layer(layer))?;
    sys::fs::remove_tree(&paths.layer_work(layer))
}

/// Takes a published layer out of sight; [`discard`] then removes it. The caller knows that nothing uses it. Two steps, so
/// that a crash leaves no half layer under a name that counts, and because only the first must not meet a start.
pub fn hide(paths: &Paths, layer: LayerId) -> io::Result<()> {
    match fs::rename(paths.layer(layer), paths.new_layer(layer)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Numbers of the published layers, lowest first.
pub fn published(paths: &Paths) -> io::Result<Vec<LayerId>> {
    let mut found = Vec::new();
    match fs::read_dir(paths.installation()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
        Ok(entries) => {
            for entry in entries {
                found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<LayerId>().ok()));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes new layers that no install works on: leftovers of a crash. `busy`: those that one does.
pub fn sweep(paths: &Paths, busy: &[LayerId]) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(paths.installation()) else { return Ok(()) };
    for entry in entries {
        let name = entry?.file_name();
        let Some((number, "new" | "work")) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        if let Ok(layer) = number.parse::<LayerId>()
            && !busy.contains(&layer)
        {
            discard(paths, layer)?;
        }
    }
    Ok(())
}

/// Bytes that may still be written where the layers lie.
pub fn free_bytes(paths: &Paths) -> io::Result<u64> {
    sys::fs::free_bytes(&paths.data_dir)
}

/// Whether `file` (a path inside the game) is an executable file in the new layer, published by now or not, or in one of
/// `base`.
pub fn has_executable(paths: &Paths, new: LayerId, base: &[LayerId], file: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    [paths.new_layer(new), paths.layer(new)].into_iter().chain(base.iter().map(|layer| paths.layer(*layer))).any(
        |folder| {
            fs::metadata(folder.join(file))
                .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        },
    )
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                pending.push(entry.path());
            } else {
                total += metadata.len();
            }
        }
    }
    Ok(total)
}

/// Bytes of published layers together.
pub fn bytes_of(paths: &Paths, layers: &[LayerId]) -> io::Result<u64> {
    layers.iter().map(|layer| size(&paths.layer(*layer))).sum()
}

/// Where a compaction sees the layer that it fills.
const COMPACTED: &str = "/compacted";

/// Makes an empty new layer for a compaction, and what its mount needs beside it.
pub fn begin_compaction(paths: &Paths, layer: LayerId) -> io::Result<()> {
    discard(paths, layer)?;
    fs::create_dir_all(paths.new_layer(layer))?;
    for folder in ["upper", "work"] {
        fs::create_dir_all(paths.layer_work(layer).join(folder))?;
    }
    Ok(())
}

/// The launch request of a compaction: `stack` (newest first) is mounted as a game would see it, and `cp` copies that view
/// into the new layer. The stack itself is not touched.
pub fn compaction_launch(paths: &Paths, job: JobId, new: LayerId, stack: &[LayerId], limits: &Limits) -> Launch {
    let work = paths.layer_work(new);
    Launch {
        lowers: stack.iter().map(|layer| lower(paths, *layer)).collect(),
        upper: work.join("upper"),
        work: work.join("work"),
        binds: vec![Bind { from: paths.new_layer(new), to: COMPACTED.into(), writable: true }],
        program: "/bin/cp".into(),
        arguments: ["-a", "--reflink=auto", "/game/.", COMPACTED].map(Into::into).to_vec(),
        working_folder: "/".into(),
        ..steamcmd_launch(paths, job, new, &[], &SteamCmd::Ours, Vec::new(), limits)
    }
}

fn lower(paths: &Paths, layer: LayerId) -> Layer {
    Layer { name: format!("game layer {layer}"), folder: paths.layer(layer), beneath: None }
}

/// Which SteamCMD runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SteamCmd<'a> {
    /// Valve's tarball in `steam/`.
    Ours,
    /// A program of the box, by absolute path; its folder is shown inside, read-only.
    At(&'a Path),
}

/// The launch request of SteamCMD: the stack `base` (newest first) at [`super::sandbox::GAME`] with the new layer on top, HOME on `steam/`,
/// the box's network.
pub fn steamcmd_launch(
    paths: &Paths,
    job: JobId,
    new: LayerId,
    base: &[LayerId],
    steamcmd: &SteamCmd<'_>,
    arguments: Vec<String>,
    limits: &Limits,
) -> Launch {
    let run = Run::Install(job);
    let mut binds = vec![Bind { from: paths.steam(), to: HOME.into(), writable: true }];
    let program = match steamcmd {
        SteamCmd::Ours => format!("{HOME}/steamcmd.sh"),
        SteamCmd::At(path) => {
            // /usr is there already; a folder elsewhere is shown where it is.
            if let Some(folder) = path.parent()
                && !path.starts_with("/usr")
                && folder != Path::new("/")
            {
                binds.push(Bind { from: folder.to_owned(), to: folder.to_owned(), writable: false });
            }
            path.display().to_string()
        }
    };
    let mut lowers: Vec<Layer> = base.iter().map(|layer| lower(paths, *layer)).collect();
    if lowers.is_empty() {
        lowers.push(Layer {
            name: "the empty layer".into(),
            folder: paths.installation().join("empty"),
            beneath: None,
        });
    }
    Launch {
        version: LAUNCH_VERSION,
        folder: paths.run(run),
        run: run.to_string(),
        journal: run.journal(),
        server_id: None,
        generated: None,
        lowers,
        upper: paths.new_layer(new),
        work: paths.layer_work(new),
        binds,
        program,
        arguments,
        // A decimal comma in the progress lines is a matter of the locale (domain.md).
        environment: environment(&[("LC_ALL", "C")]),
        working_folder: HOME.into(),
        limits: limits.clone(),
        // SteamCMD has no console to type into while it works.
        stop: StopPlan { line: None, line_ms: 0, interrupt_ms: 5000 },
        console: ConsoleLimits::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Paths) {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        paths.create().unwrap();
        (base, paths)
    }

    #[test]
    fn a_layer_is_seen_whole_or_not_at_all() {
        let (_base, paths) = place();
        begin(&paths, LayerId(1)).unwrap();
        fs::write(paths.new_layer(LayerId(1)).join("srcds_run"), "12345").unwrap();
        assert_eq!(published(&paths).unwrap(), []);
        assert_eq!(publish(&paths, LayerId(1)).unwrap(), 5);
        assert_eq!(publish(&paths, LayerId(1)).unwrap(), 5, "again, after a crash");
        assert_eq!(published(&paths).unwrap(), [LayerId(1)]);
        assert!(!paths.layer_work(LayerId(1)).exists());
        assert!(begin(&paths, LayerId(1)).is_err());
    }

    #[test]
    fn a_failed_install_leaves_nothing_and_a_crashed_one_is_swept_away() {
        let (_base, paths) = place();
        for number in [1, 2, 3] {
            begin(&paths, LayerId(number)).unwrap();
        }
        discard(&paths, LayerId(1)).unwrap();
        sweep(&paths, &[LayerId(3)]).unwrap();
        assert!(!paths.new_layer(LayerId(1)).exists() && !paths.new_layer(LayerId(2)).exists());
        assert!(paths.new_layer(LayerId(3)).is_dir());
    }

    #[test]
    fn a_removed_layer_is_gone_and_removing_it_again_is_fine() {
        let (_base, paths) = place();
        begin(&paths, LayerId(1)).unwrap();
        publish(&paths, LayerId(1)).unwrap();
        for _ in 0..2 {
            hide(&paths, LayerId(1)).unwrap();
            discard(&paths, LayerId(1)).unwrap();
        }
        assert_eq!(published(&paths).unwrap(), []);
    }
}
