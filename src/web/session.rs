//! Session cookie and form token.
//!
//! The cookie holds the session token and nothing else; the store keeps its digest. The form token (CSRF) is a digest
//! of the session token under a label: it needs no place in the store, differs per session, and cannot be turned back.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use warp::http::{HeaderMap, HeaderValue, header};

/// Name of the cookie behind TLS. The prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis §4.1.3).
const SECURE_NAME: &str = "__Host-left4me";
/// Name without TLS, where `__Host-` would be refused.
const PLAIN_NAME: &str = "left4me";
/// Seconds that a browser keeps the cookie; the session in the store ends by its own rules.
const MAX_AGE: u32 = 30 * 24 * 3600;
/// Keeps the form token apart from any other digest of the session token.
const CSRF_LABEL: &[u8] = b"left4me form token v1\0";

/// The session token that a request brings.
pub fn token(headers: &HeaderMap, secure: bool) -> Option<String> {
    cookie_named(headers, if secure { SECURE_NAME } else { PLAIN_NAME })
}

/// The value of a cookie; nothing when it is empty.
pub fn cookie_named(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

/// The header that hands a session to the browser.
pub fn set_cookie(token: &str, secure: bool) -> Option<HeaderValue> {
    cookie(token, MAX_AGE, secure)
}

/// The header that takes it away.
pub fn clear_cookie(secure: bool) -> Option<HeaderValue> {
    cookie("", 0, secure)
}

fn cookie(value: &str, max_age: u32, secure: bool) -> Option<HeaderValue> {
    let (name, flag) = if secure { (SECURE_NAME, "; Secure") } else { (PLAIN_NAME, "") };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{flag}")).ok()
}

/// The form token of a session.
pub fn csrf_token(session_token: &str) -> String {
    let digest = Sha256::new().chain_update(CSRF_LABEL).chain_update(session_token.as_bytes()).finalize();
    hex(&digest)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
        text
    })
}

/// Whether a request brought the right form token, in constant time.
pub fn csrf_matches(expected: &str, brought: Option<&str>) -> bool {
    brought.is_some_and(|brought| expected.as_bytes().ct_eq(brought.as_bytes()).into())
}

/// Where to go after signing in: a path of this site, else the dashboard. `//host`, `/\host` and schemes lead away.
pub fn local_path(next: Option<&str>) -> &str {
    match next {
        Some(path)
            if path.starts_with('/')
                && !path.starts_with("//")
                && !path.contains('\\')
                && path.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            path
        }
        _ => "/dashboard",
    }
}

/// Whether a request without a session comes from another site, by what the browser says about it.
/// `own` are the authorities (`host[:port]`) under which this site is known.
pub fn is_cross_site(headers: &HeaderMap, own: &[&str]) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return true;
    }
    text("origin").is_some_and(|origin| {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        !authority.is_some_and(|authority| own.iter().any(|own| own.eq_ignore_ascii_case(authority)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_followed_after_sign_in() {
        assert_eq!(local_path(Some("/servers/4?x=1")), "/servers/4?x=1");
        for away in ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "", "servers"] {
            assert_eq!(local_path(Some(away)), "/dashboard", "{away:?}");
        }
        assert_eq!(local_path(None), "/dashboard");
    }

    #[test]
    fn the_form_token_differs_per_session_and_compares_whole() {
        let token = csrf_token("a");
        assert_ne!(token, csrf_token("b"));
        assert!(csrf_matches(&token, Some(&token)));
        assert!(!csrf_matches(&token, Some(&token[1..])));
        assert!(!csrf_matches(&token, None));
    }

    #[test]
    fn the_cookie_is_found_among_others_and_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("xleft4me=no; a=b"));
        headers.append("cookie", HeaderValue::from_static("left4me=yes"));
        assert_eq!(token(&headers, false).as_deref(), Some("yes"));
        assert_eq!(token(&headers, true), None);
    }

    #[test]
    fn a_cookie_behind_tls_is_secure() {
        let cookie = set_cookie("t", true).unwrap();
        assert_eq!(
            cookie.to_str().unwrap(),
            "__Host-left4me=t; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
        );
    }

    #[test]
    fn another_origin_is_cross_site() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            is_cross_site(&headers, &["box.example:27080"])
        };
        assert!(!with("origin", "http://box.example:27080"));
        assert!(with("origin", "http://evil.example"));
        assert!(with("origin", "null"));
        assert!(with("sec-fetch-site", "cross-site"));
        assert!(with("sec-fetch-site", "same-site"));
        assert!(!with("sec-fetch-site", "none"));
        assert!(!is_cross_site(&HeaderMap::new(), &[]));
    }
}
