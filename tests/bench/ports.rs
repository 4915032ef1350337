//! Creations of servers per second over HTTP, beside the bare rate of durable redb commits on the same disk, in turn.
//!
//! `cargo bench --bench ports`. Prints a ratio (goal ≥ 0.8 with concurrent clients); decides nothing.

#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use redb::{Database, TableDefinition};
use serde_json::json;
use support::panel::{Panel, Setup};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("bare");
const ROUNDS: usize = 5;
const COMMITS: u64 = 200;
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

/// Servers created by concurrent clients, each with an automatic port.
fn created(panel: &Panel, blueprint: u64, round: usize) -> f64 {
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= COMMITS {
                        return;
                    }
                    let body = json!({"name": format!("round {round} server {number}"), "blueprint_id": blueprint});
                    panel.admin("POST", "/servers", &body).expect(201);
                }
            });
        }
    });
    COMMITS as f64 / begun.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let panel = Panel::with(Setup { config: vec!["port_range: 20000-29999".into()], ..Setup::default() });
    let blueprint = panel.blueprint("bench", &[], &[]);
    let (mut limits, mut rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let limit = bare(panel.folder.path(), round);
        let rate = created(&panel, blueprint, round);
        limits.push(limit);
        rates.push(rate);
        ratios.push(rate / limit);
    }
    let (limit, rate, ratio) = (median(limits), median(rates), median(ratios));
    println!("| work | left4me | limit | ratio | goal |\n|---|---|---|---|---|");
    println!(
        "| server creations/s, {CLIENTS} clients | {rate:.0} | {limit:.0} bare durable commits/s | {ratio:.2} | ≥ 0.8 |"
    );
}
