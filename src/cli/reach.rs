//! Who carries a command out: the daemon that runs, or, when none runs, this very process on the store.
//!
//! Called by every command that needs the store. The outcome is the same either way. Run as root, whatever was written
//! is handed to the owner of the data folder, so that the service can use it.

use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::client::Client;
use crate::config::Config;
use crate::daemon;
use crate::domain::Domain;

/// Who carries a command out.
pub enum Reach {
    /// The daemon.
    Daemon(Client),
    /// This process.
    Here(Domain),
}

impl Reach {
    /// Finds out. The store is opened only when nobody answers on the socket.
    pub async fn find(config: &Config) -> Result<Self> {
        if let Some(client) = Client::reach(&config.socket).await? {
            return Ok(Self::Daemon(client));
        }
        let opened = config.clone();
        match tokio::task::spawn_blocking(move || daemon::open_domain(&opened)).await? {
            Ok(domain) => Ok(Self::Here(domain)),
            Err(error) => Err(anyhow!(error)).with_context(|| {
                format!("nobody answers on {}, and the store cannot be opened here", config.socket.display())
            }),
        }
    }

    /// The daemon; for what only it can do.
    pub async fn daemon(config: &Config, what: &str) -> Result<Client> {
        Client::reach(&config.socket).await?.with_context(|| {
            format!(
                "{what} needs the daemon, which does not answer on {}: systemctl start left4me",
                config.socket.display()
            )
        })
    }
}

/// Hands what root made in the data folder to the folder's owner. Does nothing for other users.
pub fn hand_over(config: &Config) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let give = || -> std::io::Result<()> {
        let owner = std::fs::metadata(&config.data_dir)?;
        if owner.uid() == 0 {
            return Ok(());
        }
        for entry in std::fs::read_dir(&config.data_dir)? {
            let entry = entry?;
            if entry.metadata()?.uid() == 0 {
                lchown(entry.path(), Some(owner.uid()), Some(owner.gid()))?;
            }
        }
        Ok(())
    };
    give().with_context(|| format!("files in {} could not be handed to its owner", show(&config.data_dir)))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
