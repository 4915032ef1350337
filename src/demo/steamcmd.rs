//! The simulated `steamcmd`: what runs when this binary is started under that name.
//!
//! `main` calls [`main`]. It speaks like the real one where left4me listens (domain.md, SteamCMD): it updates itself on
//! its first run, refuses the plain anonymous Linux install with `Invalid platform` unless a Windows pass came before,
//! prints progress with byte pairs, and writes the files of the simulated game.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::content;

/// The dedicated server.
const APP: &str = "222860";
/// What the simulated download weighs.
const BYTES: u64 = 9_124_352_118;
/// Ticks of a simulated download, and how long each takes.
const TICKS: u64 = 20;
const TICK: Duration = Duration::from_millis(60);

/// What is remembered between the commands of one run.
#[derive(Debug, Default)]
struct Session {
    folder: Option<PathBuf>,
    windows: bool,
    logged_in: bool,
}

/// Runs the commands of the command line (`+command value …`). `arguments` without the program's name.
pub fn main(arguments: &[String]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match run(arguments, &mut out) {
        Ok(code) => ExitCode::from(code),
        // Standard output or the folder is gone: the real one ends with a message and 1 as well.
        Err(error) => {
            eprintln!("steamcmd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String], out: &mut impl Write) -> std::io::Result<u8> {
    writeln!(out, "Redirecting stderr to 'logs/stderr.txt'")?;
    update_self(out)?;
    writeln!(out, "Steam Console Client (c) Valve Corporation - version 1731433018")?;
    writeln!(out, "-- type 'quit' to exit --")?;
    writeln!(out, "Loading Steam API...OK")?;
    let mut session = Session::default();
    let mut failed = 0;
    for command in commands(arguments) {
        let value = command.get(1).map_or("", String::as_str);
        match command[0].as_str() {
            "quit" => break,
            "force_install_dir" => session.folder = Some(value.into()),
            "@sSteamCmdForcePlatformType" => {
                session.windows = value == "windows";
                writeln!(out, "\"@sSteamCmdForcePlatformType\" = \"{value}\"")?;
            }
            "login" => {
                writeln!(out, "\nConnecting anonymously to Steam Public...OK")?;
                writeln!(out, "Waiting for client config...OK")?;
                writeln!(out, "Waiting for user info...OK")?;
                session.logged_in = true;
            }
            "app_update" => failed = update_app(&session, value, out)?,
            other => writeln!(out, "Command not found: {other}")?,
        }
        out.flush()?;
    }
    Ok(failed)
}

/// Words that begin with `+` begin a command.
fn commands(arguments: &[String]) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    for word in arguments {
        if let Some(name) = word.strip_prefix('+') {
            commands.push(vec![name.to_owned()]);
        } else if let Some(command) = commands.last_mut() {
            command.push(word.clone());
        }
    }
    commands
}

/// The first run in a HOME downloads a newer client.
fn update_self(out: &mut impl Write) -> std::io::Result<()> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mark = home.join("Steam/package/steam_cmd_linux.installed");
    if mark.exists() {
        return writeln!(out, "[  0%] Checking for available updates...\n[----] Verifying installation...");
    }
    writeln!(out, "[  0%] Checking for available updates...")?;
    for percent in [0u64, 27, 61, 88, 100] {
        let done = 52_274 * percent / 100;
        writeln!(out, "[{percent:>3}%] Downloading update ({},{:03} of 52,274 KB)...", done / 1000, done % 1000)?;
        out.flush()?;
    }
    writeln!(out, "[----] Applying update...\n[----] Update complete, launching...")?;
    content::write(&mark, "1731433018\n")
}

fn update_app(session: &Session, app: &str, out: &mut impl Write) -> std::io::Result<u8> {
    if !session.logged_in || app != APP {
        writeln!(out, "ERROR! Failed to install app '{app}' (No subscription)")?;
        return Ok(8);
    }
    let Some(folder) = session.folder.as_deref() else {
        writeln!(out, "Please use force_install_dir before logon!")?;
        return Ok(8);
    };
    let manifest = folder.join(format!("steamapps/appmanifest_{APP}.acf"));
    let prepared = std::fs::read_to_string(&manifest).is_ok_and(|text| text.contains("\"StateFlags\""));
    if !session.windows && !prepared {
        writeln!(out, "ERROR! Failed to install app '{APP}' (Invalid platform)")?;
        return Ok(8);
    }
    progress(out, "0x3", "reconfiguring", 0)?;
    if session.windows {
        // The Windows pass leaves the manifest that the Linux pass needs.
        content::write(&manifest, "\"AppState\"\n{\n\t\"appid\"\t\t\"222860\"\n\t\"StateFlags\"\t\t\"2\"\n}\n")?;
        content::write(&folder.join("srcds.exe"), "MZ\n")?;
    } else if has_build(&manifest, folder) {
        writeln!(out, "Success! App '{APP}' already up to date.")?;
        return Ok(0);
    }
    for tick in 0..=TICKS {
        progress(out, "0x61", "downloading", BYTES * tick / TICKS)?;
        // A download takes time: jobs show it, and can be cancelled in it.
        std::thread::sleep(TICK);
    }
    progress(out, "0x5", "verifying install", BYTES / 2)?;
    if !session.windows {
        content::write_game(folder)?;
        match std::fs::remove_file(folder.join("srcds.exe")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    writeln!(out, "Success! App '{APP}' fully installed.")?;
    Ok(0)
}

fn has_build(manifest: &Path, folder: &Path) -> bool {
    folder.join("srcds_run").exists()
        && std::fs::read_to_string(manifest).is_ok_and(|text| text.contains(&content::BUILD_ID.to_string()))
}

fn progress(out: &mut impl Write, state: &str, what: &str, done: u64) -> std::io::Result<()> {
    let percent = done as f64 * 100.0 / BYTES as f64;
    writeln!(out, " Update state ({state}) {what}, progress: {percent:.2} ({done} / {BYTES})")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(Into::into).collect()
    }

    fn update(session: &Session) -> (u8, String) {
        let mut out = Vec::new();
        let code = update_app(session, APP, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn commands_are_the_words_from_one_plus_to_the_next() {
        let found = commands(&words("+force_install_dir /x +login anonymous +app_update 222860 validate +quit"));
        assert_eq!(
            found,
            [
                vec!["force_install_dir", "/x"],
                vec!["login", "anonymous"],
                vec!["app_update", "222860", "validate"],
                vec!["quit"]
            ]
        );
    }

    #[test]
    fn a_plain_install_is_an_invalid_platform_and_two_passes_bring_the_game() {
        let folder = tempfile::tempdir().unwrap();
        let mut session = Session { folder: Some(folder.path().into()), windows: false, logged_in: true };
        let (code, text) = update(&session);
        assert_eq!(code, 8);
        assert_eq!(text, "ERROR! Failed to install app '222860' (Invalid platform)\n");

        session.windows = true;
        assert_eq!(update(&session).0, 0);
        assert!(!folder.path().join("srcds_linux").exists());

        session.windows = false;
        let (code, text) = update(&session);
        assert_eq!(code, 0);
        assert!(text.contains("downloading, progress: 50.00 (4562176059 / 9124352118)"), "{text}");
        assert!(text.ends_with("Success! App '222860' fully installed.\n"), "{text}");
        for file in ["srcds_linux", "srcds_run", "left4dead2/maps/c1m1_hotel.bsp", "left4dead2/gameinfo.txt"] {
            assert!(folder.path().join(file).exists(), "{file}");
        }
        assert!(!folder.path().join("srcds.exe").exists());

        let (_, text) = update(&session);
        assert!(text.ends_with("Success! App '222860' already up to date.\n"), "{text}");
    }

    #[test]
    fn without_a_login_or_for_another_app_nothing_is_installed() {
        let session = Session { folder: Some("/nonexistent".into()), windows: true, logged_in: false };
        assert_eq!(update(&session).0, 8);
    }
}
