//! Blueprints: what a server is made of, and which arguments and config lines they may hold.

use serde::{Deserialize, Serialize};

use super::FieldError;
use super::id::{BlueprintId, OverlayId, UserId};
use super::time::Timestamp;

/// Most lines of arguments or config.
pub const LINES_MAX: usize = 500;
/// Most characters of one line.
pub const LINE_MAX: usize = 1024;
/// Most overlays of one blueprint; overlayfs takes 500 layers (lab.md), the game and the instance need some.
pub const OVERLAYS_MAX: usize = 100;

/// What servers follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blueprint {
    /// Identifier.
    pub id: BlueprintId,
    /// Owner; private to them.
    pub user_id: UserId,
    /// Unique per owner.
    pub name: String,
    /// Argument lines, each split as a shell splits words.
    pub arguments: Vec<String>,
    /// Lines of `server.cfg`.
    pub config: Vec<String>,
    /// Overlays, highest first.
    pub overlay_ids: Vec<OverlayId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Arguments that no blueprint may hold, with the reason (domain.md, srcds).
const REFUSED: [(&str, &str); 17] = [
    ("-port", "the server's port is claimed on its page"),
    ("+hostport", "the server's port is claimed on its page"),
    ("-ip", "the game always listens on every address of the box"),
    ("+ip", "the game always listens on every address of the box"),
    ("-game", "it is always left4dead2"),
    ("-norestart", "left4me restarts the game itself"),
    ("-autoupdate", "updates are installed by the install job, for every server at once"),
    ("-steam_dir", "it runs programs of its own choice"),
    ("-steamcmd_script", "it runs programs of its own choice"),
    ("-strictportbind", "it is always set, so that the port never walks"),
    ("-fork", "one server is one process tree"),
    ("-pidfile", "left4me knows its processes"),
    ("-debug", "it starts a debugger"),
    ("-netconport", "it opens a port that is not claimed"),
    ("-tv_port", "SourceTV ports are claimed with the server: write tv_enable 1 in the config"),
    ("+tv_port", "SourceTV ports are claimed with the server: write tv_enable 1 in the config"),
    ("-console", "it is always set"),
];

/// Splits argument lines as a shell splits words and checks each word. `admin`: whose blueprint it is may hold `-insecure`.
pub fn split_arguments(lines: &[String], admin: bool) -> Result<Vec<String>, FieldError> {
    check_lines("arguments", lines)?;
    let mut words = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        let split = words_of(line).ok_or_else(|| {
            FieldError::new(
                "arguments",
                format!("line {number}: a quote is not closed, or the line ends in a backslash"),
            )
        })?;
        for word in split {
            // The engine joins its arguments into one line and parses that again: a quote within a word would make
            // several words of it, which nobody has looked at.
            if word.contains('"') {
                return Err(FieldError::new(
                    "arguments",
                    format!("line {number}: a double quote within a word is not allowed"),
                ));
            }
            let key = word.to_ascii_lowercase();
            if let Some((name, reason)) = REFUSED.iter().find(|(name, _)| *name == key) {
                return Err(FieldError::new("arguments", format!("line {number}: {name} is not allowed: {reason}")));
            }
            if key == "-insecure" && !admin {
                return Err(FieldError::new(
                    "arguments",
                    format!("line {number}: -insecure is not allowed: it turns VAC off; ask an admin"),
                ));
            }
            words.push(word);
        }
    }
    Ok(words)
}

/// Splits a line as a shell splits words. A `#` begins no comment: nothing that was typed is dropped in silence.
/// `None`: a quote is not closed, or the line ends in a backslash.
fn words_of(line: &str) -> Option<Vec<String>> {
    let mut plain = String::with_capacity(line.len());
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '#') => plain.push('\\'),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        plain.push(c);
        if c == '\\' && quote != Some('\'') {
            plain.extend(chars.next());
        }
    }
    shlex::split(&plain)
}

/// Checks config lines: length, control characters, and the one console variable that is claimed elsewhere.
pub fn check_config(lines: &[String]) -> Result<(), FieldError> {
    check_lines("config", lines)?;
    for (index, line) in lines.iter().enumerate() {
        if commands(line).any(|(name, _)| name.eq_ignore_ascii_case("tv_port")) {
            let number = index + 1;
            return Err(FieldError::new(
                "config",
                format!(
                    "line {number}: tv_port is not allowed: SourceTV ports are claimed with the server; tv_enable 1 is enough"
                ),
            ));
        }
    }
    Ok(())
}

/// What may go wrong with config lines although they are accepted, in words.
pub fn config_warnings(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_ascii())
        .map(|(index, _)| format!("line {} holds characters beyond ASCII: they can crash the game", index + 1))
        .collect()
}

/// Whether the blueprint turns SourceTV on, in its config (`tv_enable 1`) or its arguments (`+tv_enable 1`).
pub fn wants_tv(arguments: &[String], config: &[String]) -> bool {
    let words: Vec<String> = arguments.iter().filter_map(|line| words_of(line)).flatten().collect();
    let by_argument =
        words.windows(2).rev().find(|pair| pair[0].eq_ignore_ascii_case("+tv_enable")).map(|pair| is_on(&pair[1]));
    // server.cfg runs after the command line: its last word on the matter counts.
    let by_config = config
        .iter()
        .flat_map(|line| commands(line))
        .filter(|(name, _)| name.eq_ignore_ascii_case("tv_enable"))
        .last()
        .map(|(_, value)| is_on(&value));
    by_config.or(by_argument).unwrap_or(false)
}

