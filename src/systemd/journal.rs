//! Where the log goes: to the journal with its fields when systemd connected us to it, else to standard error.
//!
//! Called once by `cli` before the daemon starts.

use log::LevelFilter;

/// Sets the process's log up. A second call changes the level only.
pub fn start(level: LevelFilter) {
    log::set_max_level(level);
    if systemd_journal_logger::connected_to_journal() {
        match systemd_journal_logger::JournalLog::new() {
            Ok(journal) => {
                // An error means that a log is set up already: the level above is all that was asked for.
                let _ = journal.with_syslog_identifier("left4me".into()).install();
                return;
            }
            Err(error) => eprintln!("left4me: the journal cannot be reached ({error}); logging to standard error"),
        }
    }
    let _ = env_logger::Builder::new().filter_level(level).format_target(false).try_init();
    log::set_max_level(level);
}
