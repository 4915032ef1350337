//! Entry point: only dispatches, by the name under which the binary was started and by its first word.

use std::path::Path;
use std::process::ExitCode;

use left4me::{cli, demo, host};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let name = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let text = || words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    if name == "srcds_linux" {
        demo::srcds::main(&text())
    } else if name == "steamcmd" {
        demo::steamcmd::main(&text())
    } else if words.get(1).is_some_and(|word| word == "shim") {
        host::shim::main::run()
    } else {
        cli::main(words)
    }
}
