//! The configuration file that the packages install says what the code does. Called by nextest only. Reads the file of
//! the checkout; needs no package and no system.

use std::path::Path;

use left4me::config::{Config, ConfigError};

use super::top;

/// Loads `text` as the file of a box with an empty environment.
fn load(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, text).expect("writable");
    Config::load(Some(Path::new(&file)), [])
}

fn shipped() -> String {
    std::fs::read_to_string(top().join("packaging/config.yaml")).expect("packaging/config.yaml")
}

/// `#key: value` lines: what an admin would uncomment. Explanations have a space after the `#`.
fn uncommented() -> String {
    shipped()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn the_shipped_configuration_changes_nothing() {
    assert_eq!(load(&shipped()).expect("accepted"), Config::default());
}

#[test]
fn every_key_of_the_shipped_configuration_shows_its_default() {
    let mut shown = load(&uncommented()).expect("every key is known and every value accepted");
    let default = Config::default();
    // These have no default; the file shows an example.
    shown.shim_socket.clone_from(&default.shim_socket);
    shown.tls_cert.clone_from(&default.tls_cert);
    shown.tls_key.clone_from(&default.tls_key);
    shown.public_url.clone_from(&default.public_url);
    shown.public_address.clone_from(&default.public_address);
    shown.trusted_proxies.clone_from(&default.trusted_proxies);
    assert_eq!(shown, default);
}

#[test]
fn the_shipped_configuration_shows_every_key() {
    // A refused key is answered with all known ones.
    let Err(error) = load("no_such_key_at_all: 1\n") else { panic!("an unknown key must be refused") };
    let answer = error.to_string();
    let keys = answer.rsplit_once("the keys are ").expect("the known keys").1;
    let text = uncommented();
    for key in keys.split(", ") {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{key}:"))),
            "{key} is missing in packaging/config.yaml"
        );
    }
}
