//! Row 3: what the daemon holds and does while nobody asks it anything, with 50 servers known and with 50 running.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bare::Bare;
use crate::fill;
use crate::support::panel::{Panel, Setup};
use crate::table::{Goal, Row};

const SERVERS: usize = 50;
const KNOWN: (u16, u16) = (27_200, 27_299);
const RUNNING: (u16, u16) = (27_300, 27_399);
/// How long nobody asks.
const WINDOW: Duration = Duration::from_mins(1);
/// After the last request: what it needed was given back by then.
const SETTLE: Duration = Duration::from_secs(25);

/// Measures the row.
pub fn measure() -> Vec<Row> {
    let mut known = Panel::with(setup(KNOWN));
    fill::filled(&mut known, KNOWN, |store| store.servers(SERVERS));
    // The daemon has done what daemons do: shown its pages, checked a password.
    known.make_admin();
    look_around(&known);
    let bare = Bare::start(&known.page("/dashboard"), "{}");
    for _ in 0..20 {
        crate::support::http::send(bare.address, "GET", "/page", &[], b"").expect(200);
    }
    std::thread::sleep(SETTLE);
    // Before the other daemon runs: pages of one program that several processes hold count for each in part only.
    let limit = Memory::of(bare.child.id());
    let at_rest = Memory::of(known.child.id());

    let busy = Panel::with(setup(RUNNING));
    let blueprint = busy.with_game();
    let batch = json!({"count": SERVERS, "name_prefix": "Friday coop", "blueprint_id": blueprint});
    let ids = busy.admin("POST", "/servers/batch", &batch).expect(201).json()["ids"].clone();
    let start = |id: &Value| busy.admin("POST", &format!("/servers/{id}/start"), &Value::Null).expect(202).json();
    let jobs: Vec<Value> = ids.as_array().expect("a list").iter().map(start).collect();
    for job in &jobs {
        assert_eq!(busy.finished(job)["state"], "succeeded", "{job}");
    }
    look_around(&busy);
    std::thread::sleep(SETTLE);

    let before = [&known, &busy].map(|panel| processor_time(panel.child.id()));
    let begun = Instant::now();
    std::thread::sleep(WINDOW);
    let window = begun.elapsed().as_secs_f64();
    let after = [&known, &busy].map(|panel| processor_time(panel.child.id()));
    let share = |index: usize| (after[index] - before[index]) / window * 100.0;
    let running = Memory::of(busy.child.id());
    let games = busy.get("/servers?limit=500");
    let up = games["items"].as_array().expect("a list").iter().filter(|server| server["actual_state"] == "running");
    assert_eq!(up.count(), SERVERS, "every game ran all the while");

    let memory = |work: &str, found: &Memory, goal: f64| {
        Row::new(3, format!("memory (PSS), {SERVERS} servers {work}"), "MiB", found.pss, Goal::AtMost(goal))
            .beside(limit.pss, "bare warp")
            .note(format!("{:.1} MiB of it its own, {:.1} MiB at most so far", found.own, found.peak))
    };
    let processor = |work: &str, share: f64, goal: f64| {
        let work = format!("processor over {} idle seconds, {SERVERS} servers {work}", WINDOW.as_secs());
        Row::new(3, work, "% of a core", share, Goal::AtMost(goal))
    };
    vec![
        memory("known", &at_rest, 15.0),
        memory("running", &running, 25.0),
        processor("known", share(0), 0.1),
        processor("running", share(1), 1.0),
    ]
}

fn setup(ports: (u16, u16)) -> Setup {
    Setup {
        config: vec![format!("port_range: {}-{}", ports.0, ports.1)],
        // As it is installed; the daemons of tests look each second.
        environment: vec![("LEFT4ME_STATUS_REFRESH_SECONDS", "8".into())],
        ..Setup::default()
    }
}

fn look_around(panel: &Panel) {
    for path in ["/dashboard", "/servers", "/blueprints", "/jobs", "/ports", "/admin/audit", "/account"] {
        for _ in 0..20 {
            panel.page(path);
        }
    }
}

/// What a process holds, MiB.
struct Memory {
    /// Proportional set size.
    pss: f64,
    /// Of it what is no file's.
    own: f64,
    /// Its largest resident set.
    peak: f64,
}

impl Memory {
    fn of(pid: u32) -> Self {
        let read = |file: &str, name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process that lives");
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
            line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).expect("a number") / 1024.0
        };
        Self {
            pss: read("smaps_rollup", "Pss:"),
            own: read("smaps_rollup", "Pss_Anon:"),
            peak: read("status", "VmHWM:"),
        }
    }
}

/// Seconds that a process has had of a processor, threads that have ended included.
fn processor_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that lives");
    let (_, rest) = stat.rsplit_once(") ").expect("fields");
    let fields: Vec<&str> = rest.split(' ').collect();
    // The kernel scales both, so that their sum is what the scheduler has counted (proc_pid_stat(5), fields 14 and 15).
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}
