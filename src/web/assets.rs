//! Style, script and icons, compiled into the binary and served under names that hold their digest.
//!
//! A changed file has a new name, so browsers may keep each one for ever. Called by the layout (names) and the route
//! table (content).

use std::collections::BTreeMap;

use rust_embed::RustEmbed;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use super::error::{Answer, Fault};
use super::extract::Given;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Files;

/// How long and how surely a browser keeps a file whose name holds its digest.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// One file.
struct Asset {
    /// Name inside `assets/`.
    file: String,
    etag: HeaderValue,
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
        for file in Files::iter() {
            let (Some(content), Some(kind)) = (Files::get(&file), kind(&file)) else { continue };
            let digest = super::session::hex(&content.metadata.sha256_hash());
            let path = match file.rsplit_once('.') {
                Some((stem, extension)) => format!("{stem}.{}.{extension}", &digest[..16]),
                None => continue,
            };
            let Ok(etag) = HeaderValue::from_str(&format!("\"{digest}\"")) else { continue };
            assets.paths.insert(file.to_string(), format!("/assets/{path}"));
            assets.by_path.insert(path, Asset { file: file.to_string(), etag, kind });
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
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag))
        });
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let content = Files::get(&asset.file).ok_or_else(Fault::no_such_path)?;
            let mut response = content.data.into_owned().into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
            response
        };
        response.headers_mut().insert(header::ETAG, asset.etag.clone());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
        Ok(response)
    }
}

/// `GET /api/openapi.json`: the description of the interface for programs, written as YAML because people read it too.
pub async fn openapi(given: Given) -> Answer {
    given.unjudged()?;
    let file = Files::get("openapi.yaml").ok_or_else(Fault::no_such_path)?;
    match serde_yaml::from_slice::<serde_json::Value>(&file.data) {
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
