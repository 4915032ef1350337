//! `left4me backup FILE` and `left4me restore FILE`.
//!
//! A copy is written under another name and renamed when it is whole: a file of that name is always complete.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::client::Client;
use super::reach::{Reach, hand_over};
use crate::config::Config;
use crate::host::restored;
use crate::live::Hub;
use crate::store::{Store, StoreError};

/// Writes a consistent copy of the store.
pub async fn backup(config: &Config, file: &Path) -> Result<()> {
    if file.exists() {
        bail!("{} exists already; name a new file", file.display());
    }
    let part = beside(file, "part");
    let written = match Reach::find(config).await? {
        Reach::Daemon(client) => download(&client, &part).await,
        Reach::Here(domain) => {
            let to = part.clone();
            let copied = tokio::task::spawn_blocking(move || domain.store().backup(&to)).await?;
            hand_over(config)?;
            copied.map(drop).map_err(Into::into)
        }
    };
    // Read back: a copy that cannot be read is found now, not on the day it is needed.
    let checked = written.and_then(|()| Ok(crate::store::verify(&part)?));
    if let Err(error) = checked.and_then(|_| Ok(std::fs::rename(&part, file)?)) {
        // What is left of it is of no use; the error that counts is the first.
        let _ = std::fs::remove_file(&part);
        return Err(error).with_context(|| format!("{} was not written", file.display()));
    }
    println!("{} holds every record; game files, overlays and what games wrote are not in it", file.display());
    Ok(())
}

async fn download(client: &Client, to: &Path) -> Result<()> {
    // It holds digests of passwords: for its owner only.
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    client.download("/control/backup", &mut out).await?;
    out.sync_all()?;
    Ok(())
}

/// Puts a copy in place. The store that was there is kept beside it.
pub async fn restore(config: &Config, file: &Path) -> Result<()> {
    if Client::reach(&config.socket).await?.is_some() {
        bail!("the daemon runs: systemctl stop left4me (games go on), restore, systemctl start left4me");
    }
    let (config, file) = (config.clone(), file.to_owned());
    tokio::task::spawn_blocking(move || {
        let target = config.data_dir.join("left4me.redb");
        let kept = swap(&file, &target)?;
        hand_over(&config)?;
        match kept {
            Some(kept) => {
                println!("{} is in place; the store that was there is now {}", file.display(), kept.display());
                println!(
                    "for a day nothing is removed that only the other store knows: until then it can be restored in its turn"
                );
            }
            None => println!("{} is in place", file.display()),
        }
        Ok(())
    })
    .await?
}

fn swap(file: &Path, target: &Path) -> Result<Option<PathBuf>> {
    let part = beside(target, "restore");
    let copied = copy(file, &part)
        .with_context(|| format!("{} cannot be copied to {}", file.display(), part.display()))
        // Opened once: a file that is no store, or damaged, must not take the store's place.
        .and_then(|()| {
            Store::open(&part, Hub::new()).map(drop).with_context(|| format!("{} is no backup", file.display()))
        });
    if let Err(error) = copied {
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    let mut kept = None;
    // Held to the end: a daemon that starts in the middle must not write into the file that goes.
    let mut _held = None;
    if target.exists() {
        // Nobody may have it open: a daemon without its socket would go on writing into the old file.
        match Store::open(target, Hub::new()) {
            Ok(store) => _held = Some(store),
            Err(error @ StoreError::Locked { .. }) => {
                let _ = std::fs::remove_file(&part);
                return Err(error.into());
            }
            // A damaged store is what people restore over.
            Err(other) => log::warn!("the store that is replaced: {other}"),
        }
        if let Some(folder) = target.parent() {
            restored::note(folder).with_context(|| format!("a note in {} cannot be written", folder.display()))?;
        }
        let to = free_name(target);
        std::fs::rename(target, &to).with_context(|| format!("{} cannot be kept", target.display()))?;
        kept = Some(to);
    }
    std::fs::rename(&part, target).with_context(|| format!("{} cannot be written", target.display()))?;
    if let Some(folder) = target.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(kept)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut out)?;
    out.flush()?;
    out.sync_all()
}

fn beside(file: &Path, what: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{what}"));
    name.into()
}

/// A name for what is kept that nothing has.
fn free_name(target: &Path) -> PathBuf {
    (1_u32..=u32::MAX)
        .map(|number| beside(target, &format!("before-restore-{number}")))
        .find(|path| !path.exists())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_stores_never_overwrite_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("left4me.redb");
        assert!(free_name(&target).ends_with("left4me.redb.before-restore-1"));
        std::fs::write(free_name(&target), "").unwrap();
        assert!(free_name(&target).ends_with("left4me.redb.before-restore-2"));
    }
}
