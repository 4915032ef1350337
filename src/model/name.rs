//! Names that people give: of users, overlays, blueprints and servers.

use super::FieldError;

/// Most characters of a display name (server, overlay, blueprint).
pub const NAME_MAX: usize = 128;
/// Most characters of a username.
pub const USERNAME_MAX: usize = 64;

/// Reads a display name: surrounding white space is stripped, 1–128 characters remain, none of them a control character.
pub fn parse_name(text: &str) -> Result<String, FieldError> {
    parse("name", text, NAME_MAX)
}

/// Reads a username: like a name, 1–64 characters.
pub fn parse_username(text: &str) -> Result<String, FieldError> {
    parse("username", text, USERNAME_MAX)
}

/// Reads the label of a reservation or token: like a name.
pub fn parse_label(text: &str) -> Result<String, FieldError> {
    parse("label", text, NAME_MAX)
}

/// The form under which two usernames are the same.
pub fn username_key(username: &str) -> String {
    username.to_lowercase()
}

fn parse(field: &'static str, text: &str, max: usize) -> Result<String, FieldError> {
    let name = text.trim();
    let length = name.chars().count();
    if length == 0 {
        return Err(FieldError::new(field, "must not be empty"));
    }
    if length > max {
        return Err(FieldError::new(field, format!("has {length} characters; at most {max} are allowed")));
    }
    if name.chars().any(is_unprintable) {
        return Err(FieldError::new(field, "must not contain control characters"));
    }
    Ok(name.to_owned())
}

/// Control characters, and the marks that turn the direction of text (they make one name look like another).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn white_space_around_a_name_is_stripped() {
        assert_eq!(parse_name("  My Practice\t").unwrap(), "My Practice");
    }

    #[test]
    fn a_name_is_counted_in_characters_not_bytes() {
        assert!(parse_name(&"é".repeat(NAME_MAX)).is_ok());
        assert_eq!(parse_name(&"é".repeat(NAME_MAX + 1)).unwrap_err().field, "name");
    }

    #[test]
    fn an_empty_name_says_which_field() {
        assert_eq!(parse_username(" \n ").unwrap_err().to_string(), "username: must not be empty");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_stripped_short_and_printable(text in any::<String>()) {
            if let Ok(name) = parse_name(&text) {
                prop_assert_eq!(name.trim(), name.as_str());
                prop_assert!((1..=NAME_MAX).contains(&name.chars().count()));
                prop_assert!(!name.chars().any(char::is_control));
                prop_assert_eq!(parse_name(&name).unwrap(), name);
            }
        }
    }
}
