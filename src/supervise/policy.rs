//! What to do about an instance: pure decisions, carried out by `instance.rs`.
//!
//! ```text
//!              StartAsked            Ready
//!    Down ───────────────▶ Starting ───────▶ Running
//!     ▲ ▲                   │  ▲  │             │
//!     │ │ Exited,           │  │  │ Exited,     │ Exited
//!     │ │ TimedOut (start   │  │  │ of a        │
//!     │ │ of a job)         │  │  │ restart     │
//!     │ └───────────────────┘  │  ▼             ▼
//!     │            BackoffOver └─ Waiting ◀─────┤
//!     │ Exited                     │  fifth     │
//!   Stopping ◀── StopAsked ────────┤  crash in  ▼
//!                (Starting,        │  5 minutes
//!                 Running)         └─────────▶ Failed ── StartAsked ──▶ Starting
//! ```
//!
//! Condemned (Starting, Running) leads to a phase of that name: the game is killed, and its end leads to Failed. So ends
//! a game that would only do the same again, such as one that wrote more to disk than it may.
//!
//! A game that the user stopped is never started again by us; one that a job could not start is not either: the job
//! says why, and the user decides.

use std::collections::VecDeque;
use std::time::Duration;

/// Crashes within [`CRASH_WINDOW`] after which we give up.
pub const CRASH_LIMIT: usize = 5;
/// How long a crash counts against the limit.
pub const CRASH_WINDOW: Duration = Duration::from_mins(5);
/// After so long without a crash, back-off begins at one second again.
pub const QUIET: Duration = Duration::from_mins(10);
/// Longest wait between two starts.
pub const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// Where an instance is, as its task sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No process, none wanted by us.
    Down,
    /// A process that is not ready. `by_job`: somebody waits for the answer.
    Starting {
        /// A job asked; otherwise we restart after a crash or a reboot.
        by_job: bool,
    },
    /// Ready.
    Running,
    /// Told to end.
    Stopping,
    /// Killed for what it did; not started again by us.
    Condemned,
    /// Crashed; will be started again.
    Waiting,
    /// Crashed too often.
    Failed,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A job asks for the game.
    StartAsked,
    /// A job asks for its end.
    StopAsked,
    /// The game is ready.
    Ready,
    /// It was not ready in time, or said something that forbids it to go on (a wrong port).
    GaveUp,
    /// It did what no game may do again.
    Condemned,
    /// The process ended, or could not be launched at all.
    Exited,
    /// The process was ended by the box, not by us and not by itself: its unit was stopped, the box shuts down.
    Dismissed,
    /// The wait is over.
    BackoffOver,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Launch the game.
    Launch,
    /// The game runs already: answer the job so.
    AlreadyUp,
    /// Tell the shim to end the game gently.
    EndGently,
    /// End the game: it will not become ready.
    EndFailedStart,
    /// Kill the game.
    EndAtOnce,
    /// The game is ready: answer the job, forget old errors.
    AnnounceReady,
    /// The game ended as asked: answer the job.
    AnnounceStopped,
    /// The start failed, or the game was condemned: answer the job, if one waits, with the reason.
    AnnounceStartFailed,
    /// Count a crash; wait, or give up.
    CountCrash,
    /// Nothing runs: the wish is fulfilled.
    AlreadyDown,
    /// Note that the box ended the game; the desired state stays, so it comes back with the box.
    NoteDismissed,
}

/// The next phase and what to do. After [`Effect::CountCrash`] the phase is [`Phase::Waiting`] unless
/// [`Crashes::record`] says to give up.
pub fn step(phase: Phase, input: Input) -> (Phase, Effect) {
    use Effect as E;
    use Input as I;
    use Phase as P;
    match (phase, input) {
        (P::Down | P::Waiting | P::Failed, I::StartAsked) => (P::Starting { by_job: true }, E::Launch),
        // A restart of ours is under way: the job takes it over.
        (P::Starting { .. }, I::StartAsked) => (P::Starting { by_job: true }, E::None),
        (P::Running, I::StartAsked) => (P::Running, E::AlreadyUp),
        // The lane of a server is serial: a start that meets a stop waits for the end in `instance.rs`.
        (P::Stopping, I::StartAsked | I::StopAsked) => (P::Stopping, E::None),
        (P::Condemned, I::StartAsked) => (P::Condemned, E::None),
        (P::Condemned, I::StopAsked) => (P::Stopping, E::None),

        (P::Starting { .. } | P::Running, I::Condemned) => (P::Condemned, E::EndAtOnce),
        (P::Down | P::Stopping | P::Condemned | P::Waiting | P::Failed, I::Condemned) => (phase, E::None),
        (P::Condemned, I::Exited | I::Dismissed) => (P::Failed, E::AnnounceStartFailed),

        (P::Down | P::Waiting | P::Failed, I::StopAsked) => (P::Down, E::AlreadyDown),
        (P::Starting { .. } | P::Running, I::StopAsked) => (P::Stopping, E::EndGently),

        (P::Starting { .. }, I::Ready) => (P::Running, E::AnnounceReady),
        (P::Down | P::Running | P::Stopping | P::Condemned | P::Waiting | P::Failed, I::Ready) => (phase, E::None),

        (P::Starting { .. }, I::GaveUp) => (phase, E::EndFailedStart),
        (P::Down | P::Running | P::Stopping | P::Condemned | P::Waiting | P::Failed, I::GaveUp) => (phase, E::None),

        (P::Starting { by_job: true }, I::Exited) => (P::Down, E::AnnounceStartFailed),
        (P::Starting { by_job: false } | P::Running, I::Exited) => (P::Waiting, E::CountCrash),
        (P::Stopping, I::Exited) => (P::Down, E::AnnounceStopped),
        (P::Down | P::Waiting | P::Failed, I::Exited) => (phase, E::None),

        (P::Starting { .. } | P::Running, I::Dismissed) => (P::Down, E::NoteDismissed),
        (P::Stopping, I::Dismissed) => (P::Down, E::AnnounceStopped),
        (P::Down | P::Waiting | P::Failed, I::Dismissed) => (phase, E::None),

        (P::Waiting, I::BackoffOver) => (P::Starting { by_job: false }, E::Launch),
        (P::Down | P::Starting { .. } | P::Running | P::Stopping | P::Condemned | P::Failed, I::BackoffOver) => {
            (phase, E::None)
        }
    }
}

