//! What the tests of this folder share: another user, a data folder with a small game, and a look at what is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use left4me::host::launch::{ExitStatus, Launch, Limits};
use left4me::host::paths::{Paths, Run};
use left4me::host::shim::client::{self, Adoption, Client, Event, StartError};
use left4me::host::shim::starter::ShimStarter;
use left4me::host::shim::state;
use left4me::host::{console, instance};
use left4me::model::id::{HostId, LayerId, OverlayId, ServerId};
use left4me::model::spec::{InstanceSpec, SPEC_VERSION, SpecOverlay};
use left4me::model::time::Timestamp;

/// Longer than anything here takes; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Any user that owns nothing.
const NOBODY: u32 = 61_234;
const INNER: &str = "LEFT4ME_TEST_BINARY";

/// Runs a test's body as an unprivileged user. `name`: the test's whole name.
pub fn as_user(name: &str, body: impl AsyncFnOnce()) {
    if rustix::process::geteuid().is_root() {
        return again_as_nobody(name);
    }
    as_is(body);
}

/// Runs a test's body as whoever runs the tests, root too.
pub fn as_is(body: impl AsyncFnOnce()) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body());
}

/// The target folder may be closed to other users, so the programs are linked to where they can go.
fn again_as_nobody(name: &str) {
    let programs = tempfile::Builder::new().prefix("left4me-programs-").tempdir().unwrap();
    fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let place = |from: &Path, name: &str| {
        let to = programs.path().join(name);
        fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop)).unwrap();
        to
    };
    let test = place(&std::env::current_exe().unwrap(), "test");
    let left4me = place(Path::new(env!("CARGO_BIN_EXE_left4me")), "left4me");
    let name = name.split_once("::").map_or(name, |(_, rest)| rest);
    let status = Command::new(test)
        .args(["--exact", name, "--nocapture"])
        .env(INNER, left4me)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed as uid {NOBODY}");
}

/// Declares tests that run as an unprivileged user.
macro_rules! tests {
    ($(fn $name:ident() $body:block)+) => {$(
        #[test]
        fn $name() {
            $crate::support::as_user(concat!(module_path!(), "::", stringify!($name)), async || $body);
        }
    )+};
}
pub(crate) use tests;

/// left4me, where this user may execute it.
pub fn left4me() -> PathBuf {
    std::env::var_os(INNER).map_or_else(|| env!("CARGO_BIN_EXE_left4me").into(), PathBuf::from)
}

/// A data folder. Dropping it ends what runs there and fails the test if anything is left.
pub struct Place {
    base: tempfile::TempDir,
    pub paths: Paths,
    pub starter: ShimStarter,
}

impl Place {
    /// Empty, but for a game layer 1 whose `srcds_linux` is this shell script.
    pub fn with_game(script: &str) -> Self {
        let base = tempfile::Builder::new().prefix("left4me-host-").tempdir().unwrap();
        let paths = Paths::new(base.path().join("data"), base.path().join("data/overlays"));
        paths.create().unwrap();
        let place = Self { base, paths, starter: ShimStarter::Exec { program: left4me() } };
        place.program(1, "srcds_linux", format!("#!/bin/sh\n{script}\n").as_bytes());
        place
    }

