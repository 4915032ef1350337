//! One look at a game that runs: what it uses, what it wrote, what it answers over A2S and RCON.
//!
//! The task that owns the instance begins a look and goes on with its own work; the [`Eye`] carries from look to look what
//! must be remembered. A look only reads: what to do about what it saw is the owner's business. Silence is never a sign
//! of trouble: rate limits and loopback filters are common.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::room::{Excess, excess};
use crate::blocking;
use crate::host::paths::{Paths, Run};
use crate::host::shim::state::State;
use crate::host::{history, usage};
use crate::model::machine::{Facts, Person, Sample};
use crate::model::time::Timestamp;
use crate::query::rcon::{self, RconError};
use crate::query::{a2s, status};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_millis(1500);
/// Shortest time between two questions to one game: it answers three a second to one address, and players come first
/// (domain.md, A2S and RCON).
const QUESTIONS: Duration = Duration::from_secs(5);
/// Shortest and longest time between two samples of the hour's picture.
const SAMPLES: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(30));
/// What a hostile game may write in a second: the nearer it is to its limit, the sooner the next look.
const WRITTEN_A_SECOND: u64 = 1 << 30;
/// Part of the time that measuring what a game wrote may take.
const MEASURING_SHARE: u32 = 20;

/// What is looked at.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub paths: Paths,
    pub run: Run,
    /// The run, as its shim wrote it down.
    pub state: State,
    /// Where it answers.
    pub port: u16,
    /// RCON password, where the blueprint sets one.
    pub password: Option<String>,
    /// What the game wrote.
    pub upper: PathBuf,
    /// Bytes that it may write.
    pub disk_max: Option<u64>,
    /// Time between two looks.
    pub refresh: Duration,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub facts: Facts,
    /// The game answered A2S.
    pub answered: bool,
    /// It wrote what it may not.
    pub overflow: Option<Excess>,
    /// A sample of the last hour was written.
    pub sampled: bool,
    /// When to look again.
    pub next: Duration,
}

/// How RCON stands with one run of a game.
#[derive(Debug, Default)]
enum Rcon {
    /// Not tried, or the connection ended.
    #[default]
    Apart,
    /// Logged in.
    Connected(rcon::Client),
    /// The password was refused: never tried again, for the game would ban us.
    Refused,
}

/// What is remembered from look to look.
#[derive(Debug, Default)]
pub(super) struct Eye {
    known: Facts,
    rcon: Rcon,
    asked: Option<Instant>,
    /// Processor time at the last look, and at the last sample.
    cpu: Option<(Instant, Duration)>,
    sampled: Option<(Instant, Duration)>,
    measured: Option<Instant>,
    measure_again: Duration,
}

impl Eye {
    /// Looks once.
    pub async fn look(mut self, target: Target) -> (Self, Seen) {
        let overflow = self.see_machine(&target).await;
        let answered = self.ask(&target).await;
        let sampled = self.sample(&target).await;
        let next = target.refresh.min(self.measure_again).max(Duration::from_millis(200));
        let seen = Seen { facts: self.known.clone(), answered, overflow, sampled, next };
        (self, seen)
    }

    async fn see_machine(&mut self, target: &Target) -> Option<Excess> {
        let measure = self.measured.is_none_or(|at| at.elapsed() >= self.measure_again);
        let (looked, enough) = (target.clone(), target.disk_max.unwrap_or(u64::MAX));
        let begun = Instant::now();
        let seen = blocking::run(move || {
            let used = usage::of(&looked.state);
            (used, measure.then(|| usage::layer_bytes(&looked.state, &looked.upper, enough)))
        });
        let (used, layer) = seen.await.ok()?;
        if let Some((at, before)) = self.cpu {
            self.known.cpu_percent = Some(percent(used.cpu.saturating_sub(before), at.elapsed()));
        }
        self.cpu = Some((Instant::now(), used.cpu));
        self.known.memory_bytes = Some(used.memory);
        self.known.processes = Some(used.processes);
        let layer = layer?;
        self.measured = Some(Instant::now());
        let measured = match layer {
            Ok(measured) => measured,
            Err(error) => {
                log::warn!("{}: what the game wrote cannot be measured: {error}", target.upper.display());
                self.measure_again = target.refresh;
                return None;
            }
        };
        self.known.layer_bytes = measured;
        let room = measured.map_or(u64::MAX, |written| enough.saturating_sub(written));
        let filled = Duration::from_millis(room.saturating_mul(1000) / WRITTEN_A_SECOND);
        self.measure_again = filled.min(target.refresh).max(begun.elapsed() * MEASURING_SHARE);
        excess(measured, target.disk_max)
    }

