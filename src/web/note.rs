//! What is said on the page that a form leads to: that it was done. One word in a cookie that lives until that page is
//! shown, so that no address carries it and a reload does not say it again.

use warp::http::{HeaderMap, HeaderValue, header};

use super::session;

/// Seconds within which the next page is asked for.
const MAX_AGE: u32 = 60;
/// The cookie.
const NAME: &str = "left4me-note";

/// Something that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A new object.
    Made,
    /// A changed object.
    Saved,
    /// Another password.
    Password,
    /// An object is gone.
    Deleted,
    /// A token is worth nothing any more.
    Revoked,
    /// Ports are free.
    Released,
    /// A process is gone.
    Ended,
    /// Files of a server are gone.
    Emptied,
}

impl Note {
    const ALL: [Self; 8] = [
        Self::Made,
        Self::Saved,
        Self::Password,
        Self::Deleted,
        Self::Revoked,
        Self::Released,
        Self::Ended,
        Self::Emptied,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Saved => "saved",
            Self::Password => "password",
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::Released => "released",
            Self::Ended => "ended",
            Self::Emptied => "emptied",
        }
    }

    /// The sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::Made => "Made: this is its page.",
            Self::Saved => "Saved.",
            Self::Password => "The password is changed. Your other sessions have ended.",
            Self::Deleted => "Deleted.",
            Self::Revoked => "Revoked.",
            Self::Released => "Released.",
            Self::Ended => "Ended.",
            Self::Emptied => "What the game wrote is thrown away.",
        }
    }

    /// What the browser brought along.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let word = session::cookie_named(headers, NAME)?;
        Self::ALL.into_iter().find(|note| note.word() == word)
    }

    /// The header that leaves it for the next page.
    pub fn leave(self, secure: bool) -> Option<HeaderValue> {
        cookie(self.word(), MAX_AGE, secure)
    }
}

/// The header that takes it away, once it is said.
pub fn said(secure: bool) -> Option<HeaderValue> {
    cookie("", 0, secure)
}

fn cookie(value: &str, max_age: u32, secure: bool) -> Option<HeaderValue> {
    let flag = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{NAME}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{flag}")).ok()
}

/// Puts such a header beside others of its name.
pub fn put(headers: &mut HeaderMap, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_what_was_left_and_nothing_else_is() {
        for note in Note::ALL {
            let left = note.leave(true).unwrap();
            let pair = left.to_str().unwrap().split(';').next().unwrap().to_owned();
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_str(&format!("a=b; {pair}")).unwrap());
            assert_eq!(Note::of(&headers), Some(note));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("left4me-note=<b>"));
        assert_eq!(Note::of(&headers), None);
    }
}