/// What to do after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCrash {
    /// Start again after this long.
    Restart(Duration),
    /// Enough.
    GiveUp,
}

/// Remembers crashes. Times are given as time since any fixed moment, so that tests need no clock.
#[derive(Debug, Default)]
pub struct Crashes {
    recent: VecDeque<Duration>,
    streak: u32,
}

impl Crashes {
    /// A crash at `now`.
    pub fn record(&mut self, now: Duration) -> AfterCrash {
        if self.recent.back().is_some_and(|last| now.saturating_sub(*last) >= QUIET) {
            self.streak = 0;
        }
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|first| now.saturating_sub(*first) >= CRASH_WINDOW)
            && self.recent.len() > 1
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= CRASH_LIMIT {
            return AfterCrash::GiveUp;
        }
        let wait = Duration::from_secs(1 << self.streak.min(6)).min(BACKOFF_MAX);
        self.streak += 1;
        AfterCrash::Restart(wait)
    }

    /// Forget all: a person started or stopped the game.
    pub fn forget(&mut self) {
        self.recent.clear();
        self.streak = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn back_off_doubles_to_a_minute_and_ten_quiet_minutes_forget() {
        let mut crashes = Crashes::default();
        let mut now = seconds(0);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            // Far enough apart not to reach the limit, near enough to keep doubling.
            now += seconds(120);
            assert_eq!(crashes.record(now), AfterCrash::Restart(seconds(wait)), "at {now:?}");
        }
        assert_eq!(crashes.record(now + QUIET), AfterCrash::Restart(seconds(1)));
    }

    #[test]
    fn the_fifth_crash_in_five_minutes_gives_up() {
        let mut crashes = Crashes::default();
        for at in 0..4 {
            assert!(matches!(crashes.record(seconds(at * 10)), AfterCrash::Restart(_)));
        }
        assert_eq!(crashes.record(seconds(50)), AfterCrash::GiveUp);
    }

    #[test]
    fn a_person_who_starts_the_game_begins_anew() {
        let mut crashes = Crashes::default();
        for at in 0..4 {
            crashes.record(seconds(at));
        }
        crashes.forget();
        assert_eq!(crashes.record(seconds(5)), AfterCrash::Restart(seconds(1)));
    }

    fn inputs() -> impl Strategy<Value = Vec<Input>> {
        let one = prop::sample::select(vec![
            Input::StartAsked,
            Input::StopAsked,
            Input::Ready,
            Input::GaveUp,
            Input::Condemned,
            Input::Exited,
            Input::Dismissed,
            Input::BackoffOver,
        ]);
        proptest::collection::vec(one, 0..64)
    }

    proptest! {
        #[test]
        fn after_a_stop_nothing_is_launched_until_somebody_asks(before in inputs(), after in inputs()) {
            let mut phase = before.into_iter().fold(Phase::Down, |phase, input| step(phase, input).0);
            phase = step(phase, Input::StopAsked).0;
            for input in after.into_iter().filter(|input| *input != Input::StartAsked) {
                let (next, effect) = step(phase, input);
                prop_assert_ne!(effect, Effect::Launch);
                phase = next;
            }
        }

        #[test]
        fn a_launch_only_happens_where_no_process_is(inputs in inputs()) {
            let mut phase = Phase::Down;
            let mut processes = 0;
            for input in inputs {
                // An exit can only be reported of a process that exists.
                let ends = matches!(input, Input::Exited | Input::Dismissed);
                if ends && processes == 0 {
                    continue;
                }
                if ends {
                    processes -= 1;
                }
                let (next, effect) = step(phase, input);
                if effect == Effect::Launch {
                    processes += 1;
                }
                prop_assert!(processes <= 1);
                phase = next;
            }
        }
    }
}
