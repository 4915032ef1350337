//! What the console's `status` says of who plays (domain.md, A2S and RCON): the parser, and the password that lets us ask.
//!
//! Names can hold anything: the first and the last quote of a line are the name's. All of it is the game's word, and a game
//! runs what its plugins want: texts are cleaned and cut.

use crate::model::ansi::plain;
use crate::model::machine::Person;

/// Most people that are taken from one answer; a game has at most 64 seats.
const PEOPLE_MAX: usize = 128;
/// Bytes of an answer that are looked at; one of 64 people has some 8 KiB.
const ANSWER_MAX: usize = 64 << 10;
/// Most characters of a name or an id; a name on Steam has 32.
const TEXT_MAX: usize = 64;

/// The people in an answer of `status`, bots left out.
pub fn people(text: &str) -> Vec<Person> {
    let text = &text[..text.floor_char_boundary(ANSWER_MAX)];
    text.lines().filter_map(person).take(PEOPLE_MAX).collect()
}

/// What is kept of a text of the game.
fn cleaned(text: &str) -> String {
    plain(text).chars().take(TEXT_MAX).collect()
}

/// `#  7 1 "0125" STEAM_1:0:32599262 28:40 66 0 active 30000 203.0.113.9:27005`.
fn person(line: &str) -> Option<Person> {
    let rest = line.strip_prefix('#')?;
    let (before, rest) = rest.split_once('"')?;
    let (name, after) = rest.rsplit_once('"')?;
    let userid = before.split_whitespace().next()?.parse().ok()?;
    let mut fields = after.split_whitespace();
    let steam_id = fields.next()?;
    if steam_id == "BOT" {
        return None;
    }
    let connected = fields.next().filter(|text| text.contains(':'))?;
    Some(Person {
        userid,
        name: cleaned(name),
        steam_id: cleaned(steam_id),
        connected: cleaned(connected),
        ping_ms: fields.next().and_then(|ping| ping.parse().ok()),
    })
}

/// The RCON password that a blueprint's lines and words set; the last one counts. `None`: RCON is off.
pub fn password(config: &[String], arguments: &[String]) -> Option<String> {
    let by_line = config.iter().filter_map(|line| {
        let (name, value) = line.trim().split_once(char::is_whitespace)?;
        name.trim_matches('"').eq_ignore_ascii_case("rcon_password").then(|| value_of(value.trim()))
    });
    let by_word = arguments
        .windows(2)
        .filter(|pair| pair[0].eq_ignore_ascii_case("+rcon_password"))
        .map(|pair| value_of(&pair[1]));
    // The configuration runs after the command line, and again at each map.
    by_word.chain(by_line).last().filter(|password| !password.is_empty())
}

fn value_of(text: &str) -> String {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default().to_owned(),
        None => text.split(|c: char| c.is_whitespace() || c == ';').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn players_are_read_whatever_their_names_hold_and_bots_are_not_people() {
        let text = "hostname: x\nplayers : 3 humans, 1 bots (18 max)\n\n# userid name uniqueid connected ping loss state rate adr\n\
            #  7 1 \"0125\" STEAM_1:0:32599262 28:40 66 0 active 30000 203.0.113.9:27005\n\
            # 12 2 \"Dr \"Hops\" Ewing\" STEAM_1:1:77 1:02:03 120 5 active 30000 203.0.113.8:27005\n\
            # 13 3 \"x\" STEAM_1:0:1 00:01 1 0 active\" STEAM_1:0:99 00:07 48 0 spawning 30000 203.0.113.7:27005\n\
            #  9 \"Coach\" BOT active\n#end\n";
        let found = people(text);
        let short: Vec<_> = found
            .iter()
            .map(|p| (p.userid, p.name.as_str(), p.steam_id.as_str(), p.connected.as_str(), p.ping_ms))
            .collect();
        assert_eq!(
            short,
            [
                (7, "0125", "STEAM_1:0:32599262", "28:40", Some(66)),
                (12, "Dr \"Hops\" Ewing", "STEAM_1:1:77", "1:02:03", Some(120)),
                (13, "x\" STEAM_1:0:1 00:01 1 0 active", "STEAM_1:0:99", "00:07", Some(48)),
            ]
        );
    }

    #[test]
    fn what_a_game_makes_up_is_cleaned_and_cut() {
        let long = "x".repeat(100_000);
        let line = |name: &str, id: &str, since: &str| format!("# 3 1 \"{name}\" {id} {since} 20 0 active 30000 x\n");
        let found = people(&line("a\u{1b}[31mb\u{7}\u{202e}c", "\u{1b}]0;title\u{7}STEAM_1:0:5", "\u{1b}[2J10:00"));
        let one = (found[0].name.as_str(), found[0].steam_id.as_str(), found[0].connected.as_str());
        assert_eq!(one, ("abc", "STEAM_1:0:5", "10:00"));
        let long = people(&line(&long[..300], &long[..300], &format!("1:{}", &long[..300])));
        let lengths = (long[0].name.len(), long[0].steam_id.len(), long[0].connected.len());
        assert_eq!(lengths, (64, 64, 64));
        // A long answer is read as far as anybody could need.
        let answer = format!("{}{}", "ü".repeat(ANSWER_MAX), line("late", "STEAM_1:0:6", "1:00"));
        assert!(people(&format!("{}{answer}", line("early", "STEAM_1:0:5", "1:00"))).len() == 1);
    }

    #[test]
    fn the_last_password_counts_and_an_empty_one_is_none() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        for (config, arguments, expected) in [
            (&["hostname \"x\"", "rcon_password \"a b\" // mine"][..], &[][..], Some("a b")),
            (&["RCON_Password one;sv_cheats 1"], &[], Some("one")),
            (&["rcon_password one", "rcon_password two"], &["+rcon_password", "three"], Some("two")),
            (&[], &["+map", "x", "+rcon_password", "three"], Some("three")),
            (&["rcon_password \"\""], &["+rcon_password", "three"], None),
            (&["// rcon_password no", "sv_rcon_password x"], &["+rcon_password"], None),
        ] {
            assert_eq!(password(&lines(config), &lines(arguments)).as_deref(), expected, "{config:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_of_any_characters_reads_back(name in "[^\\pC]{0,40}") {
            let line = format!("# 3 1 \"{name}\" STEAM_1:0:5 10:00 20 0 active 30000 198.51.100.4:27005");
            let found = people(&line);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].name, &name);
            prop_assert_eq!(&found[0].steam_id, "STEAM_1:0:5");
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            people(&text);
        }
    }
}
