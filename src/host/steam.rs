//! SteamCMD as data: which arguments, what a line means, what to do next. Pure: the install job runs the programs.
//!
//! ```text
//! two passes ──invalid platform──▶ manifest ──invalid platform──▶ account ──▶ give up
//!     │ retry on a transient error (same pass)
//!     └ success text AND an executable srcds in the tree ──▶ installed
//! ```
//!
//! Exit codes are undocumented: text and tree decide. What here rests on one source (domain.md, M) stands in one table.

use serde::{Deserialize, Serialize};

use crate::model::job::Progress;

/// The dedicated server.
pub const APP: u32 = 222_860;
/// Programs of which one must be executable in a tree that counts as installed.
pub const PROGRAMS: [&str; 2] = ["srcds_run", "srcds_linux"];
/// Where [`MANIFEST`] belongs, in the new layer.
pub const MANIFEST_PATH: &str = "steamapps/appmanifest_222860.acf";
/// Written beforehand by [`Strategy::Manifest`].
pub const MANIFEST: &str = "\"AppState\"\n{\n\t\"appid\"\t\t\"222860\"\n\t\"universe\"\t\t\"1\"\n\t\"name\"\t\t\"Left 4 Dead 2 Dedicated Server\"\n\t\"StateFlags\"\t\t\"2\"\n\t\"installdir\"\t\t\"Left 4 Dead 2 Dedicated Server\"\n}\n";

/// What a job says that found no space.
pub const DISK_FULL: &str = "the disk is full: free some space (the game takes about 9 GB), then install again";

/// A way to get the game although the plain one is refused since 2024-11-26.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// First as Windows, then as Linux.
    TwoPasses,
    /// With a manifest that says "update wanted".
    Manifest,
    /// With an account that owns the game.
    Account,
}

impl Strategy {
    /// What is tried first.
    pub const FIRST: Self = Self::TwoPasses;

    /// Runs of SteamCMD that it takes.
    pub fn passes(self) -> usize {
        match self {
            Self::TwoPasses => 2,
            Self::Manifest | Self::Account => 1,
        }
    }

    /// What is tried when Steam calls the platform invalid. `account`: whether one has logged in on this box.
    pub fn next(self, account: bool) -> Option<Self> {
        match self {
            Self::TwoPasses => Some(Self::Manifest),
            Self::Manifest => account.then_some(Self::Account),
            Self::Account => None,
        }
    }

    /// What the job's log calls it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::TwoPasses => "two passes (windows, then linux), anonymous",
            Self::Manifest => "one pass with a prepared manifest, anonymous",
            Self::Account => "one pass with the account that has logged in on this box",
        }
    }
}

/// Arguments of one run. `pass` counts from 0; `login`: name of the account, for [`Strategy::Account`].
///
/// `+force_install_dir` stands before `+login`, else it is ignored (domain.md).
pub fn arguments(strategy: Strategy, pass: usize, login: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(ToString::to_string));
    match (strategy, pass) {
        (Strategy::TwoPasses, 0) => add(&["+@sSteamCmdForcePlatformType", "windows"]),
        (Strategy::TwoPasses, _) => add(&["+@sSteamCmdForcePlatformType", "linux"]),
        (Strategy::Manifest | Strategy::Account, _) => {}
    }
    let name = match strategy {
        Strategy::TwoPasses | Strategy::Manifest => "anonymous",
        Strategy::Account => login.unwrap_or("anonymous"),
    };
    let app = APP.to_string();
    // Answered by nobody: a question must fail, not hang.
    add(&["+@ShutdownOnFailedCommand", "1", "+@NoPromptForPassword", "1"]);
    add(&["+force_install_dir", super::sandbox::GAME, "+login", name, "+app_update", &app, "validate", "+quit"]);
    words
}

/// Arguments of a run that only lets SteamCMD update itself.
pub fn settle_arguments() -> Vec<String> {
    vec!["+quit".into()]
}

/// What one printed line means.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// How far it is.
    Progress(Progress),
    /// The app is installed.
    Success,
    /// Something that decides.
    Error(Trouble),
    /// Nothing that decides.
    Other,
}

/// What SteamCMD complains of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Steam does not hand this platform to this user.
    InvalidPlatform,
    /// Usual on a first run.
    MissingConfiguration,
    /// The disk is full.
    NoSpace,
    /// The network failed.
    Network,
    /// Writing failed.
    DiskWrite,
    /// Files are missing or corrupt.
    Corrupt,
    /// The account does not own the game.
    NoSubscription,
    /// Wrong or forgotten login.
    Login,
    /// Steam refuses more logins for a while.
    RateLimit,
    /// There is no network at all.
    Offline,
    /// The 32-bit loader or a library is missing.
    Libraries,
    /// Some other state or failure.
    Unknown,
}

