//! A disk that fills up: while SteamCMD downloads, while a log grows, while a spec is written. Each ends in a clear error,
//! leaves nothing half-done, and is over once there is space. On a small file system of the test's own.

use std::fs;
use std::io::Write;

use left4me::host::instance;
use left4me::host::paths::Paths;
use left4me::model::id::{HostId, LayerId, ServerId};
use left4me::model::spec::{InstanceSpec, SPEC_VERSION};
use left4me::model::time::Timestamp;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::panel::{Panel, Setup, may_become_another};
use crate::support::stand_in::StandIn;

/// A file system with so many MiB.
fn small(mib: u64) -> Option<Setup> {
    if may_become_another() {
        return Some(Setup { data_mib: Some(mib), ..Setup::default() });
    }
    crate::support::skip("a file system is mounted by root only");
    None
}

/// Takes all the space that is left; dropping it gives it back.
struct Ballast(std::path::PathBuf);

impl Ballast {
    fn fill(panel: &Panel) -> Self {
        Self::fill_but(panel, 0)
    }

    /// All but so many bytes.
    fn fill_but(panel: &Panel, spare: u64) -> Self {
        let path = panel.data("ballast");
        let mut file = fs::File::create(&path).expect("a file");
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        let length = file.metadata().expect("its size").len();
        file.set_len(length - spare).expect("some room");
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The daemon is well, also after a restart: the store opens.
fn is_well(panel: &mut Panel) {
    assert_eq!(panel.get("/health")["status"], "ok");
    panel.terminate();
    panel.start_again();
    assert_eq!(panel.get("/health")["status"], "ok");
}

#[test]
fn a_disk_that_fills_up_during_an_install_ends_it_with_a_clear_error_and_leaves_nothing() {
    let Some(setup) = small(64) else { return };
    // What the real one does: it writes until it cannot, and says 0x202. The second install finds space.
    let stand_in = StandIn::playing(
        "run +app_update 222860 validate\n\
         sh head -c 200000000 /dev/zero >\"$game/pak01_001.vpk\" || echo \"Error! App '222860' state is 0x202 after update job.\"\n\
         exit 8\n\
         run +@sSteamCmdForcePlatformType windows\nsay Success! App '222860' fully installed.\nexit 0\n\
         run +@sSteamCmdForcePlatformType linux\nprogram srcds_run\nsay Success! App '222860' fully installed.\nexit 0\n",
    );
    let mut panel = stand_in.panel_with(setup);
    let job = panel.run("/admin/install");
    assert_eq!(job["state"], "failed", "{job}");
    let error = job["error"].as_str().unwrap_or_default();
    assert!(error.contains("the disk is full: free some space"), "{error}");
    assert_eq!(panel.get("/admin/builds")["items"], json!([]));
    let left: Vec<_> = fs::read_dir(panel.data("installation")).expect("a folder").flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == "empty"), "{left:?}");
    is_well(&mut panel);
    panel.must("/admin/install");
    assert!(panel.data("installation/2/srcds_run").exists(), "and with space the next install succeeds");
}

#[test]
fn a_disk_that_fills_up_while_a_log_grows_holds_the_log_up_and_loses_no_line_of_it() {
    let Some(setup) = small(64) else { return };
    let stand_in = StandIn::playing(
        "run +app_update 222860 validate\nsay before\nawait go\n\
         sh i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); echo \"line $i of a log that finds no room on the disk\"; done\n\
         say after\nawait done\nsay Success! App '222860' fully installed.\nexit 0\n\
         run +@sSteamCmdForcePlatformType linux\nprogram srcds_run\nsay Success! App '222860' fully installed.\nexit 0\n",
    );
    let mut panel = stand_in.panel_with(setup);
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    eventually("the first lines", || panel.job_log(&job).contains("before").then_some(()));
    // Room for what the program prints, which is a file of its shim, and not for the store's copy of it.
    let ballast = Ballast::fill_but(&panel, 3 << 20);
    StandIn::let_go(&panel);
    eventually("a log that cannot be stored", || {
        panel.logged.lock().expect("its log").contains("its log cannot be written").then_some(())
    });
    let health = panel.admin("GET", "/health", &Value::Null);
    assert!(health.status == 200 || health.body.contains("no space left on the disk"), "{health:?}");
    drop(ballast);
    let stored = || panel.get(&format!("/jobs/{}", job["id"]))["last_seq"].as_u64().unwrap_or(0);
    eventually("what was held up", || (stored() > 30_000).then_some(()));
    fs::write(panel.data("steam/done"), "").expect("a file");
    assert_eq!(panel.finished(&job)["state"], "succeeded");
    let log = panel.job_log(&job);
    let numbers: Vec<u32> =
        log.lines().filter_map(|line| line.strip_prefix("line ")?.split(' ').next()?.parse().ok()).collect();
    assert!(numbers == (1..=30_000).collect::<Vec<_>>(), "every line once: {} lines", numbers.len());
    is_well(&mut panel);
}

