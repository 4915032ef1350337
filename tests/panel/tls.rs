//! Built-in TLS through the whole daemon: what a browser sees, and a certificate that is renewed while it runs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::eventually;
use crate::support::panel::{Panel, Setup, form};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A self-signed certificate and its key in `folder`; answers the certificate.
fn write_pair(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["games.example.org".to_owned()]).expect("a certificate");
    let put = |name: &str, text: String| {
        // As certificate tools do: a new file under the old name.
        let part = folder.join(format!("{name}.new"));
        fs::write(&part, text).expect("a file");
        fs::rename(part, folder.join(name)).expect("a file");
    };
    put("cert.pem", made.cert.pem());
    put("key.pem", made.signing_key.serialize_pem());
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).expect("a certificate")
}

/// A connection that trusts only `certificate`.
fn connect(panel: &Panel, certificate: &CertificateDer<'static>) -> std::io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("games.example.org").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(client, TcpStream::connect(panel.address)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// One request on a connection that stays open; answers what came until the body's end.
fn ask(stream: &mut Stream, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return Ok(text);
            }
        }
        match stream.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&part[..read]),
        }
    }
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: games.example.org\r\n\r\n";

#[test]
fn the_page_speaks_tls_and_takes_a_renewed_certificate_without_ending_a_connection() {
    let folder = tempfile::Builder::new().prefix("left4me-test-tls-").tempdir().expect("a folder");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let first = write_pair(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let config = vec![format!("tls_cert: {}", path("cert.pem")), format!("tls_key: {}", path("key.pem"))];
    let panel = Panel::without_login(Setup { config, ..Setup::default() });

    let mut open = connect(&panel, &first).expect("TLS");
    assert!(ask(&mut open, HEALTH).expect("an answer").ends_with(r#"{"status":"ok"}"#));
    let body = form(&[("username", "admin"), ("password", &panel.reset_admin())]);
    let request = format!(
        "POST /login HTTP/1.1\r\nhost: games.example.org\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(&mut open, &request).expect("an answer");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure"), "{cookie}");

    // Somebody who speaks no TLS gets no answer, and is nobody's trouble.
    let mut plain = TcpStream::connect(panel.address).expect("a connection");
    plain.write_all(HEALTH.as_bytes()).expect("a request");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("200"), "{said:?}");

    let reload = || kill_process(Pid::from_child(&panel.child), Signal::HUP).expect("a signal");
    let second = write_pair(folder.path());
    assert!(connect(&panel, &second).is_err(), "nobody has asked for the new one yet");
    reload();
    eventually("the new certificate", || connect(&panel, &second).ok());
    assert!(connect(&panel, &first).is_err(), "the old certificate is shown no more");
    assert!(ask(&mut open, HEALTH).expect("an answer").contains("200"), "a connection from before goes on");

    // What cannot be read leaves the one that works.
    fs::write(path("cert.pem"), "no certificate").expect("a file");
    reload();
    eventually("the complaint", || {
        let logged = panel.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logged.contains("the certificate stays as it was: tls_cert").then_some(())
    });
    connect(&panel, &second).expect("TLS as before");
}
