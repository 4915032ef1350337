//! `left4me servers …`: what runs, up and down, its console.

use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::client::{Client, Refused};
use super::install;
use super::reach::{Reach, hand_over};
use super::table;
use crate::config::Config;
use crate::domain::{Domain, Page};
use crate::host::console;
use crate::host::paths::{Paths, Run};
use crate::model::ansi::plain;
use crate::model::id::{HostId, ServerId};
use crate::model::job::Operation;
use crate::model::user::Actor;
use crate::web::json as objects;

/// How long a daemon may be away before following it is given up.
const ABSENCE: Duration = Duration::from_mins(1);
/// Bytes of console that are read at once.
const BLOCK: usize = 64 << 10;
/// Bytes of a line that has no end before it is shown as it is.
const LINE: usize = 64 << 10;

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every server.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Bring a game up.
    Start(Target),
    /// Bring a game down.
    Stop(Target),
    /// Bring a game down and up again, with the latest blueprint.
    Restart(Target),
    /// Show the console of a game.
    Logs {
        /// Name or id of the server.
        server: String,
        /// Go on as the game prints.
        #[arg(short, long)]
        follow: bool,
        /// How many lines to begin with.
        #[arg(short = 'n', long, default_value_t = 200)]
        lines: usize,
    },
    /// Show the console of a game and type into it.
    Console {
        /// Name or id of the server.
        server: String,
    },
}

/// Which server, and whether to wait.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// Name or id of the server.
    server: String,
    /// Do not wait for the end of the job.
    #[arg(long)]
    no_wait: bool,
}

/// Carries a command out.
pub async fn run(config: &Config, command: Command) -> Result<()> {
    match command {
        Command::List { json } => list(config, json).await,
        Command::Start(target) => operate(config, target, Operation::Start).await,
        Command::Stop(target) => operate(config, target, Operation::Stop).await,
        Command::Restart(target) => operate(config, target, Operation::Restart).await,
        Command::Logs { server, follow: false, lines } => {
            let (id, _) = find(&Reach::find(config).await?, &server).await?;
            replay(config, id, lines)
        }
        Command::Logs { server, follow: true, lines } => {
            let client = Reach::daemon(config, "following a console").await?;
            let (id, _) = find(&Reach::Daemon(client.clone()), &server).await?;
            follow(&client, id, lines).await
        }
        Command::Console { server } => type_into(config, &server).await,
    }
}

async fn list(config: &Config, as_json: bool) -> Result<()> {
    let items = match Reach::find(config).await? {
        Reach::Daemon(client) => client.list("/servers").await?,
        Reach::Here(domain) => {
            let listed = tokio::task::spawn_blocking(move || list_here(&domain)).await?;
            hand_over(config)?;
            listed?
        }
    };
    if as_json {
        table::print_json(&json!({"items": items, "next": null}));
        return Ok(());
    }
    let keys = ["id", "name", "port", "display_state", "desired_state", "last_error"];
    let rows: Vec<Vec<String>> =
        items.iter().map(|item| keys.iter().map(|key| table::cell(&item[*key])).collect()).collect();
    table::print(&["ID", "NAME", "PORT", "STATE", "WANTED", "LAST ERROR"], &rows);
    Ok(())
}

fn list_here(domain: &Domain) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut page = Page::first(Page::MAX);
    loop {
        let part = domain.list_servers(&Actor::system(), &page)?;
        items.extend(part.items.iter().map(objects::server));
        match part.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(items),
        }
    }
}

/// A server by its id or its name. A name that several users gave must be told apart by its id.
async fn find(reach: &Reach, wanted: &str) -> Result<(ServerId, String)> {
    let servers = match reach {
        Reach::Daemon(client) => client.list("/servers").await?,
        Reach::Here(domain) => {
            let domain = domain.clone();
            tokio::task::spawn_blocking(move || list_here(&domain)).await??
        }
    };
    pick(&servers, wanted)
}

fn pick(servers: &[Value], wanted: &str) -> Result<(ServerId, String)> {
    let id_of = |server: &Value| server["id"].as_u64().map(ServerId).context("the answer holds a server without an id");
    if let Some(server) =
        servers.iter().find(|server| server["id"].as_u64().is_some_and(|id| Some(id) == wanted.parse().ok()))
    {
        return Ok((id_of(server)?, table::cell(&server["name"])));
    }
    let named: Vec<&Value> = servers.iter().filter(|server| server["name"] == wanted).collect();
    match named.as_slice() {
        [server] => Ok((id_of(server)?, wanted.to_owned())),
        [] => bail!("server not found; `left4me servers list` shows them"),
        several => {
            let ids: Vec<String> = several.iter().map(|server| server["id"].to_string()).collect();
            bail!("several servers are called that; name one by its id: {}", ids.join(", "))
        }
    }
}

async fn operate(config: &Config, target: Target, operation: Operation) -> Result<()> {
    let reach = Reach::find(config).await?;
    let (id, name) = find(&reach, &target.server).await?;
    match reach {
        Reach::Daemon(client) => {
            let job = client.post(&format!("/servers/{id}/{}", operation.word()), &json!({})).await?;
            let job = job["id"].as_u64().context("the daemon answered without a job")?;
            if target.no_wait {
                println!("job {job}: {} {name}", operation.word());
                return Ok(());
            }
            install::follow_job(&client, job).await
        }
        Reach::Here(domain) => {
            let asked = tokio::task::spawn_blocking(move || domain.request(&Actor::system(), id, operation)).await?;
            hand_over(config)?;
            let job = asked?;
            println!("job {}: {} {name} is queued; no daemon runs: systemctl start left4me", job.id, operation.word());
            Ok(())
        }
    }
}

