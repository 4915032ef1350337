//! Escape sequences of terminals: colours are understood, everything else is taken out.
//!
//! Called where lines of a program are stored and where they are shown. Pure and total: any text becomes pieces with a
//! colour, and no piece holds a control character but the tab (ECMA-48 §5.4, §8.3.117).

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// How a piece of a line is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// One of the sixteen colours of a terminal, the bright ones from 8; `None`: that of the text.
    pub colour: Option<u8>,
    /// Heavier letters.
    pub bold: bool,
}

impl Style {
    /// Classes of the style sheet, separated by a space; empty for plain text.
    pub fn classes(self) -> String {
        let colour = self.colour.map(|number| format!("ansi-{number}"));
        let bold = self.bold.then(|| "ansi-bold".to_owned());
        colour.into_iter().chain(bold).collect::<Vec<_>>().join(" ")
    }

    /// The sequence that sets it, whatever was set before.
    fn sequence(self) -> String {
        let bold = if self.bold { ";1" } else { "" };
        match self.colour {
            None => format!("\u{1b}[0{bold}m"),
            Some(colour @ 0..=7) => format!("\u{1b}[0{bold};{}m", 30 + colour),
            Some(colour) => format!("\u{1b}[0{bold};{}m", 82 + colour.min(15)),
        }
    }

    /// Takes the parameters of one "select graphic rendition". What is not understood changes nothing.
    fn select(&mut self, parameters: &str) {
        let mut numbers = parameters.split([';', ':']).map(|number| match number {
            "" => Some(0),
            number => number.parse::<u16>().ok(),
        });
        while let Some(number) = numbers.next() {
            match number {
                Some(0) => *self = Self::default(),
                Some(1) => self.bold = true,
                Some(22) => self.bold = false,
                Some(number @ 30..=37) => self.colour = Some(number as u8 - 30),
                Some(number @ 90..=97) => self.colour = Some(number as u8 - 82),
                Some(39) => self.colour = None,
                // 256 or true colours: the numbers that follow are no codes of their own.
                Some(38 | 48) => match numbers.next() {
                    Some(Some(5)) => {
                        let colour = numbers.next().flatten();
                        if number == Some(38) {
                            self.colour =
                                colour.and_then(|colour| u8::try_from(colour).ok()).filter(|colour| *colour < 16);
                        }
                    }
                    Some(Some(2)) => {
                        numbers.nth(2);
                    }
                    Some(_) | None => {}
                },
                Some(_) | None => {}
            }
        }
    }
}

/// Pieces of one line, each with its style; none is empty. A line break becomes a space: a line stays one.
pub fn pieces(line: &str) -> Vec<(Style, String)> {
    let mut found: Vec<(Style, String)> = Vec::new();
    let mut style = Style::default();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let shown = match c {
            '\u{1b}' => {
                escape(&mut chars, &mut style);
                continue;
            }
            // The one-character forms of ESC [ and ESC ].
            '\u{9b}' => {
                control_sequence(&mut chars, &mut style);
                continue;
            }
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => {
                string(&mut chars);
                continue;
            }
            '\r' | '\n' => ' ',
            '\t' => c,
            c if c.is_control() => continue,
            // They turn the order of what follows around, beyond the end of the line.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => continue,
            c => c,
        };
        match found.last_mut() {
            Some((last, text)) if *last == style => text.push(shown),
            Some(_) | None => found.push((style, shown.to_string())),
        }
    }
    found
}

/// Whether a line is what nearly all are: letters that are shown as they stand.
fn is_ordinary(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// The text alone.
pub fn plain(line: &str) -> Cow<'_, str> {
    if is_ordinary(line) {
        return Cow::Borrowed(line);
    }
    pieces(line).into_iter().map(|(_, text)| text).collect()
}

