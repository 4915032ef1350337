//! Rows 8 and 10: what years of work cost. A box with 500 servers, 100,000 jobs and 1,000,000 lines of their logs beside one
//! with 5 servers and nothing behind it: the same pages, and a start of the daemon as systemd sees it.
//!
//! Before each page a server gets another name, so that no page is one that was only remembered.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use left4me::model::id::ServerId;

use crate::fill::filled;
use crate::support::panel::{Panel, Setup};
use crate::table::{Goal, Rounds, Row, median, quantile};
use crate::wire::Connection;

/// Servers, jobs and lines of each job.
struct Size {
    ports: (u16, u16),
    servers: usize,
    jobs: u64,
    lines: u64,
}

const SMALL: Size = Size { ports: (28_000, 28_099), servers: 5, jobs: 5, lines: 10 };
const LARGE: Size = Size { ports: (28_100, 28_699), servers: 500, jobs: 100_000, lines: 10 };
/// Pages of each kind.
const PAGES: u64 = 300;
const STARTS: usize = 25;
/// Pages before the first that counts, of other jobs than those that count: the daemon has run for a while.
const WARM: u64 = 1000;

/// A box, and a connection to it.
struct Box {
    size: Size,
    panel: Panel,
    servers: Vec<ServerId>,
    bearer: String,
}

impl Box {
    fn of(size: Size) -> Self {
        let config = vec![format!("port_range: {}-{}", size.ports.0, size.ports.1)];
        let mut panel = Panel::with(Setup { config, ..Setup::default() });
        let servers = filled(&mut panel, size.ports, |store| {
            let servers = store.servers(size.servers);
            store.history(&servers, size.jobs, size.lines);
            servers
        });
        let bearer = panel.bearer();
        Self { size, panel, servers, bearer }
    }

    fn browser(&self) -> Connection {
        Connection::to(self.panel.address, &[("cookie", &self.panel.session.0)])
    }

    fn program(&self) -> Connection {
        let headers = [("authorization", self.bearer.as_str()), ("content-type", "application/json")];
        Connection::to(self.panel.address, &headers)
    }
}

/// Measures both rows.
pub fn measure() -> Vec<Row> {
    let (mut small, mut large) = (Box::of(SMALL), Box::of(LARGE));
    let mut rows = pages(&small, &large);
    let program = crate::support::panel::binary();
    let bytes = std::fs::metadata(&program).expect("the binary").len();
    rows.push(Row::new(10, "binary", "MB", bytes as f64 / 1e6, Goal::AtMost(10.0)));

    small.panel.terminate();
    large.panel.terminate();
    let mut found = Rounds::beside("5 servers, empty history");
    let mut all = Vec::new();
    for _ in 0..STARTS {
        let (of_small, of_large) = (start(&small.panel), start(&large.panel));
        found.add(of_large, of_small);
        all.push(of_large);
    }
    let work = format!("start of the daemon, {} servers, {} jobs", large.size.servers, large.size.jobs);
    rows.push(Row::rounds(8, work, "ms", &found, Goal::RatioAtMost(1.2)));
    rows.push(
        Row::new(10, "exec to READY with that store", "ms", median(&all), Goal::AtMost(50.0))
            .note(format!("{:.0} ms at most of {STARTS} starts", quantile(&all, 1.0))),
    );
    rows
}

fn pages(small: &Box, large: &Box) -> Vec<Row> {
    let mut rows = Vec::new();
    let name = "5 servers, empty history";
    let mut cards = Rounds::beside(name);
    let mut jobs = Rounds::beside(name);
    let mut lists = Rounds::beside(name);
    let mut whole = Rounds::beside(name);
    let (mut of_large, mut of_small) = (Visit::of(large), Visit::of(small));
    for number in 0..WARM {
        of_large.job(number);
        of_small.job(number);
    }
    for number in 0..PAGES {
        // Who is second finds the machine as the first has left it: each is first every other time.
        let mut round = |rounds: &mut Rounds, look: &mut dyn FnMut(&mut Visit<'_>) -> f64| {
            let (first, second) =
                if number % 2 == 0 { (&mut of_large, &mut of_small) } else { (&mut of_small, &mut of_large) };
            let (one, other) = (look(first), look(second));
            let (ours, beside) = if number % 2 == 0 { (one, other) } else { (other, one) };
            rounds.add(ours, beside);
        };
        round(&mut cards, &mut |visit| visit.after_a_change(number, "/dashboard?limit=5"));
        round(&mut jobs, &mut |visit| visit.job(WARM + number));
        round(&mut lists, &mut |visit| visit.after_a_change(number, "/jobs?limit=5"));
        if number < 30 {
            let all = "/dashboard?limit=500";
            round(&mut whole, &mut |visit| visit.after_a_change(number, all) / visit.of.size.servers as f64);
        }
    }
    let goal = Goal::RatioAtMost(1.2);
    rows.push(Row::rounds(8, "dashboard, 5 rows of 500", "ms", &cards, goal));
    rows.push(Row::rounds(8, "dashboard, all rows, each", "ms", &whole, goal));
    rows.push(Row::rounds(8, "page of a job with 10 lines, one of 100,000", "ms", &jobs, goal));
    rows.push(
        Row::rounds(8, "list of the newest 5 jobs", "ms", &lists, Goal::None)
            .note("its filter offers every server by name, up to 500"),
    );
    rows
}

/// Connections to one of the two.
struct Visit<'a> {
    of: &'a Box,
    browser: Connection,
    program: Connection,
}

impl<'a> Visit<'a> {
    fn of(of: &'a Box) -> Self {
        Self { of, browser: of.browser(), program: of.program() }
    }

    /// Milliseconds of a page, after one of its servers got another name.
    fn after_a_change(&mut self, number: u64, path: &str) -> f64 {
        let body = format!("{{\"name\":\"Friday coop 0 {:03}\"}}", 200 + number);
        self.program.ask("PATCH", &format!("/servers/{}", self.of.servers[0]), &body);
        self.page(path)
    }

    /// Milliseconds of the page of any job with what it shows of its log.
    fn job(&mut self, number: u64) -> f64 {
        // Far from each other: none is where the one before was.
        let id = 1 + number * 7919 % self.of.size.jobs;
        self.page(&format!("/jobs/{id}"))
    }

    fn page(&mut self, path: &str) -> f64 {
        let took = self.browser.ask("GET", path, "").as_secs_f64() * 1e3;
        assert!(self.browser.body.len() > 1000, "{path} is a page");
        took
    }
}

/// Milliseconds from exec to `READY=1`, as the service manager gets it; then the daemon is ended.
fn start(panel: &Panel) -> f64 {
    let path = panel.folder.path().join("notify");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).expect("a socket");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("permissions");
    socket.set_read_timeout(Some(Duration::from_mins(1))).expect("an option");
    let mut command: Command = panel.command(&["serve"]);
    command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().expect("the daemon");
    let mut buffer = [0; 4096];
    let took = loop {
        let read = socket.recv(&mut buffer).expect("word from the daemon");
        if String::from_utf8_lossy(&buffer[..read]).lines().any(|line| line == "READY=1") {
            break begun.elapsed().as_secs_f64() * 1e3;
        }
    };
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    child.wait().expect("its end");
    took
}
