//! Lines per second from a chatty program to the client that follows its job: pty, shim, console file, daemon, store (on the
//! disk before it is shown), server-sent events. Beside it the limit of this machine: the same program on a bare pty
//! whose bytes are copied into a file.
//!
//! Run with `cargo bench --bench joblog`. Prints one row of a table, and fails if a line is lost, doubled or out of order.

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use support::panel::Panel;
use support::stand_in::StandIn;

/// Lines of one round.
const LINES: u64 = 200_000;
/// Rounds; the median counts.
const ROUNDS: usize = 3;
/// What the program prints: a line as long as SteamCMD's and the game's usually are.
const FORMAT: &str = "line %.0f of a program that has a great deal to say about what it does";

/// Lines per second of the program on a pty, copied into a file that is on the disk in the end.
fn bare(panel: &Panel, round: usize) -> f64 {
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
    let mut file = File::create(panel.folder.path().join(format!("bare-{round}"))).expect("a file");
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

/// The same program as an install's, followed by a client from the first line to the last.
fn followed(panel: &Panel, round: usize) -> f64 {
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    let id = &job["id"];
    let mut stream = panel.events(&format!("/jobs/{id}/stream"));
    stream.find(|event| event.data == "ready").expect("the program waits");
    let begun = Instant::now();
    std::fs::write(panel.data(&format!("steam/go-{round}")), "").expect("a file");
    let (mut next, mut last) = (1, String::new());
    'streams: loop {
        for event in stream.by_ref() {
            match event.kind.as_str() {
                "more" | "end" => break,
                _ => last = event.id,
            }
            if let Some(rest) = event.data.strip_prefix("line ") {
                let number: u64 = rest.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
                assert_eq!(number, next, "no line is lost, doubled or out of order");
                next += 1;
                if number == LINES {
                    break 'streams;
                }
            }
        }
        stream = panel.events(&format!("/jobs/{id}/stream?last_seq={last}"));
    }
    let rate = LINES as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(panel.finished(&job)["state"], "succeeded");
    rate
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut rounds = String::new();
    for round in 0..ROUNDS {
        let _ = write!(
            rounds,
            "run +@sSteamCmdForcePlatformType windows\nsay ready\nawait go-{round}\nsh seq -f '{FORMAT}' 1 {LINES}\n\
             say Success! App '222860' fully installed.\nexit 0\n\
             run +@sSteamCmdForcePlatformType linux\nprogram srcds_run\nsay Success! App '222860' fully installed.\nexit 0\n"
        );
    }
    let stand_in = StandIn::playing(&rounds);
    let panel = stand_in.panel();
    let (mut limits, mut rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let limit = bare(&panel, round);
        let rate = followed(&panel, round);
        limits.push(limit);
        rates.push(rate);
        ratios.push(rate / limit);
    }
    let (limit, rate, ratio) = (median(limits), median(rates), median(ratios));
    println!("| work | left4me | limit | ratio |\n|---|---|---|---|");
    println!("| lines/s of a job, stored and followed by a client | {rate:.0} | {limit:.0} pty to file | {ratio:.2} |");
}
