//! The splitter of argument lines and the check of config lines: nothing that they let through is a refused argument, a
//! second line, or a quote that the engine would read again.

#![no_main]

use left4me::model::blueprint::{check_config, split_arguments, wants_tv};
use libfuzzer_sys::fuzz_target;

/// Refused in every blueprint (domain.md), whatever their case.
const REFUSED: [&str; 12] = [
    "-port",
    "+hostport",
    "-ip",
    "+ip",
    "-game",
    "-norestart",
    "-autoupdate",
    "-steam_dir",
    "-steamcmd_script",
    "-strictportbind",
    "-netconport",
    "+tv_port",
];

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // A line break in an entry is tried by leaving some in.
    let lines: Vec<String> = text.split('\u{1}').map(str::to_owned).collect();
    let admin = bytes.len() % 2 == 0;
    if let Ok(words) = split_arguments(&lines, admin) {
        for word in &words {
            let key = word.to_ascii_lowercase();
            assert!(!REFUSED.contains(&key.as_str()), "{word:?}");
            assert!(admin || key != "-insecure");
            assert!(!word.contains('"') && !word.chars().any(|c| c.is_control() && c != '\t'), "{word:?}");
        }
        // What was let through once is let through again, each word quoted on a line of its own.
        let again: Option<Vec<String>> = words.iter().map(|word| quoted(word)).collect();
        if let Some(again) = again.filter(|again| again.len() <= 500) {
            assert_eq!(split_arguments(&again, admin), Ok(words));
        }
    }
    if check_config(&lines).is_ok() {
        assert!(lines.iter().all(|line| !line.contains(['\n', '\r', '\0'])));
    }
    wants_tv(&lines, &lines);
});

/// A word as one line that says the same; `None`: it does not fit into a line.
fn quoted(word: &str) -> Option<String> {
    let line = format!("'{}'", word.replace('\'', "'\\''"));
    (line.chars().count() <= 1024).then_some(line)
}
