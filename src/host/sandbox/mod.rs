//! The sandbox as data: [`plan`] says what will be done, in order, [`apply`](apply::apply) does it.
//!
//! The plan is pure, so that a test can hold it to the letter and a reader can see the whole inside at once. It is carried
//! out by the child of the shim that becomes PID 1 of the new namespaces; it has every right inside and none outside.
//!
//! The inside: `/game` (the merged overlay), `/home` and `/tmp` (private, in memory), `/proc` (its own), `/dev` (eight
//! devices), `/usr` and what leads there (read-only), a few files of `/etc`. Nothing of `data_dir` but the layers.

pub mod apply;
pub mod layer;

use std::path::PathBuf;

use super::launch::{Bind, Launch, Layer};

/// The user and group number that a program inside has. Outside it is the service user.
pub const INNER_ID: u32 = 1000;
/// Where the merged game lies inside.
pub const GAME: &str = "/game";
/// HOME inside.
pub const HOME: &str = "/home";

/// Where a program inside may write at all; `/proc` for its own settings, `/dev` for its terminal.
const WRITABLE: [&str; 5] = [GAME, HOME, "/tmp", "/dev", "/proc"];

/// One thing that is done. Paths without a leading slash are relative to the new root, in which the steps work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The service user becomes [`INNER_ID`].
    MapIds,
    /// Mounts here do not show outside, nor the other way.
    MakeMountsPrivate,
    /// A new root in memory, over this folder of the host; the working folder from here on.
    Root(PathBuf),
    /// A folder, with its parents.
    Folder(PathBuf),
    /// A small file.
    Text(PathBuf, String),
    /// A symlink, and what it says.
    Link(PathBuf, PathBuf),
    /// Opens a layer, once, checks it and gives it a short name.
    Layer(usize, Layer),
    /// Opens the upper and work folders.
    Upper {
        /// Where writes go.
        upper: PathBuf,
        /// Overlayfs' own folder.
        work: PathBuf,
    },
    /// Mounts the opened layers.
    Overlay {
        /// Where.
        at: PathBuf,
        /// How many lower layers.
        lowers: usize,
    },
    /// A memory file system.
    Memory {
        /// Where.
        at: PathBuf,
        /// Most bytes.
        bytes: u64,
        /// Permissions of its top folder.
        mode: u32,
        /// Whether programs in it may run.
        executable: bool,
    },
    /// The processes of this namespace.
    Proc(PathBuf),
    /// Terminals of this namespace.
    Terminals(PathBuf),
    /// A device of the host.
    Device(&'static str),
    /// A top folder of the host, read-only; a symlink is copied as such, a missing one left out.
    System(&'static str),
    /// A file or folder of the host's `/etc`, read-only; a missing one is left out.
    Setting(&'static str),
    /// Something of the host.
    Bind(Bind),
    /// A generated file, over whatever the merged game has under that name: read-only.
    Pin {
        /// File of the host.
        from: PathBuf,
        /// Its place in the merged game.
        to: PathBuf,
    },
    /// The name that the inside has for the box.
    HostName(String),
    /// The new root becomes the root; the old one is gone; nothing more can be added to the new one.
    EnterRoot,
    /// Resource limits that need no cgroup.
    Resources {
        /// Open files of one process.
        open_files: u64,
        /// Bytes of one file.
        file_bytes: Option<u64>,
        /// Processes and threads of this namespace.
        processes: Option<u64>,
    },
    /// No rights, now or by any program that is run.
    DropCapabilities,
    /// Set-uid programs give nothing.
    NoNewPrivileges,
    /// Landlock, where the kernel has it: writes only below these folders of the inside, no signals and no abstract
    /// sockets to the outside, whatever the mounts above may have missed.
    Fence {
        /// Absolute, inside.
        writable: Vec<PathBuf>,
    },
    /// The system call filter.
    FilterCalls,
}

/// Devices that programs expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Top folders that hold programs and libraries.
const SYSTEM: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec"];
/// What resolving names, TLS, the loader and local time need. `alternatives` is where `/usr/bin` names of interpreters
/// lead on Debian.
const SETTINGS: [&str; 18] = [
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];

/// What will be done to make the sandbox of `launch`.
pub fn plan(launch: &Launch) -> Vec<Step> {
    let mut steps = vec![Step::MapIds, Step::MakeMountsPrivate, Step::Root(launch.folder.join("root"))];
    let lowers = launch
        .generated
        .iter()
        .map(|generated| Layer {
            name: "the instance's own layer".into(),
            folder: generated.folder.clone(),
            beneath: None,
        })
        .chain(launch.lowers.iter().cloned());
    steps.push(Step::Upper { upper: launch.upper.clone(), work: launch.work.clone() });
    let before = steps.len();
    steps.extend(lowers.enumerate().map(|(number, layer)| Step::Layer(number, layer)));
    let count = steps.len() - before;
    steps.push(Step::Overlay { at: relative(GAME), lowers: count });
    if let Some(generated) = &launch.generated {
        for (file, _) in &generated.files {
            steps.push(Step::Pin { from: generated.folder.join(file), to: relative(GAME).join(file) });
        }
    }

    steps.push(Step::Memory { at: "tmp".into(), bytes: 512 << 20, mode: 0o1777, executable: true });
    steps.push(Step::Memory { at: relative(HOME), bytes: 256 << 20, mode: 0o755, executable: true });
    steps.push(Step::Proc("proc".into()));
    steps.push(Step::Memory { at: "dev".into(), bytes: 1 << 20, mode: 0o755, executable: false });
    steps.extend(DEVICES.map(Step::Device));
    steps.push(Step::Terminals("dev/pts".into()));
    steps.push(Step::Link("dev/ptmx".into(), "pts/ptmx".into()));
    steps.push(Step::Memory { at: "dev/shm".into(), bytes: 256 << 20, mode: 0o1777, executable: false });
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        steps.push(Step::Link(PathBuf::from("dev").join(name), format!("/proc/self/fd{target}").into()));
    }
    steps.extend(SYSTEM.map(Step::System));
    steps.extend(SETTINGS.map(Step::Setting));
    let nologin = "/usr/sbin/nologin";
    steps.push(Step::Text(
        "etc/passwd".into(),
        format!("root:x:0:0::/:{nologin}\ngame:x:{INNER_ID}:{INNER_ID}::{HOME}:{nologin}\n"),
    ));
    steps.push(Step::Text("etc/group".into(), format!("root:x:0:\ngame:x:{INNER_ID}:\n")));
    steps.push(Step::Link("var/tmp".into(), "/tmp".into()));
    steps.push(Step::Folder("run".into()));
    steps.extend(launch.binds.iter().map(|bind| Step::Bind(Bind { to: strip(&bind.to), ..bind.clone() })));

    steps.push(Step::HostName(format!("left4me-{}", launch.run)));
    steps.push(Step::EnterRoot);
    steps.push(Step::Resources {
        open_files: launch.limits.open_files,
        file_bytes: launch.limits.file_bytes,
        processes: launch.limits.pids_max,
    });
    // The order matters: the filter refuses what the steps above do, and dropping rights comes before it because it
    // takes some twenty calls that a later, stricter filter might refuse.
    steps.push(Step::DropCapabilities);
    steps.push(Step::NoNewPrivileges);
    let writable = WRITABLE.iter().map(PathBuf::from);
    let bound = launch.binds.iter().filter(|bind| bind.writable).map(|bind| bind.to.clone());
    steps.push(Step::Fence { writable: writable.chain(bound).collect() });
    steps.push(Step::FilterCalls);
    steps
}

fn relative(inside: &str) -> PathBuf {
    inside.trim_start_matches('/').into()
}

fn strip(inside: &std::path::Path) -> PathBuf {
    inside.strip_prefix("/").unwrap_or(inside).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::instance;
    use crate::host::launch::Limits;
    use crate::host::paths::Paths;
    use crate::model::id::{LayerId, OverlayId, ServerId};
    use crate::model::spec::{InstanceSpec, SPEC_VERSION, SpecOverlay};
    use crate::model::time::Timestamp;

    fn example() -> Launch {
        let paths = Paths::new("/data", "/data/overlays");
        let spec = InstanceSpec {
            version: SPEC_VERSION,
            server_id: ServerId(42),
            port: 27015,
            tv_port: Some(27020),
            game: vec![LayerId(2), LayerId(1)],
            overlays: vec![
                SpecOverlay { id: OverlayId(3), path: Some("/data/overlays/comp".into()), revision: None },
                SpecOverlay { id: OverlayId(4), path: None, revision: Some(7) },
            ],
            arguments: vec!["+map".into(), "c1m1_hotel".into()],
            config: vec!["hostname \"x\"".into()],
            written_at: Timestamp(0),
        };
        instance::launch_of(&paths, &spec, &Limits::default())
    }

    #[test]
    fn the_plan_of_a_game_is_this_and_nothing_else() {
        let lines: Vec<String> = plan(&example()).iter().map(|step| format!("{step:?}")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        MapIds
        MakeMountsPrivate
        Root("/data/runtime/42/root")
        Upper { upper: "/data/instances/42/upper", work: "/data/instances/42/work" }
        Layer(0, Layer { name: "the instance's own layer", folder: "/data/instances/42/generated", beneath: None })
        Layer(1, Layer { name: "overlay 3", folder: "comp", beneath: Some("/data/overlays") })
        Layer(2, Layer { name: "overlay 4", folder: "/data/managed/4/7", beneath: None })
        Layer(3, Layer { name: "game layer 2", folder: "/data/installation/2", beneath: None })
        Layer(4, Layer { name: "game layer 1", folder: "/data/installation/1", beneath: None })
        Overlay { at: "game", lowers: 5 }
        Pin { from: "/data/instances/42/generated/left4dead2/cfg/server.cfg", to: "game/left4dead2/cfg/server.cfg" }
        Memory { at: "tmp", bytes: 536870912, mode: 1023, executable: true }
        Memory { at: "home", bytes: 268435456, mode: 493, executable: true }
        Proc("proc")
        Memory { at: "dev", bytes: 1048576, mode: 493, executable: false }
        Device("null")
        Device("zero")
        Device("full")
        Device("random")
        Device("urandom")
        Device("tty")
        Terminals("dev/pts")
        Link("dev/ptmx", "pts/ptmx")
        Memory { at: "dev/shm", bytes: 268435456, mode: 1023, executable: false }
        Link("dev/fd", "/proc/self/fd")
        Link("dev/stdin", "/proc/self/fd/0")
        Link("dev/stdout", "/proc/self/fd/1")
        Link("dev/stderr", "/proc/self/fd/2")
        System("usr")
        System("bin")
        System("sbin")
        System("lib")
        System("lib32")
        System("lib64")
        System("libx32")
        System("libexec")
        Setting("alternatives")
        Setting("ca-certificates")
        Setting("crypto-policies")
        Setting("gai.conf")
        Setting("host.conf")
        Setting("hosts")
        Setting("ld.so.cache")
        Setting("ld.so.conf")
        Setting("ld.so.conf.d")
        Setting("localtime")
        Setting("nsswitch.conf")
        Setting("pki/ca-trust")
        Setting("pki/tls/certs")
        Setting("protocols")
        Setting("resolv.conf")
        Setting("services")
        Setting("ssl/certs")
        Setting("ssl/openssl.cnf")
        Text("etc/passwd", "root:x:0:0::/:/usr/sbin/nologin\ngame:x:1000:1000::/home:/usr/sbin/nologin\n")
        Text("etc/group", "root:x:0:\ngame:x:1000:\n")
        Link("var/tmp", "/tmp")
        Folder("run")
        HostName("left4me-42")
        EnterRoot
        Resources { open_files: 4096, file_bytes: Some(68719476736), processes: Some(512) }
        DropCapabilities
        NoNewPrivileges
        Fence { writable: ["/game", "/home", "/tmp", "/dev", "/proc"] }
        FilterCalls
        "#);
    }

    #[test]
    fn rights_are_dropped_last_and_the_filter_is_the_very_last() {
        let steps = plan(&example());
        assert!(matches!(
            steps[steps.len() - 4..],
            [Step::DropCapabilities, Step::NoNewPrivileges, Step::Fence { .. }, Step::FilterCalls]
        ));
    }

    #[test]
    fn the_command_line_is_fixed_arguments_then_the_blueprints_then_the_tv_port() {
        let launch = example();
        assert_eq!(launch.program, "/game/srcds_linux");
        let line = launch.arguments.join(" ");
        insta::assert_snapshot!(line, @"-console -game left4dead2 -strictportbind -ip 0.0.0.0 -port 27015 -norestart +map c1m1_hotel +tv_port 27020");
    }
}
