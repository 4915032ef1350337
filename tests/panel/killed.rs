//! SIGKILL of the daemon at random, again and again, while many games print numbered lines: no line is lost or doubled on
//! any, every game is the same process at the end, and each daemon is ready again in well under a second.

use std::hash::{BuildHasher, Hasher};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::games::{blueprint, console, state};
use crate::support::panel::{Panel, Setup};
use crate::terminal::lines_of;

/// A number a line, some hundred lines a second.
const COUNTER: &str = r#"
for (my $n = 1; ; $n++) {
    print "number $n\n";
    my $line = line(0.008) // next;
    if ($line eq 'quit') { print "last $n\n"; exit 0; }
}
"#;

fn numbers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u64> {
    lines.filter_map(|line| line.strip_prefix("number ")?.trim().parse().ok()).collect()
}

fn in_a_row(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

fn kill_again_and_again(kills: usize, games: usize, readers: usize) {
    let first = 40_000 + u64::from(std::process::id() % 400) * 40;
    let config = vec![format!("port_range: {first}-{}", first + 39), "job_workers: 8".into()];
    let mut panel = Panel::with(Setup { config, ..Setup::default() });
    panel.must("/admin/install");
    let counter = blueprint(&panel, "counter", COUNTER);
    let servers: Vec<u64> = (0..games).map(|n| panel.server(&format!("counter {n}"), counter)).collect();
    let jobs: Vec<_> = servers
        .iter()
        .map(|server| panel.admin("POST", &format!("/servers/{server}/start"), &json!({})).expect(202).json())
        .collect();
    for job in jobs {
        let job = panel.finished(&job);
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    let pids: Vec<u32> = servers.iter().map(|server| panel.game(*server).pid).collect();
    // Some are watched all the while, by clients that come back after each death.
    let mut watched: Vec<_> = (0..readers)
        .map(|n| {
            let name = format!("counter {n}");
            let mut child =
                panel.command(&["servers", "logs", "-f", "-n", "1", &name]).stdout(Stdio::piped()).spawn().unwrap();
            let lines = lines_of(child.stdout.take().unwrap());
            (child, lines)
        })
        .collect();

    let mut ready = Vec::new();
    for _ in 0..kills {
        // From the middle of the start to long after it.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        std::thread::sleep(Duration::from_millis(random % 400));
        panel.kill();
        let begun = Instant::now();
        panel.start_again();
        ready.push(begun.elapsed());
    }
    ready.sort();
    let at = |part: usize| ready[(ready.len() - 1) * part / 100].as_millis();
    println!(
        "{kills} kills, {games} games: ready again after {} ms (median), {} ms (p90), {} ms (most)",
        at(50),
        at(90),
        at(100)
    );

    for (server, pid) in servers.iter().zip(&pids) {
        assert_eq!(panel.game(*server).pid, *pid, "server {server} is the same process");
        let state = state(&panel, *server);
        assert_eq!((&state["actual_state"], &state["last_error"]), (&json!("running"), &json!(null)), "{state}");
    }
    for server in &servers {
        panel.must(&format!("/servers/{server}/stop"));
        let console = console(&panel, *server);
        let found = numbers(console.lines());
        let last = console.lines().rev().find_map(|line| line.strip_prefix("last ")?.parse::<u64>().ok());
        assert_eq!((found.first().copied(), found.last().copied()), (Some(1), last), "server {server}");
        assert!(in_a_row(&found), "server {server}: a line is lost or doubled");
    }
    for (child, lines) in &mut watched {
        // Everything that was printed arrives: the last line was printed before the stop had ended.
        let mut seen = Vec::new();
        while let Ok(line) = lines.recv_timeout(crate::support::PATIENCE) {
            let ended = line.starts_with("last ");
            seen.push(line);
            if ended {
                break;
            }
        }
        assert!(seen.last().is_some_and(|line| line.starts_with("last ")), "{:?}", seen.last());
        let found = numbers(seen.iter().map(String::as_str));
        assert!(found.len() > 100 && in_a_row(&found), "who watches got a line twice or not at all");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(at(50) < 1000, "half of the daemons were ready after {} ms", at(50));
}

#[test]
fn twenty_kills_of_the_daemon_lose_and_double_no_line_of_eight_games() {
    kill_again_and_again(20, 8, 2);
}

#[test]
#[ignore = "long: tests/run --soak"]
fn a_hundred_kills_of_the_daemon_lose_and_double_no_line_of_twenty_games() {
    kill_again_and_again(100, 20, 4);
}
