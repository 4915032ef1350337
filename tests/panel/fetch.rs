//! A box without SteamCMD: the first install fetches Valve's archive, or says why it cannot.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::support::panel::{Panel, Setup};
use crate::support::stand_in::data;

/// Reads the head of a request.
fn hear(stream: &TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
}

/// An HTTP server that gives these bytes, as they are, to whoever asks.
fn serving(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            hear(&stream);
            // A client that has read enough hangs up.
            let _ = stream.write_all(&answer);
        }
    });
    address
}

fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// What Valve's archive holds, with the stand-in in the place of the real program.
fn archive(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        builder.append_data(&mut header, name, *content).expect("an entry");
    }
    builder.into_inner().expect("a tar").finish().expect("a gzip")
}

/// A daemon that looks for SteamCMD itself; nothing, where the box has one or cannot run the real one.
fn panel(url: &str) -> Option<Panel> {
    if std::path::Path::new("/usr/games/steamcmd").exists() {
        crate::support::skip("this box has Debian's steamcmd: left4me would take it");
        return None;
    }
    if !left4me::host::probe::missing_libraries().is_empty() {
        crate::support::skip("without 32-bit libraries an install is refused before anything is fetched");
        return None;
    }
    let environment = vec![("LEFT4ME_STEAMCMD", "auto".to_owned()), ("LEFT4ME_STEAMCMD_URL", url.to_owned())];
    Some(Panel::with(Setup { environment, ..Setup::default() }))
}

fn steam(panel: &Panel) -> Vec<String> {
    let entries = std::fs::read_dir(panel.data("steam")).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_box_without_steamcmd_fetches_it_with_the_first_install_and_keeps_it() {
    let script = std::fs::read(data("stand-in")).expect("the script");
    // A new one is first let update itself, and nothing else is asked of that run.
    let update =
        "run +quit\nsay [ 27%] Downloading update (14,635 of 52,274 KB)...\nsay Loading Steam API...OK\nexit 42\n";
    let passes = std::fs::read_to_string(data("two-passes.txt")).expect("the transcript");
    let transcript = format!("{update}{passes}{passes}").into_bytes();
    let files: [(&str, u32, &[u8]); 3] = [
        ("steamcmd.sh", 0o755, &script),
        ("transcript", 0o644, &transcript),
        ("linux32/steamcmd", 0o755, b"#!/bin/sh\n"),
    ];
    let bytes = archive(&files);
    let url = format!("http://{}/steamcmd_linux.tar.gz", serving(answer("200 OK", bytes.len(), &bytes)));
    let Some(panel) = panel(&url) else { return };
    let job = panel.must("/admin/install");
    let log = panel.job_log(&job);
    assert!(log.contains(&format!("SteamCMD is not installed: fetching it from {url}\nSteamCMD is there (")), "{log}");
    assert!(log.contains("steam/steamcmd.sh\n"), "{log}");
    assert_eq!(steam(&panel), ["linux32", "runs", "steamcmd.sh", "transcript"]);

    assert!(!log.contains("STAND-IN") && log.contains("\nsteamcmd +quit\n"), "{log}");
    let log = panel.job_log(&panel.must("/admin/install"));
    assert!(!log.contains("fetching") && !log.contains("\nsteamcmd +quit\n"), "{log}");
}

#[test]
fn what_cannot_be_fetched_is_a_text_with_address_reason_and_remedy_and_leaves_nothing() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address")
    };
    let big = serving(answer("200 OK", 100 << 20, b""));
    let cases = [
        (nobody, "SteamCMD cannot be fetched from", "refused"),
        (serving(answer("404 Not Found", 0, b"")), "SteamCMD cannot be fetched from", "it answered 404 Not Found"),
        (serving(answer("200 OK", 1000, b"half")), "SteamCMD cannot be fetched from", "end of file"),
        (big, "is not SteamCMD", "more than 64 MiB"),
        (serving(answer("200 OK", 6, b"<html>")), "is not SteamCMD", "no .zip, .tar.gz"),
        (
            serving(answer("200 OK", archive(&[("readme", 0o644, b"x")]).len(), &archive(&[("readme", 0o644, b"x")]))),
            "is not SteamCMD",
            "it holds no steamcmd.sh",
        ),
    ];
    for (address, what, why) in cases {
        let Some(panel) = panel(&format!("http://{address}/steamcmd_linux.tar.gz")) else { return };
        let job = panel.run("/admin/install");
        assert_eq!(job["state"], "failed", "{why}: {job}");
        let error = job["error"].as_str().unwrap_or_default();
        assert!(error.contains(what) && error.contains(&address.to_string()) && error.contains(why), "{error}");
        assert_eq!(steam(&panel), [""; 0]);
        assert!(!panel.data("installation/1.new").exists());
    }
}

/// A server whose certificate nobody vouches for.
fn serving_tls() -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a certificate and its key");
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
            // The client hangs up in the middle.
            let _ = rustls::StreamOwned::new(connection, stream).write_all(&answer("200 OK", 2, b"no"));
        }
    });
    address
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_not_taken() {
    let address = serving_tls();
    let Some(panel) = panel(&format!("https://{address}/steamcmd_linux.tar.gz")) else { return };
    let job = panel.run("/admin/install");
    let error = job["error"].as_str().unwrap_or_default();
    assert!(error.contains("SteamCMD cannot be fetched from https://") && error.contains("certificate"), "{job}");
    assert_eq!(steam(&panel), [""; 0]);
}

#[test]
fn an_install_is_cancelled_while_steamcmd_is_fetched() {
    // Half an answer, and the connection stays open.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let Some(panel) = panel(&format!("http://{address}/steamcmd_linux.tar.gz")) else { return };
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    let (mut stream, _) = listener.accept().expect("a connection");
    hear(&stream);
    stream.write_all(&answer("200 OK", 1 << 20, &[0; 1000])).expect("half an answer");
    let path = format!("/jobs/{}/stream", job["id"]);
    let progress = panel.events(&path).find(|event| event.kind == "progress").expect("progress");
    assert!(progress.data.contains("fetching SteamCMD"), "{progress:?}");
    panel.admin("POST", &format!("/jobs/{}/cancel", job["id"]), &Value::Null).expect(200);
    assert_eq!(panel.finished(&job)["state"], "cancelled");
    assert_eq!(steam(&panel), [""; 0]);
}