#[test]
fn a_disk_that_is_full_when_a_spec_is_written_leaves_the_old_spec_whole() {
    let Some(setup) = small(640) else { return };
    let mut panel = Panel::with(setup);
    let blueprint = panel.with_game();
    let server = panel.server("one", blueprint);
    panel.must(&format!("/servers/{server}/initialize"));
    let spec = panel.data("instances").join(server.to_string()).join("spec.yaml");
    let before = fs::read(&spec).expect("a spec");
    let body = json!({"config": ["sv_tags changed"]});
    panel.admin("PATCH", &format!("/blueprints/{blueprint}"), &body).expect(200);

    let ballast = Ballast::fill(&panel);
    let answer = panel.admin("POST", &format!("/servers/{server}/initialize"), &Value::Null);
    // The store may have room within its file for the request, or not: either way the reason is named.
    if answer.status == 202 {
        let job = answer.json();
        let failed = eventually("the end of the job", || {
            let job = panel.get(&format!("/jobs/{}", job["id"]));
            (job["state"] == "failed").then_some(job)
        });
        let error = failed["error"].as_str().unwrap_or_default();
        assert!(error.contains("No space left") || error.contains("full"), "{error}");
    } else {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.contains("no space left on the disk of the store"), "{answer:?}");
    }
    assert_eq!(fs::read(&spec).expect("a spec"), before, "the old spec");
    assert!(!spec.with_file_name("spec.yaml.new").exists(), "no half of a new one");
    drop(ballast);
    is_well(&mut panel);
    panel.must(&format!("/servers/{server}/initialize"));
    assert!(String::from_utf8(fs::read(&spec).expect("a spec")).expect("text").contains("sv_tags changed"));
}

#[test]
fn a_spec_that_finds_no_space_is_an_error_that_names_the_file_and_keeps_the_old_one() {
    if !may_become_another() {
        return crate::support::skip("a file system is mounted by root only");
    }
    let folder = tempfile::tempdir().expect("a folder");
    rustix::mount::mount("tmpfs", folder.path(), "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=64k"))
        .expect("a small file system");
    let paths = Paths::new(folder.path(), folder.path().join("overlays"));
    paths.create().expect("folders");
    let spec = |config: &str| InstanceSpec {
        version: SPEC_VERSION,
        server_id: ServerId(1),
        port: 27015,
        tv_port: None,
        game: vec![LayerId(1)],
        overlays: Vec::new(),
        arguments: Vec::new(),
        config: vec![config.to_owned()],
        written_at: Timestamp(0),
    };
    let host = HostId::of(ServerId(1));
    instance::write_spec(&paths, &spec("short")).expect("room");
    let error = instance::write_spec(&paths, &spec(&"long ".repeat(20_000))).expect_err("no room").to_string();
    assert!(error.contains("spec.yaml") && error.contains("No space left on device"), "{error}");
    assert_eq!(instance::read_spec(&paths, host).expect("the old one").config, ["short"]);
    assert!(!paths.spec(host).with_file_name("spec.yaml.new").exists());
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::empty()).expect("nothing holds it");
}
