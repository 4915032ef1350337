//! What a server's next start changes: the written spec against the one that would be written now, in words.
//!
//! Called by pages. Knows no names: overlays are told by number, and the caller may put names in.

use super::id::OverlayId;
use super::spec::{InstanceSpec, SpecOverlay};

/// One difference between two specs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A word of the arguments, a line of the config or a port that goes.
    Removed(&'static str, String),
    /// One that comes.
    Added(&'static str, String),
    /// The same lines in another order.
    Reordered(&'static str),
    /// An overlay that goes.
    OverlayRemoved(OverlayId),
    /// An overlay that comes.
    OverlayAdded(OverlayId),
    /// An overlay whose revision or folder changes: from, to.
    OverlayChanged(OverlayId, String, String),
    /// Newer (or older) game files.
    GameFiles,
}

/// Everything that the next start brings; empty: it changes nothing.
pub fn differences(written: &InstanceSpec, next: &InstanceSpec) -> Vec<Difference> {
    let mut found = Vec::new();
    // Words that belong together are one entry: `+map c1m1_hotel`.
    lines(&mut found, "argument", &options(&written.arguments), &options(&next.arguments));
    lines(&mut found, "config", &written.config, &next.config);
    lines(&mut found, "port", &ports(written), &ports(next));
    overlays(&mut found, &written.overlays, &next.overlays);
    if written.game != next.game {
        found.push(Difference::GameFiles);
    }
    found
}

fn options(words: &[String]) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    for word in words {
        match options.last_mut() {
            Some(last) if !word.starts_with(['+', '-']) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => options.push(word.clone()),
        }
    }
    options
}

fn ports(spec: &InstanceSpec) -> Vec<String> {
    let tv = spec.tv_port.map(|port| format!("{port} (SourceTV)"));
    std::iter::once(spec.port.to_string()).chain(tv).collect()
}

fn lines(found: &mut Vec<Difference>, what: &'static str, old: &[String], new: &[String]) {
    // Counted, for the same line may stand twice.
    let mut kept = new.to_vec();
    let before = found.len();
    for line in old {
        match kept.iter().position(|own| own == line) {
            Some(place) => {
                kept.remove(place);
            }
            None => found.push(Difference::Removed(what, line.clone())),
        }
    }
    found.extend(kept.into_iter().map(|line| Difference::Added(what, line)));
    if found.len() == before && old != new {
        found.push(Difference::Reordered(what));
    }
}

fn state(overlay: &SpecOverlay) -> String {
    match (&overlay.path, overlay.revision) {
        (Some(path), _) => path.clone(),
        (None, Some(number)) => format!("revision {number}"),
        (None, None) => "no files".into(),
    }
}

fn overlays(found: &mut Vec<Difference>, old: &[SpecOverlay], new: &[SpecOverlay]) {
    let before = found.len();
    let of = |list: &[SpecOverlay], id| list.iter().find(|overlay| overlay.id == id).map(state);
    for overlay in old {
        match of(new, overlay.id) {
            None => found.push(Difference::OverlayRemoved(overlay.id)),
            Some(now) if now != state(overlay) => {
                found.push(Difference::OverlayChanged(overlay.id, state(overlay), now));
            }
            Some(_) => {}
        }
    }
    for overlay in new {
        if of(old, overlay.id).is_none() {
            found.push(Difference::OverlayAdded(overlay.id));
        }
    }
    if found.len() == before && old != new {
        found.push(Difference::Reordered("overlays"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{LayerId, ServerId};
    use crate::model::time::Timestamp;

    fn spec() -> InstanceSpec {
        let overlay = |id, revision| SpecOverlay { id: OverlayId(id), path: None, revision: Some(revision) };
        InstanceSpec {
            version: 1,
            server_id: ServerId(1),
            port: 27015,
            tv_port: None,
            game: vec![LayerId(1)],
            overlays: vec![overlay(1, 1), overlay(2, 1)],
            arguments: vec!["+map".into(), "c1m1_hotel".into(), "-nohltv".into()],
            config: vec!["hostname \"x\"".into(), "sv_x 1".into(), "sv_x 1".into()],
            written_at: Timestamp(0),
        }
    }

    #[test]
    fn a_spec_that_was_only_written_at_another_time_is_no_difference() {
        assert_eq!(differences(&spec(), &InstanceSpec { written_at: Timestamp(9), ..spec() }), vec![]);
    }

    #[test]
    fn each_change_is_said_exactly() {
        let mut next = spec();
        next.arguments[1] = "c2m1_highway".into();
        next.config.pop();
        next.tv_port = Some(27020);
        next.overlays[0].revision = Some(2);
        next.overlays[1].id = OverlayId(3);
        next.game = vec![LayerId(2), LayerId(1)];
        assert_eq!(
            differences(&spec(), &next),
            vec![
                Difference::Removed("argument", "+map c1m1_hotel".into()),
                Difference::Added("argument", "+map c2m1_highway".into()),
                Difference::Removed("config", "sv_x 1".into()),
                Difference::Added("port", "27020 (SourceTV)".into()),
                Difference::OverlayChanged(OverlayId(1), "revision 1".into(), "revision 2".into()),
                Difference::OverlayRemoved(OverlayId(2)),
                Difference::OverlayAdded(OverlayId(3)),
                Difference::GameFiles,
            ]
        );
    }

    #[test]
    fn another_order_is_a_difference() {
        let mut next = spec();
        next.overlays.reverse();
        next.config.reverse();
        assert_eq!(
            differences(&spec(), &next),
            vec![Difference::Reordered("config"), Difference::Reordered("overlays")]
        );
    }
}
