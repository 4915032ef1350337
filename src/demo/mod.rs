//! The built-in simulated game and the sample data of `left4me demo`: the first look, without root, Steam or systemd.
//!
//! Two programs of strangers are simulated, each chosen by the name under which this binary is started: `srcds_linux`
//! ([`srcds`]) and `steamcmd` ([`steamcmd`]). Everything else in the demo is the product itself: the same daemon,
//! shim, sandbox, layers and jobs. Nothing in the product knows that it is a demo.

pub mod bots;
pub mod content;
pub mod game;
pub mod seed;
pub mod srcds;
pub mod steamcmd;
pub mod wire;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::daemon;
use crate::host::paths::Paths;
use crate::host::shim::client::{self, Adoption, Client, Event};
use crate::sys;

/// How long the games get to end by themselves.
const GENTLE: Duration = Duration::from_secs(8);

/// Runs the demo until ctrl-c, then ends its games and removes its folder.
pub async fn run(listen: Option<SocketAddr>) -> Result<()> {
    let folder = seed::Folder::new()?;
    let config = Config { listen: listen.unwrap_or_else(free_address), ..folder.config() };
    let served = serve(&folder, config.clone()).await;
    let ended = end_games(&config).await;
    let root = folder.path().to_owned();
    let removed = tokio::task::spawn_blocking(move || sys::fs::remove_tree(&root)).await?;
    served?;
    ended.context("a game of the demo could not be ended")?;
    removed.with_context(|| format!("{} could not be removed", folder.path().display()))
}

async fn serve(folder: &seed::Folder, config: Config) -> Result<()> {
    println!("left4me demo: preparing {} …", folder.path().display());
    let (filling, seeded) = (folder.clone(), config.clone());
    // The store is closed again before the daemon opens it.
    let login = tokio::task::spawn_blocking(move || {
        filling.fill()?;
        seed::fill_store(&daemon::open_domain(&seeded)?, &seeded)
    })
    .await??;
    daemon::serve(config, |ready| {
        println!("\n  open      http://{}", ready.address);
        println!("  username  {}\n  password  {}\n", login.username, login.password);
        println!("A simulated game runs in the real sandbox. Ctrl-C ends everything and removes the folder.");
    })
    .await?;
    println!("\nEnding the games …");
    Ok(())
}

/// The default address, or any free port of the loopback where somebody listens there.
fn free_address() -> SocketAddr {
    let usual = Config::default().listen;
    if TcpListener::bind(usual).is_ok() { usual } else { SocketAddr::new(usual.ip(), 0) }
}

/// Games outlive their daemon by design; those of the demo must not.
async fn end_games(config: &Config) -> Result<()> {
    let paths = Paths::new(config.data_dir.clone(), config.overlay_root.clone());
    for run in client::runs(&paths)? {
        match client::adopt(&paths, run).await? {
            Adoption::Running(mut game) => {
                game.stop().await?;
                if tokio::time::timeout(GENTLE, exit_of(&mut game)).await.is_err() {
                    game.kill().await?;
                    tokio::time::timeout(GENTLE, exit_of(&mut game)).await.context("it does not end")?;
                }
            }
            Adoption::Exited(_) | Adoption::Gone => {}
        }
    }
    Ok(())
}

/// Waits for the end of the game, or of its shim.
async fn exit_of(game: &mut Client) {
    loop {
        match game.next_event().await {
            Event::Output(_) | Event::Refused(_) => {}
            Event::Exit(_) | Event::Lost => return,
        }
    }
}