/// The text with its colours, written so that nothing but known sequences is left in it. Of a cleaned line it is the line
/// itself.
pub fn clean(line: &str) -> Cow<'_, str> {
    if is_ordinary(line) {
        return Cow::Borrowed(line);
    }
    let mut cleaned = String::with_capacity(line.len());
    let mut current = Style::default();
    for (style, text) in pieces(line) {
        if style != current {
            cleaned.push_str(&style.sequence());
            current = style;
        }
        cleaned.push_str(&text);
    }
    Cow::Owned(cleaned)
}

/// What follows ESC.
fn escape(chars: &mut Peekable<Chars<'_>>, style: &mut Style) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            control_sequence(chars, style);
        }
        Some(']' | 'P' | '^' | '_' | 'X') => {
            chars.next();
            string(chars);
        }
        // Intermediate characters and a final one, as in ESC ( B.
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            chars.next();
        }
        // Not a sequence: ESC alone goes.
        Some(_) | None => {}
    }
}

/// What follows CSI. A character that belongs to no sequence ends it and is text again.
fn control_sequence(chars: &mut Peekable<Chars<'_>>, style: &mut Style) {
    let mut parameters = String::new();
    while let Some(c) = chars.next_if(|c| (' '..='?').contains(c)) {
        parameters.push(c);
    }
    if chars.next_if(|c| ('@'..='~').contains(c)) == Some('m') {
        style.select(&parameters);
    }
}

/// A title, a link or the like: up to BEL or ST.
fn string(chars: &mut Peekable<Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn coloured(colour: u8, text: &str) -> (Style, String) {
        (Style { colour: Some(colour), bold: false }, text.to_owned())
    }

    fn uncoloured(text: &str) -> (Style, String) {
        (Style::default(), text.to_owned())
    }

    #[test]
    fn colours_become_pieces_and_classes() {
        let found = pieces("a\u{1b}[31mred\u{1b}[1;92mloud\u{1b}[0mb\u{1b}[38;5;4mblue\u{1b}[mc");
        let loud = Style { colour: Some(10), bold: true };
        assert_eq!(
            found,
            [
                uncoloured("a"),
                coloured(1, "red"),
                (loud, "loud".into()),
                uncoloured("b"),
                coloured(4, "blue"),
                uncoloured("c")
            ]
        );
        assert_eq!(loud.classes(), "ansi-10 ansi-bold");
        assert_eq!(Style::default().classes(), "");
        assert_eq!(plain("\u{1b}[48;2;1;31;3mx\u{1b}[38;2;9;9;9my"), "xy");
    }

    #[test]
    fn bells_titles_links_and_cursor_moves_are_taken_out() {
        assert_eq!(
            plain("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\b\u{1b}[2J\u{1b}[10;10Hc\u{7}\u{8}d\u{1b}(Be"),
            "abcde"
        );
        assert_eq!(plain("\u{9b}31mx\u{9d}title\u{9c}y\u{202e}z"), "xyz");
        assert_eq!(plain("one\rtwo\nthree\tfour"), "one two three\tfour");
    }

    #[test]
    fn a_sequence_that_is_cut_off_takes_no_text_with_it() {
        assert_eq!(plain("x\u{1b}[3 \u{2026}[cut]"), "x\u{2026}[cut]");
        assert_eq!(plain("x\u{1b}"), "x");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_harmless_and_cleaning_twice_changes_nothing(
            line in proptest::collection::vec(
                prop_oneof![Just("\u{1b}[".to_owned()), Just("\u{1b}]".into()), Just("31m".into()), Just("1;97m".into()), any::<String>()],
                0..12,
            )
        ) {
            let line = line.concat();
            let cleaned = clean(&line);
            prop_assert_eq!(&clean(&cleaned), &cleaned);
            prop_assert_eq!(pieces(&cleaned), pieces(&line));
            prop_assert!(plain(&line).chars().all(|c| c == '\t' || !c.is_control()));
            let unknown = cleaned.split('\u{1b}').skip(1).any(|rest| {
                let end = rest.find('m');
                !end.is_some_and(|end| rest[..end].strip_prefix('[').is_some_and(|codes| codes.chars().all(|c| c == ';' || c.is_ascii_digit())))
            });
            prop_assert!(!unknown, "{:?}", cleaned);
        }
    }
}