fn is_on(value: &str) -> bool {
    value.trim().parse::<f64>().is_ok_and(|number| number != 0.0)
}

/// The commands of one console line with their first argument: `a 1; b "2" // note` holds `(a, 1)` and `(b, 2)`.
fn commands(line: &str) -> impl Iterator<Item = (String, String)> {
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut chars = line.chars().peekable();
    let mut flush = |words: &mut Vec<String>| {
        let mut taken = std::mem::take(words).into_iter();
        if let Some(name) = taken.next() {
            found.push((name, taken.next().unwrap_or_default()));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            ';' => flush(&mut words),
            '/' if chars.peek() == Some(&'/') => break,
            '"' => words.push(chars.by_ref().take_while(|c| *c != '"').collect()),
            c if c.is_whitespace() => {}
            c => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|c| !c.is_whitespace() && *c != ';' && *c != '"') {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    flush(&mut words);
    found.into_iter()
}

fn check_lines(field: &'static str, lines: &[String]) -> Result<(), FieldError> {
    if lines.len() > LINES_MAX {
        return Err(FieldError::new(field, format!("has {} lines; at most {LINES_MAX} are allowed", lines.len())));
    }
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        let length = line.chars().count();
        if length > LINE_MAX {
            return Err(FieldError::new(
                field,
                format!("line {number} has {length} characters; at most {LINE_MAX} are allowed"),
            ));
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(FieldError::new(field, format!("line {number} contains a control character or a line break")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_argument_line_is_split_as_a_shell_splits_words() {
        let words = split_arguments(&lines(&["-tickrate 100", "+map 'c1m1 hotel' +exec \"a b\""]), false).unwrap();
        assert_eq!(words, ["-tickrate", "100", "+map", "c1m1 hotel", "+exec", "a b"]);
    }

    #[test]
    fn a_refused_argument_is_named_with_its_line_and_reason() {
        let error = split_arguments(&lines(&["+map c1m1_hotel", "-PORT 27020"]), true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "arguments: line 2: -port is not allowed: the server's port is claimed on its page"
        );
    }

    #[test]
    fn a_number_sign_begins_no_comment() {
        let words = split_arguments(&lines(&["+sv_search_key #ours # x '#a' \"#b\" \\#c d#e"]), false).unwrap();
        assert_eq!(words, ["+sv_search_key", "#ours", "#", "x", "#a", "#b", "#c", "d#e"]);
        assert!(split_arguments(&lines(&["# -port 1"]), false).is_err(), "nor does it hide a refused argument");
    }

    #[test]
    fn quoting_does_not_hide_a_refused_argument() {
        assert!(split_arguments(&lines(&["'-po'rt 1"]), false).is_err());
    }

    #[test]
    fn insecure_is_for_admins() {
        assert!(split_arguments(&lines(&["-insecure"]), false).is_err());
        assert!(split_arguments(&lines(&["-insecure"]), true).is_ok());
    }

    #[test]
    fn an_open_quote_is_refused() {
        assert!(split_arguments(&lines(&["+map \"c1"]), false).is_err());
    }

    #[test]
    fn tv_port_is_refused_wherever_it_hides() {
        assert!(check_config(&lines(&["hostname x; TV_PORT 27020"])).is_err());
        assert!(check_config(&lines(&["\"tv_port\" \"1\""])).is_err());
        assert!(check_config(&lines(&["// tv_port 1", "tv_enable 1"])).is_ok());
    }

    #[test]
    fn the_last_tv_enable_counts() {
        assert!(wants_tv(&[], &lines(&["tv_enable \"1\" // on"])));
        assert!(!wants_tv(&[], &lines(&["tv_enable 1", "tv_enable 0"])));
        assert!(wants_tv(&lines(&["+tv_enable 1"]), &[]));
        assert!(!wants_tv(&[], &lines(&["// tv_enable 1"])));
    }

    proptest! {
        #[test]
        fn no_accepted_line_breaks_a_config_file(text in any::<String>()) {
            let lines = vec![text];
            if check_config(&lines).is_ok() {
                prop_assert!(!lines[0].contains(['\n', '\r', '\0']));
            }
        }

        #[test]
        fn a_line_without_quotes_is_split_at_white_space_and_nothing_of_it_is_lost(text in "[^\"'\\\\\\p{C}\n]{0,60}") {
            let expected: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(words_of(&text).unwrap(), expected);
        }

        #[test]
        fn a_quoted_word_is_read_back_whatever_is_in_it(words in proptest::collection::vec("[^\\p{C}]{0,12}", 0..6)) {
            let quoted = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
            let line = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words_of(&line).unwrap(), words);
        }

        #[test]
        fn splitting_arguments_never_panics_and_never_lets_a_refused_one_through(text in any::<String>()) {
            if let Ok(words) = split_arguments(&[text], false) {
                prop_assert!(!words.iter().any(|word| REFUSED.iter().any(|(name, _)| word.eq_ignore_ascii_case(name))));
            }
        }
    }
}
