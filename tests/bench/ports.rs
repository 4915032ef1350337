//! Row 7: creations of servers per second over HTTP, beside the bare rate of durable redb commits on the same disk, in turn.
//! A port that two servers have fails the row.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use redb::{Database, TableDefinition};
use serde_json::json;

use crate::support::panel::{Panel, Setup};
use crate::table::{Goal, Rounds, Row};
use crate::wire::Connection;

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("bare");
const ROUNDS: usize = 5;
const COMMITS: u64 = 1000;
const CLIENTS: usize = 16;

/// Durable commits of one small record each, one after another.
fn bare(folder: &std::path::Path, round: usize) -> f64 {
    let database = Database::create(folder.join(format!("bare-{round}.redb"))).expect("a database");
    let record = [7_u8; 200];
    let begun = Instant::now();
    for key in 0..COMMITS {
        let transaction = database.begin_write().expect("a transaction");
        transaction.open_table(TABLE).expect("a table").insert(key, record.as_slice()).expect("a record");
        transaction.commit().expect("a commit");
    }
    COMMITS as f64 / begun.elapsed().as_secs_f64()
}

/// Servers created by concurrent clients, each with a connection of its own and an automatic port.
fn created(panel: &Panel, clients: &mut [Connection], blueprint: u64, round: usize) -> f64 {
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in clients {
            let next = &next;
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= COMMITS {
                        return;
                    }
                    let body = json!({"name": format!("round {round} server {number}"), "blueprint_id": blueprint});
                    client.ask("POST", "/servers", &body.to_string());
                }
            });
        }
    });
    let rate = COMMITS as f64 / begun.elapsed().as_secs_f64();
    let mut taken = HashSet::new();
    let mut path = "/servers?limit=500".to_owned();
    loop {
        let list = panel.get(&path);
        for server in list["items"].as_array().expect("a list") {
            assert!(taken.insert(server["port"].as_u64().expect("a port")), "two servers have one port: {server}");
        }
        match list["next"].as_str() {
            Some(next) => path = format!("/servers?limit=500&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(taken.len() as u64, COMMITS * (round as u64 + 1), "every creation made a server with a port");
    rate
}

/// Measures the row.
pub fn measure() -> Vec<Row> {
    let panel = Panel::with(Setup { config: vec!["port_range: 20000-29999".into()], ..Setup::default() });
    let blueprint = panel.blueprint("bench", &[], &[]);
    let bearer = panel.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| Connection::to(panel.address, &headers)).collect();
    let mut found = Rounds::beside("bare durable commits of redb");
    for round in 0..ROUNDS {
        let limit = bare(panel.folder.path(), round);
        found.add(created(&panel, &mut clients, blueprint, round), limit);
    }
    let work = format!("servers created by {CLIENTS} racing clients, no port twice");
    vec![Row::rounds(7, work, "creations/s", &found, Goal::RatioAtLeast(0.8))]
}