/// What to do after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The pass is done.
    Done,
    /// The same pass again, after so many seconds; the text says why.
    Retry {
        /// Seconds to wait.
        after: u64,
        /// Why.
        reason: String,
    },
    /// Another strategy.
    NextStrategy(String),
    /// Give up: what happened and what to do.
    Failed(String),
}

/// Texts that decide, lower case, and what they mean (domain.md, SteamCMD). The first that fits counts.
const TEXTS: [(&str, Trouble); 18] = [
    ("invalid platform", Trouble::InvalidPlatform),
    ("missing configuration", Trouble::MissingConfiguration),
    ("no subscription", Trouble::NoSubscription),
    ("rate limit exceeded", Trouble::RateLimit),
    ("invalid password", Trouble::Login),
    ("cached credentials not found", Trouble::Login),
    ("account logon denied", Trouble::Login),
    ("not logged on", Trouble::Login),
    ("needs to be online to update", Trouble::Offline),
    ("no connection", Trouble::Network),
    ("no space left on device", Trouble::NoSpace),
    ("not enough disk space", Trouble::NoSpace),
    ("disk write failure", Trouble::DiskWrite),
    ("error while loading shared libraries", Trouble::Libraries),
    ("ld-linux.so.2", Trouble::Libraries),
    ("linux32/steamcmd: no such file", Trouble::Libraries),
    ("timed out waiting for", Trouble::Network),
    ("failed to install app", Trouble::Unknown),
];

/// Reads one line.
pub fn parse_line(line: &str) -> Line {
    let line = line.trim();
    if let Some(progress) = update_state(line).or_else(|| bootstrap(line)) {
        return Line::Progress(progress);
    }
    let lower = line.to_ascii_lowercase();
    if lower.starts_with("success! app '222860'") {
        return Line::Success;
    }
    if let Some(code) = lower.split_once("' state is 0x").and_then(|(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        u32::from_str_radix(&digits, 16).ok()
    }) {
        return Line::Error(match code {
            0x202 | 0x212 => Trouble::NoSpace,
            0x402 | 0x602 => Trouble::Network,
            0x606 => Trouble::DiskWrite,
            0x626 | 0x6a6 => Trouble::Corrupt,
            _ => Trouble::Unknown,
        });
    }
    TEXTS.iter().find(|(text, _)| lower.contains(text)).map_or(Line::Other, |(_, trouble)| Line::Error(*trouble))
}

/// ` Update state (0x61) downloading, progress: 0.76 (19265607 / 2521022188)`; the pair counts, the percentage may have a
/// comma.
fn update_state(line: &str) -> Option<Progress> {
    let rest = line.strip_prefix("Update state (0x")?;
    let (_, rest) = rest.split_once(") ")?;
    let (phase, rest) = rest.split_once(", progress: ")?;
    let (_, pair) = rest.split_once('(')?;
    let (done, total) = pair.trim_end().strip_suffix(')')?.split_once(" / ")?;
    Some(Progress { phase: phase.into(), done: done.trim().parse().ok()?, total: total.trim().parse().ok()? })
}

/// `[ 27%] Downloading update (14,635 of 52,274 KB)...`
fn bootstrap(line: &str) -> Option<Progress> {
    let (_, rest) = line.strip_prefix('[')?.split_once("%] ")?;
    let (_, rest) = rest.split_once("Downloading update (")?;
    let (done, rest) = rest.split_once(" of ")?;
    let (total, _) = rest.split_once(" KB")?;
    let number = |text: &str| text.replace([',', '.'], "").parse::<u64>().ok()?.checked_mul(1024);
    Some(Progress { phase: "updating SteamCMD".into(), done: number(done)?, total: number(total)? })
}

