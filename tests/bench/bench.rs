//! How small, fast and flat left4me is: each figure beside a bare limit or a rival, measured in the same run and in turn.
//!
//! `tests/bench/run` builds the release binary, names it in `LEFT4ME_TEST_BINARY`, and runs this. Prints one table and
//! decides no test: it fails only where a row could not be measured.

#[path = "../host/support.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "made for the tests of tests/host")]
mod host;
#[path = "../support/mod.rs"]
mod support;

mod bare;
mod chatter;
mod console;
mod fill;
mod history;
mod idle;
mod instance;
mod joblog;
mod ports;
mod start;
mod table;
mod web;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use table::Row;

/// What is measured together: its name, which rows it gives, and how.
type Part = (&'static str, &'static [u32], fn() -> Vec<Row>);

const PARTS: &[Part] = &[
    ("pages", &[1, 2], web::measure),
    ("an idle daemon", &[3], idle::measure),
    ("a shim", &[4, 5], console::measure),
    ("consoles", &[5], chatter::measure),
    ("a job's log", &[5], joblog::measure),
    ("starts", &[6], start::measure),
    ("creations", &[7], ports::measure),
    ("a long history", &[8, 10], history::measure),
    ("a new instance", &[9], instance::measure),
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut wanted, mut json) = (Vec::new(), None);
    while let Some(word) = words.next() {
        match word.as_str() {
            // What `cargo bench` adds.
            "--bench" => {}
            "--json" => json = words.next().map(PathBuf::from),
            "--bare-server" => return bare::serve(&words.next().expect("a folder")),
            number => wanted.push(number.parse::<u32>().expect("a number of a row")),
        }
    }
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (name, numbers, measure) in PARTS {
        if !wanted.is_empty() && !numbers.iter().any(|number| wanted.contains(number)) {
            continue;
        }
        eprintln!("measuring {name} …");
        let begun = Instant::now();
        match catch_unwind(AssertUnwindSafe(measure)) {
            Ok(found) => rows.extend(found),
            Err(_) => failures.push(format!("{name}: not measured because of the error above")),
        }
        eprintln!("  {:.0} s", begun.elapsed().as_secs_f64());
    }
    rows.retain(|row| wanted.is_empty() || wanted.contains(&row.number));
    rows.sort_by_key(|row| row.number);
    print!("{}", table::markdown(&rows));
    for failure in &failures {
        eprintln!("{failure}");
    }
    if let Some(path) = json {
        let text = format!("{:#}\n", table::as_json(&rows, &failures));
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
