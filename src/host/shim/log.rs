//! The writing side of the console: segments named by the offset of their first byte, a new one after so many bytes, the
//! oldest removed. The reading side is [`crate::host::console`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::console::{segment_path, segments};
use super::super::launch::ConsoleLimits;

/// Appends what a program prints.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    limits: ConsoleLimits,
    file: File,
    /// Offset of the segment's first byte.
    start: u64,
    /// Offset after the last byte.
    end: u64,
    /// Bytes that could not be written since the last that could.
    lost: u64,
}

impl Log {
    /// Goes on where the last segment ends.
    pub fn open(folder: &Path, limits: ConsoleLimits) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (start, length) = segments(folder)?.last().copied().unwrap_or((0, 0));
        let file = OpenOptions::new().create(true).append(true).open(segment_path(folder, start))?;
        Ok(Self { folder: folder.to_owned(), limits, file, start, end: start + length, lost: 0 })
    }

    /// Offset after the last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends bytes. A full disk loses them, never the program: a line in the log says how many once there is room.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.lost > 0 {
            let note = format!("\n[left4me: {} bytes of console were lost: the disk was full]\n", self.lost);
            if self.write(note.as_bytes()).is_ok() {
                self.lost = 0;
            }
        }
        if self.write(bytes).is_err() {
            self.lost += bytes.len() as u64;
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.end - self.start >= self.limits.segment_bytes {
            self.rotate()?;
        }
        while !bytes.is_empty() {
            let n = match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.end += n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().create(true).append(true).open(segment_path(&self.folder, self.end))?;
        self.start = self.end;
        self.prune()
    }

    /// Removes what is too much or too old; never the segment that is written.
    fn prune(&self) -> io::Result<()> {
        let all = segments(&self.folder)?;
        let mut total: u64 = all.iter().map(|(_, length)| length).sum();
        let age = Duration::from_secs(u64::from(self.limits.keep_days) * 86_400);
        let oldest = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        for (start, length) in all {
            let path = segment_path(&self.folder, start);
            let old = path.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|time| time < oldest);
            if start == self.start || (total <= self.limits.keep_bytes && !old) {
                break;
            }
            std::fs::remove_file(path)?;
            total -= length;
        }
        Ok(())
    }
}
