//! `left4me doctor`: everything a game needs of this box, each ok, warning or failure with its remedy.
//!
//! Looks and changes nothing that stays. Exit code 1 when something fails; warnings do not fail.

use anyhow::{Result, bail};
use serde_json::json;

use super::client::Client;
use super::table;
use crate::config::Config;
use crate::host::doctor::{self, Subject};
use crate::host::paths::Paths;
use crate::host::shim::starter::ShimStarter;
use crate::model::machine::{Check, Outcome};

/// Looks at the box and prints what was found.
pub async fn run(config: &Config, as_json: bool) -> Result<()> {
    let daemon = Client::reach(&config.socket).await;
    let subject = Subject {
        paths: Paths::new(config.data_dir.clone(), config.overlay_root.clone()),
        port_range: config.port_range,
        steamcmd: config.steamcmd_path(),
        starter: ShimStarter::Exec { program: "/proc/self/exe".into() },
    };
    let mut checks = tokio::task::spawn_blocking(move || doctor::look(&subject)).await?;
    checks.push(match daemon {
        Ok(Some(_)) => check("daemon", Outcome::Ok, format!("answers on {}", config.socket.display())),
        Ok(None) => check("daemon", Outcome::Warning, "does not run: systemctl start left4me, or left4me serve".into()),
        Err(error) => check("daemon", Outcome::Warning, format!("{error:#}")),
    });
    if as_json {
        table::print_json(&json!({"checks": checks}));
    } else {
        for found in &checks {
            let word = match found.outcome {
                Outcome::Ok => "ok      ",
                Outcome::Warning => "warning ",
                Outcome::Failure => "FAILURE ",
            };
            println!("{word} {}: {}", found.name, found.text);
        }
    }
    match checks.iter().filter(|check| check.outcome == Outcome::Failure).count() {
        0 => Ok(()),
        1 => bail!("one check failed; its remedy stands beside it"),
        several => bail!("{several} checks failed; their remedies stand beside them"),
    }
}

fn check(name: &str, outcome: Outcome, text: String) -> Check {
    Check { name: name.into(), outcome, text }
}
