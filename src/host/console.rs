//! The reading side of a console: bytes by offset over the segments that a shim writes. Blocks on files; never waits.
//!
//! An offset counts from the first byte that the instance ever printed. Segments are named by the offset of their first
//! byte, so an offset means the same after every restart, rotation and pruning. A segment may vanish while it is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::paths::{Paths, Run};
use crate::model::machine::{ConsoleChunk, ConsoleCursor};

/// Bytes that are read at once when looking for line ends.
const BLOCK: u64 = 64 << 10;

/// Path of the segment that begins at `start`.
pub fn segment_path(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start}.log"))
}

/// First offset and length of each segment, oldest first. No folder: none.
pub fn segments(folder: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(start) = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|start| start.parse().ok())
        else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) => found.push((start, metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Offset after the last byte.
pub fn end(paths: &Paths, run: Run) -> io::Result<ConsoleCursor> {
    Ok(segments(&paths.console(run))?.last().map_or(0, |(start, length)| start + length))
}

/// Offset of the first byte that is still kept.
pub fn begin(paths: &Paths, run: Run) -> io::Result<ConsoleCursor> {
    Ok(segments(&paths.console(run))?.first().map_or(0, |(start, _)| *start))
}

/// At most `max` bytes from `from` on; empty at the end. The chunk starts later than asked where older segments are gone,
/// and at the end where `from` lies beyond it.
pub fn read(paths: &Paths, run: Run, from: ConsoleCursor, max: usize) -> io::Result<ConsoleChunk> {
    let folder = paths.console(run);
    let all = segments(&folder)?;
    let (Some((first, _)), Some((last, length))) = (all.first(), all.last()) else {
        return Ok(ConsoleChunk { start: 0, bytes: Vec::new() });
    };
    let mut at = from.clamp(*first, last + length);
    let mut chunk = ConsoleChunk { start: at, bytes: Vec::new() };
    for (start, length) in all {
        if at >= start + length {
            continue;
        }
        if at < start {
            // A gap: only at the front may the chunk move on, else it ends here.
            if !chunk.bytes.is_empty() {
                break;
            }
            at = start;
            chunk.start = start;
        }
        let wanted = (start + length - at).min((max - chunk.bytes.len()) as u64) as usize;
        if wanted == 0 {
            break;
        }
        let file = match File::open(segment_path(&folder, start)) {
            // Pruned since it was listed: what is behind it is what is left.
            Err(error) if error.kind() == io::ErrorKind::NotFound && chunk.bytes.is_empty() => continue,
            other => other?,
        };
        let old = chunk.bytes.len();
        chunk.bytes.resize(old + wanted, 0);
        file.read_exact_at(&mut chunk.bytes[old..], at - start)?;
        at += wanted as u64;
    }
    Ok(chunk)
}

/// Where the last `lines` complete lines begin. With fewer lines than that: where the kept console begins.
pub fn tail(paths: &Paths, run: Run, lines: usize) -> io::Result<ConsoleCursor> {
    let (begin, end) = (begin(paths, run)?, end(paths, run)?);
    let mut upto = end;
    // The end of the last complete line is the first line end found; `lines` more lie before the place looked for.
    let mut seen = 0;
    while upto > begin {
        let from = upto.saturating_sub(BLOCK).max(begin);
        let chunk = read(paths, run, from, (upto - from) as usize)?;
        for (index, byte) in chunk.bytes.iter().enumerate().rev() {
            if *byte == b'\n' {
                if seen == lines {
                    return Ok(chunk.start + index as u64 + 1);
                }
                seen += 1;
            }
        }
        upto = from;
    }
    Ok(begin)
}

#[cfg(test)]
mod tests {
    use super::super::launch::ConsoleLimits;
    use super::super::shim::log::Log;
    use super::*;
    use crate::model::id::{HostId, ServerId};
    use proptest::prelude::*;

    fn place() -> (tempfile::TempDir, Paths, Run) {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path());
        (base, paths, Run::Server(HostId::of(ServerId(1))))
    }

    fn log(paths: &Paths, run: Run, segment_bytes: u64, keep_bytes: u64) -> Log {
        Log::open(&paths.console(run), ConsoleLimits { segment_bytes, keep_bytes, keep_days: 30 }).unwrap()
    }

    #[test]
    fn a_console_that_never_was_is_empty() {
        let (_base, paths, run) = place();
        assert_eq!(end(&paths, run).unwrap(), 0);
        assert_eq!(read(&paths, run, 5, 10).unwrap(), ConsoleChunk { start: 0, bytes: Vec::new() });
        assert_eq!(tail(&paths, run, 5).unwrap(), 0);
    }

    #[test]
    fn a_cursor_means_the_same_after_rotation_and_restart() {
        let (_base, paths, run) = place();
        let mut writer = log(&paths, run, 10, 1000);
        for number in 0..10 {
            writer.append(format!("line {number}\n").as_bytes());
        }
        drop(writer);
        let mut writer = log(&paths, run, 10, 1000);
        writer.append(b"line 10\n");
        assert!(segments(&paths.console(run)).unwrap().len() > 3);
        let chunk = read(&paths, run, 7 * 9, 100).unwrap();
        assert_eq!(String::from_utf8(chunk.bytes).unwrap(), "line 9\nline 10\n");
        assert_eq!(tail(&paths, run, 2).unwrap(), 7 * 9);
        assert_eq!(end(&paths, run).unwrap(), writer.end());
    }

    #[test]
    fn the_oldest_segments_go_and_a_reader_goes_on_behind_them() {
        let (_base, paths, run) = place();
        let mut writer = log(&paths, run, 10, 30);
        for number in 10..40 {
            writer.append(format!("line {number}\n").as_bytes());
        }
        let first = begin(&paths, run).unwrap();
        assert!(first > 0);
        let chunk = read(&paths, run, 0, 1000).unwrap();
        assert_eq!(chunk.start, first);
        assert!(chunk.bytes.ends_with(b"line 39\n") && chunk.bytes.len() <= 50);
    }

    #[test]
    fn segments_go_after_their_days_however_small_they_are() {
        let (_base, paths, run) = place();
        let mut writer = log(&paths, run, 10, 1000);
        for number in 10..14 {
            writer.append(format!("line {number}\n").as_bytes());
        }
        let folder = paths.console(run);
        let before = segments(&folder).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_hours(31 * 24);
        let first = File::options().append(true).open(segment_path(&folder, before[0].0)).unwrap();
        first.set_modified(old).unwrap();
        for number in 14..18 {
            writer.append(format!("line {number}\n").as_bytes());
        }
        let after = segments(&folder).unwrap();
        assert!(after.len() > before.len() && after[0] == before[1], "{before:?} {after:?}");
    }

    #[test]
    fn an_unfinished_line_is_not_counted_as_a_line() {
        let (_base, paths, run) = place();
        log(&paths, run, 1000, 1000).append(b"one\ntwo\nthr");
        assert_eq!(tail(&paths, run, 1).unwrap(), 4);
        assert_eq!(tail(&paths, run, 2).unwrap(), 0);
        assert_eq!(tail(&paths, run, 0).unwrap(), 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_reader_in_steps_of_any_size_gets_every_byte_once(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            step in 1_usize..50,
        ) {
            let (_base, paths, run) = place();
            let mut writer = log(&paths, run, 25, u64::MAX);
            for piece in &pieces {
                writer.append(piece);
            }
            let (mut got, mut at) = (Vec::new(), 0);
            loop {
                let chunk = read(&paths, run, at, step).unwrap();
                if chunk.bytes.is_empty() {
                    break;
                }
                prop_assert_eq!(chunk.start, at);
                at += chunk.bytes.len() as u64;
                got.extend(chunk.bytes);
            }
            prop_assert_eq!(got, pieces.concat());
        }
    }
}
