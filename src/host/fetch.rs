//! SteamCMD's own archive: fetched, checked, unpacked into `steam/`.
//!
//! Called by the install job where the box has no SteamCMD. Names are resolved by reqwest's own resolver: a static glibc
//! must never do it. Until the last rename nothing counts: a crash leaves two entries that the next try removes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::archive::{self, Caps};
use super::paths::Paths;
use super::steamcmd::SCRIPT;
use crate::model::machine::FilesError;
use crate::sys::fs::{remove_tree, sync_file_system, sync_folder};

/// Most bytes of the archive; it has some 3 MB.
const ARCHIVE_MAX: u64 = 64 << 20;
/// What may come out of it.
const CAPS: Caps = Caps { bytes: 512 << 20, entries: 2_000, ratio: 100, free: 16 << 20, programs: true };
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(20);
/// How long the other side may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long all of it may take.
const WHOLE: Duration = Duration::from_mins(10);

/// Why there is no SteamCMD. Texts name the address and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address did not give it.
    #[error(
        "SteamCMD cannot be fetched from {url}: {why}. Check the network, DNS and proxy of the box, or unpack Valve's \
         steamcmd_linux.tar.gz into {} yourself, then install again",
        steam.display()
    )]
    Network {
        /// From where.
        url: String,
        /// What went wrong.
        why: String,
        /// Where it belongs.
        steam: PathBuf,
    },
    /// What came is not it.
    #[error("what {url} gave is not SteamCMD: {why}. Try again later, or correct steamcmd_url in the configuration")]
    Archive {
        /// From where.
        url: String,
        /// Why not.
        why: String,
    },
    /// The disk said no.
    #[error("SteamCMD cannot be stored in {}: {error}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

fn part(paths: &Paths) -> PathBuf {
    paths.steam().join("fetched.part")
}

fn tree(paths: &Paths) -> PathBuf {
    paths.steam().join("fetched.new")
}

fn on_disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.into();
    move |error| FetchError::Disk { path, error }
}

/// Fetches the archive at `url` into a file of `steam/`. `progress` hears of bytes done and, where the other side tells, in
/// all. Dropping the future leaves a part that [`sweep`] removes.
pub async fn download(paths: &Paths, url: &str, mut progress: impl FnMut(u64, u64)) -> Result<(), FetchError> {
    let failed = |why: String| FetchError::Network { url: url.to_owned(), why, steam: paths.steam() };
    let client = client(url).map_err(failed)?;
    let mut answer = client.get(url).send().await.map_err(|error| failed(reason(&error)))?;
    if !answer.status().is_success() {
        return Err(failed(format!("it answered {}", answer.status())));
    }
    let total = answer.content_length().unwrap_or(0);
    let mut file = File::create(part(paths)).map_err(on_disk(part(paths)))?;
    let mut done = 0;
    loop {
        // The first piece is asked for after the length is known to be acceptable.
        if total.max(done) > ARCHIVE_MAX {
            let why = format!("it has more than {} MiB", ARCHIVE_MAX >> 20);
            return Err(FetchError::Archive { url: url.to_owned(), why });
        }
        let Some(piece) = answer.chunk().await.map_err(|error| failed(reason(&error)))? else { break };
        file.write_all(&piece).map_err(on_disk(part(paths)))?;
        done += piece.len() as u64;
        progress(done, total);
    }
    Ok(())
}

/// What asks for `url`. From https nothing leads to http: what comes is run, and nobody on the way may have made it.
fn client(url: &str) -> Result<reqwest::Client, String> {
    let is_https = reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "https");
    // The provider of the whole process: the one that our own TLS names, too.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that somebody was faster with the same one.
        let _: Result<(), Arc<_>> = rustls::crypto::ring::default_provider().install_default();
    }
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .timeout(WHOLE)
        .redirect(reqwest::redirect::Policy::limited(5))
        .https_only(is_https)
        .user_agent(concat!("left4me/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| reason(&error))
}

/// The innermost causes say what happened; the outermost only that something did. The address is named by the caller.
fn reason(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        // Many repeat in their own words what they were caused by.
        if !causes.iter().any(|outer: &String| outer.contains(&text)) {
            causes.push(text);
        }
        cause = inner.source();
    }
    match causes.is_empty() {
        _ if error.is_timeout() => "it takes too long to answer".into(),
        true => error.to_string(),
        false => causes.join(": "),
    }
}