    /// A file in a game layer.
    pub fn program(&self, layer: u64, name: &str, bytes: &[u8]) {
        let path = self.paths.layer(LayerId(layer)).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A path overlay with these files.
    pub fn overlay(&self, id: u64, files: &[(&str, &str)]) -> SpecOverlay {
        let folder = self.paths.overlay_root.join(format!("overlay-{id}"));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        SpecOverlay { id: OverlayId(id), path: Some(folder.to_str().unwrap().into()), revision: None }
    }

    /// A spec with these overlays on game layer 1.
    #[allow(clippy::unused_self)] // reads as what it is: a server of this place
    pub fn spec(&self, id: u64, overlays: Vec<SpecOverlay>) -> InstanceSpec {
        InstanceSpec {
            version: SPEC_VERSION,
            server_id: ServerId(id),
            port: 27015,
            tv_port: None,
            game: vec![LayerId(1)],
            overlays,
            arguments: vec!["+map".into(), "c1m1_hotel".into()],
            config: vec!["hostname \"x\"".into()],
            written_at: Timestamp(0),
        }
    }

    /// The launch of server `id` without overlays.
    pub fn launch(&self, id: u64) -> Launch {
        self.launch_of(&self.spec(id, vec![]))
    }

    /// The launch of a spec.
    pub fn launch_of(&self, spec: &InstanceSpec) -> Launch {
        instance::launch_of(&self.paths, spec, &Limits::default())
    }

    /// Starts it; it must start.
    pub async fn start(&self, launch: &Launch) -> Client {
        self.try_start(launch).await.unwrap()
    }

    /// Starts it.
    pub async fn try_start(&self, launch: &Launch) -> Result<Client, StartError> {
        client::start(&self.starter, launch).await
    }

    /// The whole console of a server.
    pub fn console(&self, id: u64) -> String {
        let chunk = console::read(&self.paths, server(id), 0, 64 << 20).unwrap();
        String::from_utf8_lossy(&chunk.bytes).into_owned()
    }

    /// Waits until the console holds `text`.
    pub async fn await_console(&self, client: &mut Client, id: u64, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.console(id).contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, client.next_event()).await {
                Ok(Event::Output(_)) => {}
                other => {
                    let console = self.console(id);
                    assert!(console.contains(text), "{other:?} before {text:?} in console:\n{console}");
                }
            }
        }
    }

    /// Runs it to its end and answers how it ended and what it printed.
    pub async fn run(&self, launch: &Launch) -> (ExitStatus, String) {
        let id = launch.server_id.unwrap();
        match self.try_start(launch).await {
            Ok(mut client) => (await_exit(&mut client).await, self.console(id)),
            // A program may be done before its starter has connected.
            Err(error) => match adopted(&self.paths, id).await {
                Adoption::Exited(status) => (status, self.console(id)),
                other => panic!("{error}; {other:?}"),
            },
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for run in client::runs(&self.paths).unwrap() {
            if let Ok(Some(state)) = state::read_state(&self.paths.run(run)) {
                for identity in [&state.init, &state.shim] {
                    if identity.is_alive() {
                        kill(identity.pid);
                    }
                }
                if !std::thread::panicking() {
                    for identity in [&state.program, &state.init, &state.shim] {
                        eventually("a process is left", || !identity.is_alive());
                    }
                }
            }
        }
        if !std::thread::panicking() {
            let mounts = fs::read_to_string("/proc/mounts").unwrap();
            assert!(!mounts.contains(self.paths.data_dir.to_str().unwrap()), "a mount is left:\n{mounts}");
        }
        // Not left to the folder's own end: overlayfs leaves a folder without permissions, which it could not open.
        let removed = left4me::sys::fs::remove_tree(self.base.path());
        assert!(removed.is_ok() || std::thread::panicking(), "a folder is left: {removed:?}");
    }
}

/// The run of a server.
pub fn server(id: u64) -> Run {
    Run::Server(HostId::of(ServerId(id)))
}

/// What became of a server.
pub async fn adopted(paths: &Paths, id: u64) -> Adoption {
    client::adopt(paths, server(id)).await.unwrap()
}

/// Waits for the end.
pub async fn await_exit(client: &mut Client) -> ExitStatus {
    loop {
        match tokio::time::timeout(PATIENCE, client.next_event()).await.expect("the program ends") {
            Event::Exit(status) => return status,
            Event::Lost => panic!("the shim was lost"),
            Event::Output(_) | Event::Refused(_) => {}
        }
    }
}

/// SIGKILL.
pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Waits for something that announces itself to nobody.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
