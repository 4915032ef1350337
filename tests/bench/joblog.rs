//! Row 5, jobs: lines per second from a chatty program to the client that follows its job: pty, shim, console file, daemon, store (on the
//! disk before it is shown), server-sent events. Beside it the limit of this machine: the same program on a bare pty
//! whose bytes are copied into a file.
//!
//! The row fails if a line is lost, doubled or out of order.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::Value;

use crate::chatter::{FORMAT, LINES, bare};
use crate::support::panel::Panel;
use crate::support::stand_in::StandIn;
use crate::table::{Goal, Rounds, Row};

/// Rounds; the median counts.
const ROUNDS: usize = 3;

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

/// Measures the row.
pub fn measure() -> Vec<Row> {
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
    let mut found = Rounds::beside("bare pty copied to a file");
    for round in 0..ROUNDS {
        let limit = bare(panel.folder.path(), round);
        found.add(followed(&panel, round), limit);
    }
    vec![Row::rounds(5, "log of a job, each line on the disk before it is shown", "lines/s", &found, Goal::None)]
}
