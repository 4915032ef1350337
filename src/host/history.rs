//! The last hour of a run, as its pages draw it: a small file of samples beside its console.
//!
//! Written by the supervisor, read by pages. Lost samples cost a gap in a picture and nothing else, so nothing is synced;
//! a line that cannot be read is passed over. A file in the run's folder goes with it and needs no table of the store.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use super::paths::{Paths, Run};
use crate::model::machine::Sample;
use crate::model::time::Timestamp;

/// How long a sample is kept.
pub const KEPT_SECONDS: i64 = 3600;
/// Bytes after which old samples are taken out; an hour at one in 30 s takes some 5 KiB.
const BYTES_MAX: u64 = 32 << 10;

fn file_of(paths: &Paths, run: Run) -> PathBuf {
    paths.run(run).join("history")
}

/// The samples of the last hour, oldest first.
pub fn read(paths: &Paths, run: Run, now: Timestamp) -> io::Result<Vec<Sample>> {
    match fs::read_to_string(file_of(paths, run)) {
        Ok(text) => Ok(text.lines().filter_map(parse).filter(|sample| is_kept(sample, now)).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Adds a sample.
pub fn append(paths: &Paths, run: Run, sample: &Sample) -> io::Result<()> {
    let path = file_of(paths, run);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > BYTES_MAX) {
        let kept: String = read(paths, run, sample.at)?.iter().map(line).collect();
        let new = path.with_extension("new");
        fs::write(&new, kept)?;
        fs::rename(new, &path)?;
    }
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line(sample).as_bytes())
}

fn is_kept(sample: &Sample, now: Timestamp) -> bool {
    // A clock that was set back leaves samples of the future behind.
    (0..=KEPT_SECONDS).contains(&now.seconds_since(sample.at))
}

fn line(sample: &Sample) -> String {
    let players = sample.players.map_or_else(|| "-".to_owned(), |players| players.to_string());
    format!("{} {players} {} {}\n", sample.at.0, sample.cpu_percent, sample.memory_bytes)
}

fn parse(line: &str) -> Option<Sample> {
    let mut fields = line.split(' ');
    let at = Timestamp(fields.next()?.parse().ok()?);
    let players = match fields.next()? {
        "-" => None,
        number => Some(number.parse().ok()?),
    };
    let cpu_percent = fields.next()?.parse().ok()?;
    let memory_bytes = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some(Sample { at, players, cpu_percent, memory_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{HostId, ServerId};

    #[test]
    fn an_hour_of_samples_is_kept_in_a_bounded_file_and_nonsense_is_passed_over() {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path());
        let run = Run::Server(HostId::of(ServerId(1)));
        assert_eq!(read(&paths, run, Timestamp(0)).unwrap(), []);
        fs::create_dir_all(paths.run(run)).unwrap();
        let sample = |second: i64| Sample {
            at: Timestamp(second * 1000),
            players: (second % 2 == 0).then_some(3),
            cpu_percent: 140,
            memory_bytes: 1 << 30,
        };
        for second in (0..20_000).step_by(4) {
            append(&paths, run, &sample(second)).unwrap();
        }
        fs::OpenOptions::new()
            .append(true)
            .open(file_of(&paths, run))
            .unwrap()
            .write_all(b"not a sample\n99\n")
            .unwrap();
        let last = Timestamp(19_996_000);
        let found = read(&paths, run, last).unwrap();
        assert_eq!(found.len(), 901);
        assert_eq!((found[0].at, found[900]), (Timestamp(16_396_000), sample(19_996)));
        assert!(fs::metadata(file_of(&paths, run)).unwrap().len() < 2 * BYTES_MAX);
        assert_eq!(read(&paths, run, last.plus_seconds(4000)).unwrap(), []);
    }
}
