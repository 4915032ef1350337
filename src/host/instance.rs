//! Instances: the machine side of a server. `spec.yaml` in, a launch request out; folders made, checked and removed.
//!
//! Jobs write the spec and remove instances; the supervisor asks for the launch; the shim, which holds the run's lock,
//! calls [`prepare`]. Nothing here starts a process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use super::launch::{Bind, ConsoleLimits, Generated, LAUNCH_VERSION, Launch, Layer, Limits, StopPlan};
use super::paths::{Paths, Run};
use super::sandbox::layer::{self, LayerError};
use super::sandbox::{GAME, HOME};
use super::shim::state::{lock_path, take_lock};
use crate::model::id::{HostId, LayerId, OverlayId, ServerId};
use crate::model::spec::{InstanceSpec, SPEC_VERSION, SpecOverlay};
use crate::sys;

/// Why an instance cannot be worked on. Texts name the remedy.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// There is no spec.
    #[error("server {0} is not initialized: initialize it first")]
    NoSpec(HostId),
    /// The spec is not one of ours.
    #[error("{}: {problem}; initialize the server again", path.display())]
    BadSpec {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A shim holds the lock.
    #[error("server {0} runs: stop it first")]
    Running(HostId),
    /// An overlay cannot be mounted.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The file system said no.
    #[error("{what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

fn io_error(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> InstanceError {
    let path = path.into();
    move |error| InstanceError::Io { what, path, error }
}

/// Writes the spec in one step, with the instance's folders.
pub fn write_spec(paths: &Paths, spec: &InstanceSpec) -> Result<(), InstanceError> {
    let host = HostId::of(spec.server_id);
    for folder in [paths.upper(host), paths.work(host)] {
        fs::create_dir_all(&folder).map_err(io_error("cannot make", folder))?;
    }
    let path = paths.spec(host);
    let text = serde_yaml::to_string(spec)
        .map_err(|error| InstanceError::BadSpec { path: path.clone(), problem: error.to_string() })?;
    sys::fs::write_atomically(&path, text.as_bytes()).map_err(io_error("cannot write", path))
}

/// Writes a small file of a run in one step: a reader sees the old text or the new one.
pub fn write_note(path: &std::path::Path, text: &str) -> io::Result<()> {
    sys::fs::write_atomically(path, text.as_bytes())
}

/// Reads the spec.
pub fn read_spec(paths: &Paths, host: HostId) -> Result<InstanceSpec, InstanceError> {
    let path = paths.spec(host);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(InstanceError::NoSpec(host)),
        other => other.map_err(io_error("cannot read", &path))?,
    };
    let bad = |problem: String| InstanceError::BadSpec { path: path.clone(), problem };
    let spec: InstanceSpec = serde_yaml::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if spec.version > SPEC_VERSION {
        return Err(bad(format!("it has version {}, this left4me reads up to {SPEC_VERSION}", spec.version)));
    }
    if HostId::of(spec.server_id) != host {
        return Err(bad(format!("it is the spec of server {}", spec.server_id)));
    }
    Ok(spec)
}

/// The layer that one overlay of a spec is.
pub fn overlay_layer(paths: &Paths, overlay: &SpecOverlay) -> Layer {
    let name = format!("overlay {}", overlay.id);
    match (&overlay.path, overlay.revision) {
        (Some(path), _) => {
            let root = paths.overlay_root.clone();
            let folder = PathBuf::from(path);
            let folder = folder.strip_prefix(&root).map_or(folder.clone(), PathBuf::from);
            Layer { name, folder, beneath: Some(root) }
        }
        (None, Some(number)) => Layer { name, folder: paths.revision(overlay.id, number), beneath: None },
        // Nothing was uploaded yet: the folder of its revisions does not hold this one, and the error says so.
        (None, None) => Layer { name, folder: paths.managed(overlay.id).join("current"), beneath: None },
    }
}

/// Checks one overlay as a mount needs it: under its root, same file system as the data, inode numbers and owners that
/// the sandbox can show, readable. Path overlays are checked to the last file, for admins fill them by hand.
pub fn check_overlay(paths: &Paths, overlay: &SpecOverlay) -> Result<(), LayerError> {
    use std::os::unix::fs::MetadataExt;
    let layer = overlay_layer(paths, overlay);
    let device = fs::metadata(&paths.data_dir).map(|metadata| metadata.dev()).map_err(|error| LayerError::Unfit {
        name: "the data folder".into(),
        folder: paths.data_dir.clone(),
        problem: error.to_string(),
    })?;
    if overlay.path.is_some() {
        layer::check_deep(&layer, device)
    } else {
        layer::check(&layer, &layer::open(&layer)?, device)
    }
}

/// Checks every overlay of a spec.
pub fn check_overlays(paths: &Paths, spec: &InstanceSpec) -> Result<(), LayerError> {
    spec.overlays.iter().try_for_each(|overlay| check_overlay(paths, overlay))
}

/// The launch request of a game: the fixed arguments, the blueprint's words, the layers in order (domain.md, srcds).
pub fn launch_of(paths: &Paths, spec: &InstanceSpec, limits: &Limits) -> Launch {
    let host = HostId::of(spec.server_id);
    let run = Run::Server(host);
    let port = spec.port.to_string();
    let fixed =
        ["-console", "-game", "left4dead2", "-strictportbind", "-ip", "0.0.0.0", "-port", port.as_str(), "-norestart"];
    let mut arguments: Vec<String> =
        fixed.iter().map(ToString::to_string).chain(spec.arguments.iter().cloned()).collect();
    if let Some(tv_port) = spec.tv_port {
        arguments.extend(["+tv_port".into(), tv_port.to_string()]);
    }
    let mut config = spec.config.join("\n");
    config.push('\n');
    let game = spec.game.iter().map(|layer| Layer {
        name: format!("game layer {layer}"),
        folder: paths.layer(*layer),
        beneath: None,
    });
    let steamclient = paths.steamclient().map(|from| Bind {
        from,
        to: format!("{HOME}/.steam/sdk32/steamclient.so").into(),
        writable: false,
    });
    Launch {
        version: LAUNCH_VERSION,
        folder: paths.run(run),
        run: run.to_string(),
        journal: run.journal(),
        server_id: Some(spec.server_id.0),
        generated: Some(Generated {
            folder: paths.generated(host),
            files: vec![("left4dead2/cfg/server.cfg".into(), config)],
        }),
        lowers: spec.overlays.iter().map(|overlay| overlay_layer(paths, overlay)).chain(game).collect(),
        upper: paths.upper(host),
        work: paths.work(host),
        binds: steamclient.into_iter().collect(),
        program: format!("{GAME}/srcds_linux"),
        arguments,
        environment: environment(&[("LD_LIBRARY_PATH", ".:bin")]),
        working_folder: GAME.into(),
        limits: limits.clone(),
        stop: StopPlan::default(),
        console: ConsoleLimits::default(),
    }
}

/// The environment that every program inside gets, and `more`.
pub(super) fn environment(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let common = [
        ("HOME", HOME),
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/games"),
        ("TERM", "xterm"),
        ("USER", "game"),
    ];
    common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Makes the folders of a launch and writes the instance's own layer anew. Called by the shim, with the run's lock held:
/// a layer must not change while it is mounted.
pub fn prepare(launch: &Launch) -> Result<(), String> {
    let failed = |path: &std::path::Path| {
        let path = path.to_owned();
        move |error: io::Error| format!("{} cannot be prepared: {error}", path.display())
    };
    for folder in [&launch.upper, &launch.work] {
        fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let Some(generated) = &launch.generated else { return Ok(()) };
    if holds(generated).unwrap_or(false) {
        return Ok(());
    }
    sys::fs::remove_tree(&generated.folder).map_err(failed(&generated.folder))?;
    fs::create_dir_all(&generated.folder).map_err(failed(&generated.folder))?;
    for (name, text) in &generated.files {
        let path = generated.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Whether the folder holds the wanted files and nothing else: most starts change nothing, and reading is a tenth of the work
/// of removing and making.
fn holds(generated: &Generated) -> io::Result<bool> {
    let mut missing: BTreeMap<PathBuf, &str> =
        generated.files.iter().map(|(name, text)| (generated.folder.join(name), text.as_str())).collect();
    let mut folders = vec![generated.folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = entry.path();
            if kind.is_dir() && missing.keys().any(|file| file.starts_with(&path)) {
                folders.push(path);
            } else if !kind.is_file() || missing.remove(&path).is_none_or(|text| !is_text(&path, text)) {
                return Ok(false);
            }
        }
    }
    Ok(missing.is_empty())
}

fn is_text(path: &std::path::Path, text: &str) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == text.len() as u64)
        && fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
}

/// Removes all that the machine has of an instance: layers, spec, console. Refused while it runs.
pub fn remove(paths: &Paths, host: HostId) -> Result<(), InstanceError> {
    let run = paths.run(Run::Server(host));
    let lock = lock(paths, host)?;
    let folder = paths.instance(host);
    sys::fs::remove_tree(&folder).map_err(io_error("cannot remove", folder))?;
    sys::fs::remove_tree(&run).map_err(io_error("cannot remove", run))?;
    drop(lock);
    Ok(())
}

/// Forgets what the game wrote: the upper is empty at the next start. Refused while it runs.
pub fn reset_layer(paths: &Paths, host: HostId) -> Result<(), InstanceError> {
    let _lock = lock(paths, host)?;
    for folder in [paths.upper(host), paths.work(host)] {
        sys::fs::remove_tree(&folder).map_err(io_error("cannot remove", &folder))?;
        fs::create_dir_all(&folder).map_err(io_error("cannot make", folder))?;
    }
    Ok(())
}

/// What the specs of instances name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Game layers.
    pub layers: BTreeSet<LayerId>,
    /// Revisions of managed overlays.
    pub revisions: BTreeSet<(OverlayId, u64)>,
}

/// What instances of this box have mounted or may mount: what is in the specs of all but the `idle`, which nothing
/// starts, and of an idle one that runs nevertheless.
///
/// # Errors
/// A spec that cannot be read: then nobody knows what is in use.
pub fn in_use(paths: &Paths, idle: &BTreeSet<ServerId>) -> Result<InUse, InstanceError> {
    let instances = paths.data_dir.join("instances");
    let mut used = InUse::default();
    for entry in fs::read_dir(&instances).map_err(io_error("cannot read", &instances))? {
        let name = entry.map_err(io_error("cannot read", &instances))?.file_name();
        let Some(server) = name.to_str().and_then(|name| name.parse::<ServerId>().ok()) else { continue };
        let host = HostId::of(server);
        if idle.contains(&server) && !runs(paths, host)? {
            continue;
        }
        match read_spec(paths, host) {
            Ok(spec) => {
                used.revisions.extend(spec.overlays.iter().filter_map(|own| Some((own.id, own.revision?))));
                used.layers.extend(spec.game);
            }
            // It was never initialized: there is nothing that could be started.
            Err(InstanceError::NoSpec(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(used)
}

/// Whether somebody holds the run's lock.
fn runs(paths: &Paths, host: HostId) -> Result<bool, InstanceError> {
    let run = paths.run(Run::Server(host));
    if !run.is_dir() {
        return Ok(false);
    }
    let lock = sys::fs::try_lock(&lock_path(&run)).map_err(io_error("cannot lock", &run))?;
    Ok(lock.is_none())
}

/// Removes the folder of a run that has ended (an install's). Refused while it runs.
pub fn remove_run(paths: &Paths, run: Run) -> io::Result<()> {
    let folder = paths.run(run);
    if !folder.is_dir() {
        return Ok(());
    }
    let lock = take_lock(&folder)?;
    if lock.is_none() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{run} runs")));
    }
    sys::fs::remove_tree(&folder)
}

fn lock(paths: &Paths, host: HostId) -> Result<Option<std::os::fd::OwnedFd>, InstanceError> {
    let run = paths.run(Run::Server(host));
    if !run.is_dir() {
        return Ok(None);
    }
    match take_lock(&run).map_err(io_error("cannot lock", &run))? {
        Some(lock) => Ok(Some(lock)),
        None => Err(InstanceError::Running(host)),
    }
}
