//! How fast something long moves, and when it will be done. Pure: time comes in as milliseconds.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::job::Progress;

/// The time that a rate speaks of: long enough to be steady, short enough to notice a stall.
const WINDOW_MS: u64 = 10_000;
/// Before this much was seen, a rate would be a guess.
const LEAST_MS: u64 = 500;
/// Samples that are kept: progress is looked at twice a second.
const SAMPLES: usize = 64;

/// How fast, and how long still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Bytes a second, over the last seconds.
    pub bytes_per_second: u64,
    /// Seconds until the end at this rate; `None` while nothing moves or the end is unknown.
    pub seconds_left: Option<u64>,
}

/// Watches one progress.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    phase: String,
    samples: VecDeque<(u64, u64)>,
}

impl Meter {
    /// Takes how far it is at `now`, milliseconds of a clock that never goes back. A new phase, or one that begins anew,
    /// is measured from its own beginning.
    pub fn measure(&mut self, now: u64, progress: &Progress) -> Option<Pace> {
        let goes_back = self.samples.back().is_some_and(|(_, done)| *done > progress.done);
        if self.phase != progress.phase || goes_back {
            self.phase.clone_from(&progress.phase);
            self.samples.clear();
        }
        while self.samples.len() >= SAMPLES
            || (self.samples.len() > 1
                && self.samples.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW_MS))
        {
            self.samples.pop_front();
        }
        self.samples.push_back((now, progress.done));
        let (since, from) = *self.samples.front()?;
        let passed = now.saturating_sub(since);
        if passed < LEAST_MS {
            return None;
        }
        let moved = progress.done.saturating_sub(from);
        let bytes_per_second = (u128::from(moved) * 1000 / u128::from(passed)).min(u128::from(u64::MAX)) as u64;
        let left = progress.total.saturating_sub(progress.done);
        let known = bytes_per_second > 0 && progress.total > 0;
        Some(Pace { bytes_per_second, seconds_left: known.then(|| left.div_ceil(bytes_per_second)) })
    }
}

/// A time as people read it: `2 h 05 min`, `4 min 10 s`, `9 s`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600.. => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Bytes with a unit.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Progress as people read it: `1.2 GiB of 8.5 GiB, 10.3 MiB/s, 4 min 10 s left`.
pub fn describe(progress: &Progress, pace: Option<Pace>) -> String {
    let mut text = size(progress.done);
    if progress.total > 0 {
        text = format!("{text} of {}", size(progress.total));
    }
    if let Some(pace) = pace {
        text = format!("{text}, {}/s", size(pace.bytes_per_second));
        if let Some(seconds) = pace.seconds_left {
            text = format!("{text}, {} left", duration(seconds));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(done: u64) -> Progress {
        Progress { phase: "downloading".into(), done, total: 10_000 }
    }

    #[test]
    fn a_rate_is_what_moved_in_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.measure(0, &at(0)), None);
        assert_eq!(meter.measure(1000, &at(100)), Some(Pace { bytes_per_second: 100, seconds_left: Some(99) }));
        for second in 2..30 {
            meter.measure(second * 1000, &at(second * 100));
        }
        let faster = meter.measure(40_000, &at(8000)).unwrap();
        assert!(faster.bytes_per_second > 450, "{faster:?}");
    }

    #[test]
    fn a_stall_has_no_end_and_a_new_phase_begins_anew() {
        let mut meter = Meter::default();
        meter.measure(0, &at(500));
        assert_eq!(meter.measure(2000, &at(500)), Some(Pace { bytes_per_second: 0, seconds_left: None }));
        assert_eq!(meter.measure(3000, &Progress { phase: "verifying".into(), done: 900, total: 1000 }), None);
        assert_eq!(meter.measure(4000, &Progress { phase: "verifying".into(), done: 100, total: 1000 }), None);
    }

    #[test]
    fn a_duration_is_read_at_a_glance() {
        assert_eq!([9, 250, 7500].map(duration), ["9 s", "4 min 10 s", "2 h 05 min"]);
    }

    #[test]
    fn progress_is_told_with_rate_and_time_where_they_are_known() {
        let progress = Progress { phase: "x".into(), done: 3 << 20, total: 8 << 30 };
        let pace = Pace { bytes_per_second: 5 << 20, seconds_left: Some(1638) };
        assert_eq!(describe(&progress, Some(pace)), "3.0 MiB of 8.0 GiB, 5.0 MiB/s, 27 min 18 s left");
        assert_eq!(describe(&Progress { total: 0, ..progress }, None), "3.0 MiB");
    }

    proptest! {
        #[test]
        fn no_numbers_panic(steps in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..80)) {
            let mut meter = Meter::default();
            for (now, done, total) in steps {
                let _ = meter.measure(now, &Progress { phase: "x".into(), done, total });
            }
        }
    }
}
