//! How a request finds its handler: one flat table, looked through once.
//!
//! Called by `routes` in `mod.rs`, which holds the table itself. A chain of one warp filter a route says the same, but
//! each link is a type of its own: it took minutes to compile and a walk through all of them to say "not found".

use std::future::Future;
use std::pin::Pin;

use warp::http::Method;
use warp::reject::{self, Reject, Rejection};
use warp::reply::{Reply, Response};

use super::extract::Given;

/// A handler behind a pointer; the identifier is 0 for paths that have none.
pub type Handler = Box<dyn Fn(u64, Given) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// A handler function: `async fn(Given)` or `async fn(u64, Given)`.
pub trait Handle<Arguments>: Copy + Send + Sync + 'static {
    /// Calls it.
    fn handle(self, id: u64, given: Given) -> Pin<Box<dyn Future<Output = Response> + Send>>;
}

impl<F, Answered> Handle<(Given,)> for F
where
    F: Fn(Given) -> Answered + Copy + Send + Sync + 'static,
    Answered: Future<Output: Reply> + Send + 'static,
{
    fn handle(self, _: u64, given: Given) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let answered = self(given);
        Box::pin(async move { answered.await.into_response() })
    }
}

impl<F, Answered> Handle<(u64, Given)> for F
where
    F: Fn(u64, Given) -> Answered + Copy + Send + Sync + 'static,
    Answered: Future<Output: Reply> + Send + 'static,
{
    fn handle(self, id: u64, given: Given) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let answered = self(id, given);
        Box::pin(async move { answered.await.into_response() })
    }
}

/// Puts a handler behind a pointer.
pub fn handler<Arguments>(handle: impl Handle<Arguments>) -> Handler {
    Box::new(move |id, given| handle.handle(id, given))
}

/// The path is known, the method is not one of its own.
#[derive(Debug)]
pub struct WrongMethod;

impl Reject for WrongMethod {}

/// Number of the route in `table`, and the identifier of its path.
pub fn find(table: &[(&str, &str)], method: &Method, path: &str) -> Result<(usize, u64), Rejection> {
    let mut known = false;
    for (number, (own, pattern)) in table.iter().enumerate() {
        if let Some(id) = matches(pattern, path) {
            if own.eq_ignore_ascii_case(method.as_str()) {
                return Ok((number, id));
            }
            known = true;
        }
    }
    Err(if known { reject::custom(WrongMethod) } else { reject::not_found() })
}

/// Methods that a path takes, as the `Allow` header wants them.
pub fn allowed(table: &[(&str, &str)], path: &str) -> String {
    let mut methods: Vec<String> = table
        .iter()
        .filter(|(_, pattern)| matches(pattern, path).is_some())
        .map(|(method, _)| method.to_uppercase())
        .collect();
    if methods.is_empty() {
        methods.push("GET".into());
    }
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".into());
    }
    methods.sort();
    methods.dedup();
    methods.join(", ")
}

/// The identifier in `path`, 0 without one; `None`: another path. In a pattern, `u64` stands for an identifier and a
/// literal is written in quotes.
fn matches(pattern: &str, path: &str) -> Option<u64> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (mut wanted, mut segments, mut id) = (pattern.split('/'), path.split('/'), 0);
    loop {
        match (wanted.next(), segments.next()) {
            (None, None) => return Some(id),
            (Some("u64"), Some(segment)) => id = segment.parse().ok()?,
            (Some(literal), Some(segment)) if literal.trim_matches('"') == segment => {}
            (Some(_), Some(_) | None) | (None, Some(_)) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[(&str, &str)] = &[
        ("get", "/\"servers\""),
        ("post", "/\"servers\""),
        ("get", "/\"servers\"/\"new\""),
        ("get", "/\"servers\"/u64"),
        ("post", "/\"servers\"/u64/\"start\""),
    ];

    fn found(method: &str, path: &str) -> Option<(usize, u64)> {
        find(TABLE, &Method::from_bytes(method.as_bytes()).unwrap(), path).ok()
    }

    #[test]
    fn a_path_finds_its_handler_and_its_identifier() {
        assert_eq!(found("GET", "/servers"), Some((0, 0)));
        assert_eq!(found("GET", "/servers/"), Some((0, 0)));
        assert_eq!(found("GET", "/servers/new"), Some((2, 0)));
        assert_eq!(found("GET", "/servers/42"), Some((3, 42)));
        assert_eq!(found("POST", "/servers/42/start"), Some((4, 42)));
        for path in ["/", "/server", "/servers/x", "/servers/-1", "/servers/42/start/now", "/servers//start"] {
            assert_eq!(found("POST", path), None, "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_from_an_unknown_path() {
        let wrong = find(TABLE, &Method::PUT, "/servers").unwrap_err();
        assert!(wrong.find::<WrongMethod>().is_some());
        assert!(find(TABLE, &Method::PUT, "/nowhere").unwrap_err().is_not_found());
        assert_eq!(allowed(TABLE, "/servers"), "GET, HEAD, POST");
    }
}
