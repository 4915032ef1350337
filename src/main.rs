//! Entry point: only dispatches.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("shim") => left4me::host::shim::main::run(),
        _ => ExitCode::from(2),
    }
}