/// What to do after a run of which these lines were printed, the `tries`-th of its pass (from 1). `last`: no pass comes
/// after this one. `has_srcds`: whether one of [`PROGRAMS`] is executable in the tree.
pub fn judge<S: AsRef<str>>(lines: &[S], exit_code: Option<i32>, tries: u32, last: bool, has_srcds: bool) -> Verdict {
    let parsed = || lines.iter().rev().map(|line| parse_line(line.as_ref()));
    // What came last counts: SteamCMD retries by itself and then succeeds.
    let decisive = parsed().find(|line| matches!(line, Line::Success | Line::Error(_)));
    match decisive {
        Some(Line::Success) if !last || has_srcds => Verdict::Done,
        Some(Line::Success) => Verdict::Failed(
            "SteamCMD says the game is installed, but there is no executable srcds_run or srcds_linux: install again; if it \
             stays so, remove steamapps/ from the game layer"
                .into(),
        ),
        Some(Line::Error(Trouble::Unknown)) => {
            // "Failed to install app" repeats what an earlier line says better.
            let better = parsed().find_map(|line| match line {
                Line::Error(trouble) if trouble != Trouble::Unknown => Some(trouble),
                Line::Error(_) | Line::Progress(_) | Line::Success | Line::Other => None,
            });
            after_trouble(better.unwrap_or(Trouble::Unknown), tries)
        }
        Some(Line::Error(trouble)) => after_trouble(trouble, tries),
        Some(Line::Progress(_) | Line::Other) | None => match exit_code {
            // SteamCMD replaced itself and wants to be run again (M).
            Some(42) => retry("SteamCMD has updated itself", tries, 5, 0),
            Some(5) => after_trouble(Trouble::Login, tries),
            Some(code) => retry(&format!("SteamCMD ended with code {code} and said nothing that explains it"), tries, 3, 5),
            None => retry("SteamCMD was killed", tries, 3, 5),
        },
    }
}

/// What to do after a run that was ended because it was silent for so many seconds, the `tries`-th of its pass.
pub fn judge_silence(seconds: u64, tries: u32) -> Verdict {
    let time = if seconds >= 60 { format!("{} minutes", seconds / 60) } else { format!("{seconds} seconds") };
    retry(&format!("SteamCMD said nothing for {time} and was ended"), tries, 3, 5)
}

fn retry(reason: &str, tries: u32, most: u32, after: u64) -> Verdict {
    if tries < most {
        Verdict::Retry { after, reason: format!("{reason}; try {} of {most}", tries + 1) }
    } else {
        Verdict::Failed(format!("{reason}; given up after {tries} tries"))
    }
}