/// Prints the end of the console from its files; they are there whether or not anything runs.
fn replay(config: &Config, id: ServerId, lines: usize) -> Result<()> {
    let paths = Paths::new(config.data_dir.clone(), config.overlay_root.clone());
    let run = Run::Server(HostId::of(id));
    let mut at = console::tail(&paths, run, lines).context("the console cannot be read")?;
    let mut out = std::io::stdout().lock();
    let mut rest = Vec::new();
    loop {
        let chunk = console::read(&paths, run, at, BLOCK).context("the console cannot be read")?;
        if chunk.bytes.is_empty() {
            out.write_all(shown(&rest).as_bytes())?;
            return Ok(());
        }
        at = chunk.start + chunk.bytes.len() as u64;
        rest.extend(chunk.bytes);
        print_lines(&mut rest, &mut out)?;
    }
}

/// Prints the whole lines of `rest` and leaves what comes after the last; a line without an end is cut.
fn print_lines(rest: &mut Vec<u8>, out: &mut impl Write) -> std::io::Result<()> {
    let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole: Vec<u8> = rest.drain(..if end == 0 && rest.len() > LINE { rest.len() } else { end }).collect();
    whole.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| writeln!(out, "{}", shown(line)))
}

/// A line that a game printed, without what would steer a terminal. Names of players can hold anything.
fn shown(line: &[u8]) -> String {
    plain(String::from_utf8_lossy(line).trim_end_matches(['\r', '\n'])).into_owned()
}

/// Follows a console to the end of its server, over restarts of game and daemon: each line once.
async fn follow(client: &Client, id: ServerId, lines: usize) -> Result<()> {
    let mut from = format!("lines={lines}");
    let mut left_at = Instant::now();
    loop {
        let mut events = match client.events(&format!("/servers/{id}/logs/stream?{from}")).await {
            Ok(events) => events,
            // The daemon is being restarted; whoever gave an answer and refused is not.
            Err(error) if error.is::<Refused>() || left_at.elapsed() > ABSENCE => return Err(error),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        while let Ok(Some(event)) = events.next_event().await {
            match event.event.as_str() {
                "" | "message" => {
                    let mut out = std::io::stdout().lock();
                    out.write_all(shown(event.data.as_bytes()).as_bytes())?;
                    out.write_all(b"\n")?;
                    out.flush()?;
                }
                "gap" => eprintln!("left4me: older lines are gone"),
                "end" => return Ok(()),
                // Of a newer daemon.
                _ => {}
            }
            if !event.id.is_empty() {
                from = format!("cursor={}", event.id);
            }
        }
        left_at = Instant::now();
        // Both sides may have ended at once; the next look decides.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn type_into(config: &Config, server: &str) -> Result<()> {
    let client = Reach::daemon(config, "typing into a console").await?;
    let (id, _) = find(&Reach::Daemon(client.clone()), server).await?;
    let a_person = std::io::stdin().is_terminal();
    if a_person {
        eprintln!("left4me: lines go to the game; ctrl-d leaves, and the game plays on");
    }
    let followed = follow(&client, id, 50);
    tokio::pin!(followed);
    let (lines_in, mut lines) = mpsc::channel(16);
    // A thread of its own: the end of the command does not wait for a last line.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines_in.blocking_send(line).is_err() {
                return;
            }
        }
    });
    loop {
        tokio::select! {
            ended = &mut followed => return ended,
            line = lines.recv() => match line {
                Some(line) => match client.post(&format!("/servers/{id}/console"), &json!({"line": line})).await {
                    Ok(_) => {}
                    // A person reads it and goes on.
                    Err(error) if a_person => eprintln!("left4me: {error}"),
                    Err(error) => return Err(error),
                },
                None => return Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_id_or_by_a_name_that_only_one_has() {
        let servers = [
            json!({"id": 1, "name": "7"}),
            json!({"id": 7, "name": "Practice"}),
            json!({"id": 8, "name": "Twice"}),
            json!({"id": 9, "name": "Twice"}),
        ];
        assert_eq!(pick(&servers, "Practice").unwrap().0, ServerId(7));
        assert_eq!(pick(&servers, "7").unwrap().0, ServerId(7));
        assert!(pick(&servers, "Twice").unwrap_err().to_string().ends_with("8, 9"));
        assert!(pick(&servers, "None").unwrap_err().to_string().starts_with("server not found"));
    }

    #[test]
    fn what_steers_a_terminal_is_taken_out_wherever_the_console_is_cut() {
        let printed = "a\u{1b}[31mb\u{7}\tc\r\n\u{1b}]0;title\u{7}d\u{9b}2Je\u{202e}f\nlast".as_bytes();
        for size in 1..printed.len() {
            let (mut rest, mut out) = (Vec::new(), Vec::new());
            for piece in printed.chunks(size) {
                rest.extend_from_slice(piece);
                print_lines(&mut rest, &mut out).unwrap();
            }
            assert_eq!(
                (String::from_utf8(out).unwrap(), shown(&rest)),
                ("ab\tc\ndef\n".into(), "last".into()),
                "{size}"
            );
        }
        let (mut endless, mut out) = (vec![b'x'; LINE + 1], Vec::new());
        print_lines(&mut endless, &mut out).unwrap();
        assert_eq!((endless.len(), out.len()), (0, LINE + 2));
    }
}
