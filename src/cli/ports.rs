//! `left4me ports …`: who holds which port, what is wrong with them, and letting go.
//!
//! Through the daemon where it runs, else on the store; both give the same JSON.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, escape};
use super::reach::{Reach, hand_over};
use super::table;
use crate::config::Config;
use crate::domain::Domain;
use crate::domain::ports::{ClaimView, NewReservation};
use crate::host::paths::Paths;
use crate::host::ports::{Ours, Owners, snapshot};
use crate::host::strays;
use crate::model::id::ServerId;
use crate::model::port::{Listeners, PORT_MIN};
use crate::model::time::Timestamp;
use crate::model::user::Actor;

/// What to do with ports.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every claim.
    List,
    /// Stale claims, servers without a claim, strangers on claimed ports, games that no server owns.
    Check,
    /// Everything about one port, or the port of a server.
    Inspect {
        /// Port number, or name or id of a server.
        target: String,
    },
    /// Release stale claims.
    Cleanup {
        /// Only those of this user or label.
        filter: Option<String>,
        /// Say what would be released, and release nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Release one claim; never that of a server that exists.
    Release {
        /// Port number, or name or id of a server.
        target: String,
    },
    /// Hold some free ports for a planned batch of servers.
    Reserve {
        /// How many.
        count: u32,
        /// What they are for.
        #[arg(long)]
        label: String,
        /// When the reservation ends, as 2026-12-31T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<Timestamp>,
    },
    /// End all reservations and stale claims.
    Clear {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write it as 2026-12-31T00:00:00Z".into())
}

/// Carries a command out. `as_json`: for programs.
pub async fn run(config: &Config, command: Command, as_json: bool) -> Result<()> {
    if matches!(command, Command::Clear { yes: false })
        && !table::confirm("End all reservations and release all stale claims?")?
    {
        bail!("nothing was changed");
    }
    let rows = matches!(command, Command::Inspect { .. } | Command::Check);
    let answer = match Reach::find(config).await? {
        Reach::Daemon(client) => ask(&client, &command).await?,
        Reach::Here(domain) => {
            let paths = Paths::new(config.data_dir.clone(), config.overlay_root.clone());
            let done = tokio::task::spawn_blocking(move || work(&domain, &paths, &command)).await?;
            hand_over(config)?;
            done?
        }
    };
    if as_json {
        table::print_json(&answer);
    } else if rows {
        print_facts(&answer);
    } else {
        print_claims(&answer);
    }
    Ok(())
}

async fn ask(client: &Client, command: &Command) -> Result<Value> {
    Ok(match command {
        Command::List => json!({"items": client.list("/ports").await?, "next": null}),
        Command::Check => client.get("/ports/check").await?,
        Command::Inspect { target } => client.get(&format!("/ports/{}", port_of(client, target).await?)).await?,
        Command::Cleanup { filter, dry_run } => {
            client.post("/ports/cleanup", &json!({"filter": filter, "dry_run": dry_run})).await?
        }
        Command::Release { target } => {
            let port = port_of(client, target).await?;
            client.call(Method::DELETE, &format!("/ports/{port}"), None).await?
        }
        Command::Reserve { count, label, expires } => {
            client
                .post(
                    "/ports/reservations",
                    &json!({"count": count, "label": label, "expires_at": expires.map(|at| at.to_string())}),
                )
                .await?
        }
        Command::Clear { .. } => client.post("/ports/clear", &json!({})).await?,
    })
}

/// A port by its number, or by a server's name or id.
async fn port_of(client: &Client, target: &str) -> Result<u16> {
    if let Some(port) = number(target) {
        return Ok(port);
    }
    let servers = client.list("/servers").await?;
    let found = servers.iter().find(|server| {
        server["name"] == target || server["id"].as_u64().is_some_and(|id| Some(id) == target.parse().ok())
    });
    let port = found.and_then(|server| server["port"].as_u64()).and_then(|port| u16::try_from(port).ok());
    port.with_context(|| format!("no server is called {}; `left4me servers list` shows them", escape(target)))
}

fn number(target: &str) -> Option<u16> {
    target.parse().ok().filter(|port| *port >= PORT_MIN)
}

fn work(domain: &Domain, paths: &Paths, command: &Command) -> Result<Value> {
    let actor = Actor::system();
    let here = |target: &str| -> Result<u16> {
        let by_name = || {
            let servers = domain.all_servers()?;
            let found = servers.iter().find(|server| server.name == target || Some(server.id) == target.parse().ok());
            found.map(|server| server.port).context("no server is called that; `left4me servers list` shows them")
        };
        number(target).map_or_else(by_name, Ok)
    };
    Ok(match command {
        Command::List => claims(&domain.list_claims(&actor)?),
        Command::Check => {
            let report = domain.check_ports(&actor, &listeners(paths))?;
            let unclaimed =
                report.unclaimed.iter().map(|(id, name, port)| json!({"server_id": id, "name": name, "port": port}));
            let foreign = report.foreign.iter().map(|(port, held_by)| json!({"port": port, "listener": held_by}));
            let known: HashSet<ServerId> = domain.all_servers()?.iter().map(|server| server.id).collect();
            let strays = strays::find(&strays::own_processes(paths, |id| known.contains(&id)));
            json!({
                "strays": strays,
                "stale": report.stale,
                "unclaimed": unclaimed.collect::<Vec<_>>(),
                "foreign": foreign.collect::<Vec<_>>(),
            })
        }
        Command::Inspect { target } => {
            let found = domain.inspect_port(&actor, here(target)?, &listeners(paths))?;
            json!({
                "port": found.port,
                "claim": found.claim,
                "foreign": found.foreign,
                "in_range": found.in_range,
            })
        }
        Command::Cleanup { filter, dry_run } => claims(&domain.cleanup_ports(&actor, filter.as_deref(), *dry_run)?),
        Command::Release { target } => json!(domain.release_claim(&actor, here(target)?)?),
        Command::Reserve { count, label, expires } => {
            let new = NewReservation { count: *count, label: label.clone(), expires_at: *expires };
            json!(domain.reserve(&actor, new, &listeners(paths))?)
        }
        Command::Clear { .. } => claims(&domain.clear_claims(&actor)?),
    })
}

/// Strangers on the box. No daemon runs, but our games may: they are known by what their shims wrote.
fn listeners(paths: &Paths) -> Listeners {
    snapshot(&Ours { pids: strays::own_processes(paths, |_| true), ..Ours::default() }, &Owners::default(), |_| true)
}

fn claims(found: &[ClaimView]) -> Value {
    json!({"items": found, "next": null})
}

fn print_claims(answer: &Value) {
    if let Some(ports) = answer["ports"].as_array() {
        let ports: Vec<String> = ports.iter().map(table::cell).collect();
        println!("reserved: {}", ports.join(" "));
        return;
    }
    let one = [answer.clone()];
    let items = answer["items"].as_array().map_or(&one[..], Vec::as_slice);
    let keys = ["port", "purpose", "status", "kind", "holder", "username"];
    let rows: Vec<Vec<String>> = items
        .iter()
        .filter(|item| item.is_object())
        .map(|item| keys.iter().map(|key| table::cell(&item[*key])).collect())
        .collect();
    if rows.is_empty() {
        println!("none");
    } else {
        table::print(&["PORT", "FOR", "STATUS", "KIND", "HOLDER", "USER"], &rows);
    }
}

fn print_facts(answer: &Value) {
    for (key, value) in answer.as_object().into_iter().flatten() {
        match value {
            Value::Array(items) if items.is_empty() => println!("{key}: none"),
            Value::Array(items) => {
                println!("{key}:");
                for item in items {
                    println!("  {}", one_line(item));
                }
            }
            Value::Null => println!("{key}: none"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                println!("{key}: {}", one_line(value));
            }
        }
    }
}

fn one_line(value: &Value) -> String {
    let Value::Object(fields) = value else { return table::cell(value) };
    let known = fields.iter().filter(|(_, value)| !value.is_null());
    known.map(|(key, value)| format!("{key} {}", table::cell(value))).collect::<Vec<_>>().join(", ")
}
