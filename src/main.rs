//! Entry point: only dispatches, by the name under which the binary was started, then to the command line.

use std::path::Path;
use std::process::ExitCode;

use left4me::{demo, host};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let name = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let arguments = words.get(1..).unwrap_or_default();
    if name == "srcds_linux" {
        demo::srcds::main(arguments)
    } else if name == "steamcmd" {
        demo::steamcmd::main(arguments)
    } else if arguments.first().is_some_and(|word| word == "shim") {
        host::shim::main::run()
    } else {
        ExitCode::from(2)
    }
}
