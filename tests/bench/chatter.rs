//! Row 5, the whole way of a console's lines: from the game through its terminal and the shim to the disk, through the daemon
//! to a client that follows. Every line arrives once and in order, or the row fails. Beside it the same program on a bare
//! terminal that is copied into a file; and twenty such games at once beside one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Instant;

use serde_json::json;

use crate::support::panel::{Panel, Setup};
use crate::table::{Goal, Rounds, Row};
use crate::wire::{Connection, Stream};

const ROUNDS: usize = 5;
/// Lines of one round, over all games.
pub const LINES: u64 = 200_000;
/// Games that print at once.
const MANY: usize = 20;
/// What they print: a line as long as the game's usually are.
pub const FORMAT: &str = "line %.0f of a program that has a great deal to say about what it does";

/// A game that prints so many lines when it is told to.
fn game() -> String {
    format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = -port ] && port=$2; shift; done\n\
         echo \"Network: IP 0.0.0.0, mode MP, dedicated Yes, ports $port SV / 0 CL\"\n\
         while read -r word number; do\n\
         case $word in quit) exit 0 ;; print) seq -f '{FORMAT}' 1 \"$number\" ;; esac\ndone\n"
    )
}

/// Measures both rows.
pub fn measure() -> Vec<Row> {
    let panel = Panel::with(Setup { config: vec!["port_range: 27400-27499".into()], ..Setup::default() });
    panel.must("/admin/install");
    panel.overlay_file("chatty", "srcds_linux", &game());
    let program = panel.data("overlays/chatty/srcds_linux");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
    let overlay = json!({"name": "chatty", "path": panel.data("overlays/chatty")});
    let overlay = panel.admin("POST", "/admin/overlays", &overlay).expect(201).json()["id"].as_u64().expect("an id");
    let blueprint = panel.blueprint("chatty", &[], &[overlay]);
    let batch = json!({"count": MANY, "name_prefix": "chatty", "blueprint_id": blueprint});
    let ids = panel.admin("POST", "/servers/batch", &batch).expect(201).json()["ids"].clone();
    let ids: Vec<u64> = ids.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id")).collect();
    for id in &ids {
        panel.must(&format!("/servers/{id}/start"));
    }
    let mut one = Rounds::beside("bare pty copied to a file");
    let mut many = Rounds::beside("one game, as many lines");
    for round in 0..ROUNDS {
        let limit = bare(panel.folder.path(), round);
        let single = followed(&panel, &ids[..1]);
        let all = followed(&panel, &ids);
        one.add(single, limit);
        many.add(all, single);
    }
    vec![
        Row::rounds(5, "console from the game to disk and client", "lines/s", &one, Goal::RatioAtLeast(0.5)),
        Row::rounds(5, format!("{MANY} games at once, in total"), "lines/s", &many, Goal::RatioAtLeast(0.8)),
    ]
}

/// Lines per second of the program on a terminal, copied into a file that is on the disk in the end.
pub fn bare(folder: &Path, round: usize) -> f64 {
    let begun = Instant::now();
    let master = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).expect("a pty");
    rustix::pty::grantpt(&master).expect("a pty");
    rustix::pty::unlockpt(&master).expect("a pty");
    let name = rustix::pty::ptsname(&master, Vec::new()).expect("its name");
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).expect("its other end");
    let end = |slave: &OwnedFd| Stdio::from(slave.as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut program =
        Command::new("seq").args(["-f", FORMAT, "1", &LINES.to_string()]).stdout(end(&slave)).spawn().expect("seq");
    drop(slave);
    let mut file = File::create(folder.join(format!("bare-{round}"))).expect("a file");
    let (mut master, mut buffer, mut lines) = (File::from(master), vec![0; 64 << 10], 0);
    // The end of the other side reads as an error.
    while let Ok(read @ 1..) = master.read(&mut buffer) {
        file.write_all(&buffer[..read]).expect("space");
        lines += buffer[..read].split(|byte| *byte == b'\n').count() as u64 - 1;
    }
    file.sync_data().expect("a disk");
    program.wait().expect("its end");
    assert_eq!(lines, LINES);
    LINES as f64 / begun.elapsed().as_secs_f64()
}

/// Lines per second over all these games, from the request that makes them print to the last line at the last client.
fn followed(panel: &Panel, ids: &[u64]) -> f64 {
    let lines = LINES / ids.len() as u64;
    let bearer = panel.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let ready = Barrier::new(ids.len() + 1);
    std::thread::scope(|scope| {
        let follow = |id: u64| {
            let mut stream = Stream::open(panel.address, &format!("/servers/{id}/logs/stream?lines=0"), &headers);
            // The first bytes come when the stream is followed.
            stream.next_line().expect("a comment");
            ready.wait();
            ready.wait();
            Connection::to(panel.address, &headers).ask(
                "POST",
                &format!("/servers/{id}/console"),
                &json!({ "line": format!("print {lines}") }).to_string(),
            );
            let mut next = 1;
            while next <= lines {
                let data = stream.next_data().expect("a stream that goes on");
                let Some(rest) = data.strip_prefix(b"line ") else { continue };
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
                let number = digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
                assert_eq!(number, next, "no line is lost, doubled or out of order");
                next += 1;
            }
        };
        let clients: Vec<_> = ids.iter().map(|id| scope.spawn(move || follow(*id))).collect();
        ready.wait();
        let begun = Instant::now();
        ready.wait();
        for client in clients {
            client.join().expect("a client that got every line");
        }
        (lines * ids.len() as u64) as f64 / begun.elapsed().as_secs_f64()
    })
}