    /// Asks the game, where that is due. Answers whether it answered A2S.
    async fn ask(&mut self, target: &Target) -> bool {
        if target.port == 0 || self.asked.is_some_and(|at| at.elapsed() < QUESTIONS) {
            return false;
        }
        self.asked = Some(Instant::now());
        let address = SocketAddr::from(([127, 0, 0, 1], target.port));
        let answered = match a2s::info(address, ANSWER).await {
            Ok((info, round_trip)) => {
                self.known.players = Some(u32::from(info.humans()));
                self.known.bots = Some(u32::from(info.bots));
                self.known.max_players = Some(u32::from(info.max_players));
                self.known.ping_ms = Some(round_trip.as_millis() as u32);
                self.known.map = Some(info.map);
                true
            }
            // What was known stays.
            Err(_) => false,
        };
        if let Some(password) = &target.password {
            match self.ask_people(target, address, password).await {
                Ok(people) => {
                    self.known.people = Some(people);
                    self.known.rcon_problem = None;
                }
                Err(problem) => self.known.rcon_problem = Some(problem),
            }
        }
        answered
    }

    async fn ask_people(
        &mut self,
        target: &Target,
        address: SocketAddr,
        password: &str,
    ) -> Result<Vec<Person>, String> {
        let refused = || RconError::BadPassword.to_string();
        let mut client = match std::mem::take(&mut self.rcon) {
            Rcon::Connected(client) => client,
            Rcon::Refused => {
                self.rcon = Rcon::Refused;
                return Err(refused());
            }
            Rcon::Apart => {
                if was_refused(target) {
                    self.rcon = Rcon::Refused;
                    return Err(refused());
                }
                match rcon::Client::connect(address, password, ANSWER).await {
                    Ok(client) => client,
                    Err(RconError::BadPassword) => {
                        note_refused(target);
                        self.rcon = Rcon::Refused;
                        self.known.people = None;
                        return Err(refused());
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        let text = client.exec("status").await.map_err(|error| error.to_string())?;
        self.rcon = Rcon::Connected(client);
        Ok(status::people(&text))
    }

    /// Writes a sample, where one is due; says whether it did.
    async fn sample(&mut self, target: &Target) -> bool {
        let Some((_, cpu)) = self.cpu else { return false };
        let every = (target.refresh * 4).clamp(SAMPLES.0, SAMPLES.1);
        let Some((at, before)) = self.sampled else {
            // Nothing to compare with yet.
            self.sampled = Some((Instant::now(), cpu));
            return false;
        };
        if at.elapsed() < every {
            return false;
        }
        let sample = Sample {
            at: Timestamp::now(),
            players: self.known.players,
            cpu_percent: percent(cpu.saturating_sub(before), at.elapsed()),
            memory_bytes: self.known.memory_bytes.unwrap_or(0),
        };
        self.sampled = Some((Instant::now(), cpu));
        let (paths, run) = (target.paths.clone(), target.run);
        let written = blocking::run(move || history::append(&paths, run, &sample)).await;
        if let Ok(Err(error)) = written {
            // A gap in a picture, on a disk that is full.
            log::debug!("a sample of {run} is lost: {error}");
        }
        true
    }
}

fn percent(used: Duration, passed: Duration) -> u32 {
    (used.as_micros() * 100 / passed.as_micros().max(1)).min(100_000) as u32
}

/// The refusal is remembered over restarts of the daemon, for this process of the game: each attempt would count.
fn refusal_of(target: &Target) -> (PathBuf, String) {
    let program = &target.state.program;
    (target.paths.run(target.run).join("rcon-refused"), format!("{} {}\n", program.pid, program.start_time))
}

fn was_refused(target: &Target) -> bool {
    let (path, mark) = refusal_of(target);
    std::fs::read_to_string(path).is_ok_and(|found| found == mark)
}

fn note_refused(target: &Target) {
    let (path, mark) = refusal_of(target);
    if let Err(error) = std::fs::write(&path, mark) {
        log::warn!("{}: cannot be written: {error}; the next daemon will try the password once more", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_processor_is_of_one_core() {
        assert_eq!(percent(Duration::from_secs(3), Duration::from_secs(2)), 150);
        assert_eq!(percent(Duration::from_secs(3), Duration::ZERO), 100_000);
    }
}
