//! Style, script and icons, compiled into the binary, compressed, and served under names that hold their digest.
//!
//! A changed file has a new name, so browsers may keep each one for ever. Called by the layout (names) and the route
//! table (content).

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use rust_embed::RustEmbed;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use super::error::{Answer, Fault};
use super::extract::Given;

/// What the build script made of `assets/`: each file as `<name>.gz` and `<name>.br`.
#[derive(RustEmbed)]
#[folder = "$OUT_DIR/assets"]
struct Files;

/// How long and how surely a browser keeps a file whose name holds its digest.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// In which form a file travels (RFC 9110 §8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Brotli,
    Gzip,
    Identity,
}

impl Coding {
    /// The smallest that the client takes (RFC 9110 §12.5.3). Without the header it takes the text as it is; one that
    /// refuses that, too, gets it nevertheless.
    fn taken(headers: &HeaderMap) -> Self {
        let (mut brotli, mut gzip, mut any) = (None, None, None);
        let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for item in values.flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let wanted = quality.is_none_or(|quality| quality.parse::<f32>().is_ok_and(|quality| quality > 0.0));
            match name.as_str() {
                "br" => brotli = Some(wanted),
                "gzip" | "x-gzip" => gzip = Some(wanted),
                "*" => any = Some(wanted),
                _ => {}
            }
        }
        if brotli.or(any) == Some(true) {
            Self::Brotli
        } else if gzip.or(any) == Some(true) {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    /// Its name in headers and entity tags.
    fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }
}

/// One file.
struct Asset {
    /// Name inside `assets/`.
    file: String,
    digest: String,
    kind: &'static str,
}

/// Every file, by the path under `/assets/` that pages link to.
pub struct Assets {
    by_path: BTreeMap<String, Asset>,
    paths: BTreeMap<String, String>,
}

impl Assets {
    /// Names every file by its digest.
    pub fn new() -> Self {
        let mut assets = Self { by_path: BTreeMap::new(), paths: BTreeMap::new() };
        for file in Files::iter().filter_map(|name| name.strip_suffix(".br").map(str::to_owned)) {
            let (Some(content), Some(kind)) = (Files::get(&format!("{file}.br")), kind(&file)) else { continue };
            let digest = super::session::hex(&content.metadata.sha256_hash()[..8]);
            let Some((stem, extension)) = file.rsplit_once('.') else { continue };
            let path = format!("{stem}.{digest}.{extension}");
            assets.paths.insert(file.clone(), format!("/assets/{path}"));
            assets.by_path.insert(path, Asset { file, digest, kind });
        }
        assets
    }

    /// The path that a page links to for `assets/<file>`; a file that does not exist leads to a 404, which the test of
    /// the pages' links finds.
    pub fn path(&self, file: &str) -> &str {
        self.paths.get(file).map_or("/assets/missing", String::as_str)
    }

    /// Answers `GET /assets/<path>`.
    pub fn answer(&self, path: &str, headers: &HeaderMap) -> Result<Response, Fault> {
        let asset = self.by_path.get(path).ok_or_else(Fault::no_such_path)?;
        let coding = Coding::taken(headers);
        // Each form is a representation of its own, with a tag of its own (RFC 9110 §8.8.3.3).
        let etag = format!("\"{}-{}\"", asset.digest, coding.name());
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            value.to_str().is_ok_and(|value| value.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag))
        });
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Response::new(content(&asset.file, coding)?.into());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
            if coding != Coding::Identity {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::try_from(etag).map_err(|_| Fault::internal())?);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
        headers.insert(header::VARY, HeaderValue::from_name(header::ACCEPT_ENCODING));
        Ok(response)
    }
}

/// A file in one form.
fn content(file: &str, coding: Coding) -> Result<Bytes, Fault> {
    let suffix = if coding == Coding::Brotli { "br" } else { "gz" };
    let packed = Files::get(&format!("{file}.{suffix}")).ok_or_else(Fault::no_such_path)?.data;
    if coding == Coding::Identity {
        let mut text = Vec::new();
        return match flate2::read::GzDecoder::new(&*packed).read_to_end(&mut text) {
            Ok(_) => Ok(text.into()),
            Err(error) => {
                log::error!("assets/{file} cannot be unpacked: {error}");
                Err(Fault::internal())
            }
        };
    }
    Ok(match packed {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => bytes.into(),
    })
}

/// `GET /api/openapi.json`: the description of the interface for programs, written as YAML because people read it too.
pub async fn openapi(given: Given) -> Answer {
    given.unjudged()?;
    match serde_yaml::from_slice::<serde_json::Value>(&content("openapi.yaml", Coding::Identity)?) {
        Ok(value) => Ok(warp::reply::json(&value).into_response()),
        Err(error) => {
            log::error!("the description of the interface cannot be read: {error}");
            Err(Fault::internal())
        }
    }
}

impl Default for Assets {
    fn default() -> Self {
        Self::new()
    }
}

/// Content type by file name; files of other kinds (licences) are not served.
fn kind(file: &str) -> Option<&'static str> {
    match file.rsplit_once('.')?.1 {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "png" => Some("image/png"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_form_that_the_client_takes_is_sent() {
        for (accepted, expected) in [
            (None, Coding::Identity),
            (Some("gzip, deflate, br, zstd"), Coding::Brotli),
            (Some("gzip, deflate"), Coding::Gzip),
            (Some("br;q=0, gzip;q=0.5"), Coding::Gzip),
            (Some("BR ; q=1.0"), Coding::Brotli),
            (Some("*"), Coding::Brotli),
            (Some("*;q=0, gzip"), Coding::Gzip),
            (Some("identity, *;q=0"), Coding::Identity),
            (Some("br;q=much"), Coding::Identity),
            (Some(""), Coding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accepted) = accepted {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            }
            assert_eq!(Coding::taken(&headers), expected, "{accepted:?}");
        }
    }

    #[test]
    fn every_form_of_every_file_is_the_file() {
        let assets = Assets::new();
        assert!(assets.by_path.len() > 5, "{:?}", assets.paths);
        for asset in assets.by_path.values() {
            let read = |file: &str| std::fs::read(format!("{}/assets/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let text = match asset.file.as_str() {
                "css/all.css" => {
                    ["tokens", "layout", "components", "logs"].map(|name| read(&format!("css/{name}.css"))).concat()
                }
                file => read(file),
            };
            assert_eq!(content(&asset.file, Coding::Identity).unwrap(), text, "{}", asset.file);
            let mut unpacked = Vec::new();
            let packed = content(&asset.file, Coding::Brotli).unwrap();
            assert!(packed.len() < text.len(), "{}", asset.file);
            brotli::Decompressor::new(&*packed, 4096).read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, text, "{}", asset.file);
        }
    }
}