fn after_trouble(trouble: Trouble, tries: u32) -> Verdict {
    let failed = |text: &str| Verdict::Failed(text.into());
    match trouble {
        Trouble::InvalidPlatform => Verdict::NextStrategy(
            "Steam says \"Invalid platform\": it does not hand the Linux files to this login".into(),
        ),
        Trouble::MissingConfiguration => {
            retry("SteamCMD says \"Missing configuration\", as it does on a first run", tries, 5, 2)
        }
        Trouble::Network => retry("the network failed", tries, 10, 10),
        Trouble::DiskWrite => retry("SteamCMD could not write", tries, 3, 5),
        Trouble::Corrupt => retry("files are missing or corrupt; SteamCMD fetches them again", tries, 5, 5),
        Trouble::Unknown => retry("SteamCMD failed without a reason that is known", tries, 3, 10),
        Trouble::NoSpace => failed(DISK_FULL),
        Trouble::NoSubscription => failed(
            "this Steam login does not own the game: log in with an account that does (left4me install --login USER)",
        ),
        Trouble::Login => failed("Steam refuses the login: log in again on the box (left4me install --login USER)"),
        Trouble::RateLimit => failed("Steam refuses more logins for now: wait half an hour, then install again"),
        Trouble::Offline => failed(
            "SteamCMD cannot reach Steam (it says that it needs to be online to update): the box has no network, no DNS, \
                 or a firewall is in the way",
        ),
        Trouble::Libraries => Verdict::Failed(format!(
            "SteamCMD is a 32-bit program and its libraries are missing. {}",
            super::probe::LIBRARIES
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    // proptest has a trait of the same name.
    use super::Strategy;
    use proptest::prelude::*;

    fn verdict(text: &str, tries: u32) -> Verdict {
        let lines: Vec<&str> = text.lines().collect();
        judge(&lines, Some(8), tries, true, true)
    }

    #[test]
    fn progress_is_read_from_the_byte_pair_whatever_the_decimal_point() {
        for percent in ["0.76", "0,76"] {
            let line = format!(" Update state (0x61) downloading, progress: {percent} (19265607 / 2521022188)");
            let expected = Progress { phase: "downloading".into(), done: 19_265_607, total: 2_521_022_188 };
            assert_eq!(parse_line(&line), Line::Progress(expected));
        }
        assert_eq!(
            parse_line("[ 27%] Downloading update (14,635 of 52,274 KB)..."),
            Line::Progress(Progress { phase: "updating SteamCMD".into(), done: 14_635 << 10, total: 52_274 << 10 })
        );
    }

    #[test]
    fn an_install_counts_only_with_a_program_in_the_tree() {
        let lines = ["Success! App '222860' fully installed."];
        assert_eq!(judge(&lines, Some(0), 1, true, true), Verdict::Done);
        assert!(matches!(judge(&lines, Some(0), 1, true, false), Verdict::Failed(_)));
        assert_eq!(
            judge(&lines, Some(0), 1, false, false),
            Verdict::Done,
            "the first of two passes brings Windows files"
        );
        assert_eq!(judge(&["Success! App '222860' already up to date."], Some(0), 1, true, true), Verdict::Done);
    }

    #[test]
    fn invalid_platform_walks_through_the_strategies() {
        let text = "Logged in OK\nERROR! Failed to install app '222860' (Invalid platform)";
        assert!(matches!(verdict(text, 1), Verdict::NextStrategy(_)));
        assert_eq!(Strategy::FIRST.next(false), Some(Strategy::Manifest));
        assert_eq!(Strategy::Manifest.next(false), None);
        assert_eq!(Strategy::Manifest.next(true), Some(Strategy::Account));
        assert_eq!(Strategy::Account.next(true), None);
    }

    #[test]
    fn a_full_disk_stops_and_a_network_failure_is_tried_ten_times() {
        let full = verdict("Error! App '222860' state is 0x202 after update job.", 1);
        assert!(matches!(full, Verdict::Failed(text) if text.starts_with("the disk is full")));
        let network = "Error! App '222860' state is 0x402 after update job.";
        assert!(matches!(verdict(network, 9), Verdict::Retry { after: 10, .. }));
        assert!(matches!(verdict(network, 10), Verdict::Failed(_)));
    }

    #[test]
    fn missing_configuration_is_tried_five_times() {
        let text = "ERROR! Failed to install app '222860' (Missing configuration)";
        assert!(matches!(verdict(text, 4), Verdict::Retry { .. }));
        assert!(matches!(verdict(text, 5), Verdict::Failed(_)));
    }

    #[test]
    fn an_error_that_steamcmd_overcame_by_itself_does_not_count() {
        let text = "Error! App '222860' state is 0x602 after update job.\nSuccess! App '222860' fully installed.";
        assert_eq!(verdict(text, 1), Verdict::Done);
    }

    #[test]
    fn a_self_update_and_a_silent_end_are_tried_again() {
        assert!(matches!(judge::<&str>(&[], Some(42), 1, true, true), Verdict::Retry { after: 0, .. }));
        assert!(matches!(judge(&["garbage"], None, 1, true, true), Verdict::Retry { .. }));
        assert!(matches!(judge(&["garbage"], None, 3, true, true), Verdict::Failed(_)));
    }

    #[test]
    fn without_network_the_verdict_says_so() {
        let text = "!!! Fatal Error: Steamcmd needs to be online to update. Please confirm your network connection and try again.";
        assert!(matches!(verdict(text, 1), Verdict::Failed(text) if text.contains("cannot reach Steam")));
    }

    #[test]
    fn the_install_folder_is_set_before_the_login() {
        for strategy in [Strategy::TwoPasses, Strategy::Manifest, Strategy::Account] {
            for pass in 0..strategy.passes() {
                let words = arguments(strategy, pass, Some("somebody"));
                let at = |word: &str| words.iter().position(|w| w == word).unwrap();
                assert!(at("+force_install_dir") < at("+login") && at("+login") < at("+app_update"));
                assert_eq!(words.last().unwrap(), "+quit");
                assert_eq!(words.iter().any(|word| word == "somebody"), strategy == Strategy::Account);
            }
        }
        assert_eq!(arguments(Strategy::TwoPasses, 0, None)[1], "windows");
        assert_eq!(arguments(Strategy::TwoPasses, 1, None)[1], "linux");
    }

    proptest! {
        #[test]
        fn no_line_panics(line in any::<String>(), number in any::<u64>()) {
            let _ = parse_line(&line);
            let _ = parse_line(&format!("Update state (0x61) {line}, progress: 1 ({number} / {number})"));
            let _ = parse_line(&format!("[ 1%] Downloading update ({number} of {number} KB)"));
        }
    }
}