/// Unpacks what [`download`] fetched and puts it into its place. Blocks.
pub fn unpack(paths: &Paths, url: &str) -> Result<(), FetchError> {
    let wrong = |why: String| FetchError::Archive { url: url.to_owned(), why };
    let (new, steam) = (tree(paths), paths.steam());
    fs::create_dir(&new).map_err(on_disk(&new))?;
    archive::unpack(&part(paths), "steamcmd.tar.gz", &new, CAPS).map_err(|error| match error {
        FilesError::Machine(text) => FetchError::Disk { path: new.clone(), error: io::Error::other(text) },
        FilesError::Refused(_) | FilesError::Missing => wrong(error.to_string()),
    })?;
    if !new.join(SCRIPT).is_file() {
        return Err(wrong(format!("it holds no {SCRIPT}")));
    }
    let place = || {
        sync_file_system(&new)?;
        for entry in fs::read_dir(&new)? {
            let name = entry?.file_name();
            if name != SCRIPT {
                remove_tree(&steam.join(&name))?;
                fs::rename(new.join(&name), steam.join(&name))?;
            }
        }
        sync_folder(&steam)?;
        fs::rename(new.join(SCRIPT), steam.join(SCRIPT))?;
        sync_folder(&steam)
    };
    place().map_err(on_disk(&steam))
}

/// Removes what an earlier try left, and what this one needs no more. Blocks.
pub fn sweep(paths: &Paths) -> Result<(), FetchError> {
    for left in [part(paths), tree(paths)] {
        remove_tree(&left).map_err(on_disk(left))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A gzipped tar of these files, each with its mode.
    fn archive(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut builder = ::tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, mode, content) in files {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn place() -> (tempfile::TempDir, Paths) {
        let base = tempfile::tempdir().unwrap();
        let paths = Paths::new(base.path(), base.path().join("overlays"));
        paths.create().unwrap();
        (base, paths)
    }

    fn names(paths: &Paths) -> Vec<String> {
        let entries = fs::read_dir(paths.steam()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn programs_stay_programs_and_what_lay_there_before_is_replaced() {
        let (_base, paths) = place();
        fs::create_dir(paths.steam().join("linux32")).unwrap();
        fs::write(paths.steam().join("linux32/old"), "").unwrap();
        fs::write(paths.steam().join("account"), "somebody").unwrap();
        let files: [(&str, u32, &[u8]); 3] = [
            ("steamcmd.sh", 0o755, b"#!/bin/sh\n"),
            ("linux32/steamcmd", 0o4755, b"x"),
            ("public/readme", 0o644, b"y"),
        ];
        fs::write(part(&paths), archive(&files)).unwrap();
        unpack(&paths, "http://x").unwrap();
        sweep(&paths).unwrap();
        assert_eq!(names(&paths), ["account", "linux32", "public", "steamcmd.sh"]);
        let mode = |name: &str| fs::metadata(paths.steam().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!([mode("steamcmd.sh"), mode("linux32/steamcmd"), mode("public/readme")], [0o755, 0o755, 0o644]);
        assert!(!paths.steam().join("linux32/old").exists());
    }

    #[tokio::test]
    async fn from_https_nothing_leads_to_http() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let plain = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // A connection that is closed with something unread is reset, and the answer with it.
                let _ = io::Read::read(&mut stream, &mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
            }
        });
        // Of redirects the client judges as of this request.
        let refused = client("https://steam.example/x").unwrap().get(&plain).send().await.unwrap_err();
        assert!(!refused.is_connect() && format!("{refused:?}").contains("BadScheme"), "{refused:?}");
        assert!(client("HTTPS://steam.example/x").unwrap().get(&plain).send().await.is_err());
        assert_eq!(client(&plain).unwrap().get(&plain).send().await.unwrap().status().as_u16(), 204);
    }

    #[test]
    fn what_is_not_steamcmd_is_refused_and_leaves_nothing() {
        let (_base, paths) = place();
        for (bytes, why) in [
            (b"<html>captive portal</html>".to_vec(), "no .zip"),
            (archive(&[("readme", 0o644, b"x")]), "holds no steamcmd.sh"),
            (archive(&[("steamcmd.sh", 0o755, b"x"), ("link", 0o644, b"")])[..40].to_vec(), "cannot be read"),
        ] {
            fs::write(part(&paths), bytes).unwrap();
            let error = unpack(&paths, "http://x").unwrap_err().to_string();
            assert!(error.starts_with("what http://x gave is not SteamCMD") && error.contains(why), "{error}");
            sweep(&paths).unwrap();
            assert_eq!(names(&paths), [""; 0]);
        }
    }
}
