//! The folder of `left4me demo`: where it lies, what is in it, and its end.
//!
//! Called by [`super::run`]. Fills the same store and the same folders as an admin would, through the same operations.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::content;
use crate::config::{Config, Steamcmd};
use crate::domain::Domain;
use crate::domain::blueprints::NewBlueprint;
use crate::domain::jobs::Outcome;
use crate::domain::overlays::NewOverlay;
use crate::domain::servers::NewServer;
use crate::host::paths::Paths;
use crate::host::ports;
use crate::model::id::{BlueprintId, OverlayId};
use crate::model::job::{JobState, Operation};
use crate::model::port::PortWish;
use crate::model::user::Actor;

/// Magic number of overlayfs (statfs(2)): an upper layer cannot lie on one.
const OVERLAYFS: u64 = 0x794c_7630;

/// Folders of the demo.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// A new folder, for this user only, on a file system that layers can lie on.
    pub fn new() -> Result<Self> {
        let wished = std::env::var_os("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let candidates = wished.into_iter().chain(["/var/tmp".into(), "/tmp".into(), "/dev/shm".into()]);
        let name = format!("left4me-demo-{}", std::process::id());
        for parent in candidates.filter(|path| carries_layers(path)) {
            let root = parent.join(&name);
            if std::fs::DirBuilder::new().mode(0o755).create(&root).is_ok() {
                return Ok(Self { root });
            }
        }
        bail!("no folder for the demo: name one that is not on an overlay file system, TMPDIR=/path left4me demo")
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The configuration: the defaults, in this folder.
    pub fn config(&self) -> Config {
        let data_dir = self.root.join("data");
        Config {
            overlay_root: data_dir.join("overlays"),
            data_dir,
            socket: self.root.join("run/control.sock"),
            steamcmd: Steamcmd::Path(self.root.join("bin/steamcmd")),
            ..Config::default()
        }
    }

    /// What a person would have installed and uploaded: SteamCMD, and two folders for overlays.
    pub fn fill(&self) -> Result<()> {
        let config = self.config();
        for folder in [self.root.join("bin"), self.root.join("run"), config.overlay_root.clone()] {
            std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        content::write_program(&self.root.join("bin/steamcmd"))?;
        write_overlays(&config.overlay_root).context("the sample overlays cannot be written")
    }
}

fn carries_layers(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|facts| facts.f_type as u64 != OVERLAYFS)
}

fn write_overlays(root: &Path) -> std::io::Result<()> {
    let competitive = root.join("competitive/left4dead2");
    content::write(
        &competitive.join("cfg/competitive.cfg"),
        "// versus without surprises\nmp_gamemode versus\nsv_alltalk 0\nz_difficulty Hard\n",
    )?;
    content::write(&competitive.join("cfg/rates.cfg"), "sv_maxrate 30000\nsv_minrate 30000\n")?;
    content::write(&competitive.join("motd.txt"), "Competitive: no doors, no excuses.\n")?;
    let maps = root.join("custom-maps/left4dead2");
    std::fs::create_dir_all(maps.join("addons"))?;
    let package = content::vpk(&[
        ("bsp", "maps", "l4m_lighthouse", b"VBSP\x15\0\0\0"),
        ("txt", "missions", "lighthouse", b"\"mission\"\n{\n\t\"Name\" \"Lighthouse\"\n}\n"),
    ]);
    std::fs::write(maps.join("addons/lighthouse.vpk"), package)?;
    // The same file as in the other overlay: the one that a blueprint lists first wins.
    content::write(&maps.join("motd.txt"), "Custom maps: try the lighthouse.\n")?;
    content::write(&maps.join("cfg/rates.cfg"), "sv_maxrate 0\nsv_minrate 20000\n")
}

/// Who may log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Name.
    pub username: String,
    /// Random password.
    pub password: String,
}

/// Fills the store: an admin, game files, overlays, blueprints and two servers, the first of which is to run. Blocks.
pub fn fill_store(domain: &Domain, config: &Config) -> Result<Login> {
    let (user, password) = domain.reset_admin("admin")?;
    let actor = Actor { user_id: Some(user.id), name: user.username.clone(), admin: true, address: "local".into() };
    install_game(domain, config, &actor).context("the simulated game cannot be installed")?;

    let overlay = |name: &str, path: &str| -> Result<OverlayId> {
        let path = config.overlay_root.join(path).display().to_string();
        Ok(domain.create_overlay(&actor, NewOverlay { name: name.into(), path: Some(path) })?.id)
    };
    let competitive = overlay("Competitive config", "competitive")?;
    let maps = overlay("Custom maps", "custom-maps")?;
    let blueprint = |name: &str, map: &str, config: &[&str], overlay_ids: Vec<OverlayId>| -> Result<BlueprintId> {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let new = NewBlueprint {
            name: name.into(),
            arguments: lines(&[&format!("+map {map}"), "-maxplayers 8"]),
            config: lines(config),
            overlay_ids,
        };
        Ok(domain.create_blueprint(&actor, new)?.id)
    };
    let versus = blueprint(
        "Competitive versus",
        "c2m1_highway",
        &["exec competitive.cfg", "exec rates.cfg", "sv_tags \"versus,competitive\""],
        vec![competitive, maps],
    )?;
    let coop = blueprint("Lighthouse coop", "l4m_lighthouse", &["mp_gamemode coop", "exec rates.cfg"], vec![maps])?;

    let listeners = ports::snapshot(&ports::Ours::default(), &ports::Owners::default(), |_| false);
    let server = |name: &str, blueprint_id| {
        domain.create_server(&actor, NewServer { name: name.into(), port: PortWish::Auto, blueprint_id }, &listeners)
    };
    let first = server("Friday Versus", versus)?;
    server("Lighthouse Practice", coop)?;
    domain.request(&actor, first.id, Operation::Start)?;
    Ok(Login { username: user.username, password })
}

/// What an install job would have done, without the wait.
fn install_game(domain: &Domain, config: &Config, actor: &Actor) -> Result<()> {
    let job = domain.request_install(actor)?;
    if domain.claim_next(1)?.map(|claimed| claimed.id) != Some(job.id) {
        bail!("a new store has jobs already");
    }
    let paths = Paths::new(config.data_dir.clone(), config.overlay_root.clone());
    paths.create()?;
    let layer = domain.next_layer()?;
    content::write_game(&paths.layer(layer))?;
    let bytes = std::fs::metadata(paths.layer(layer).join("srcds_linux"))?.len();
    domain.publish_build(job.id, layer, &[], bytes)?;
    domain.finish_job(job.id, Outcome { state: JobState::Succeeded, exit_code: Some(0), error: None })?;
    Ok(())
}
