//! Small pictures of the last hour as inline SVG: no script, no request, drawn from samples by the server.

use maud::{Markup, html};

use crate::model::machine::Sample;
use crate::model::time::Timestamp;

/// Size of the drawing's own units.
const WIDTH: f64 = 240.0;
/// Likewise.
const HEIGHT: f64 = 48.0;
/// Seconds that the width shows.
const SPAN: f64 = 3600.0;
/// Samples further apart than this many seconds are not joined: nobody looked, or nothing ran.
const GAP: i64 = 90;

/// One line over the hour. `value`: nothing where the sample does not say. `least`: the scale reaches at least so high, so
/// that a small ripple looks small. `word`: how a value is written.
pub fn hour(
    title: &str,
    samples: &[Sample],
    now: Timestamp,
    least: f64,
    value: impl Fn(&Sample) -> Option<f64>,
    word: impl Fn(f64) -> String,
) -> Markup {
    let points: Vec<(Timestamp, f64)> =
        samples.iter().filter_map(|sample| value(sample).map(|value| (sample.at, value))).collect();
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let top = most.max(least);
    let text = match points.last() {
        Some((_, last)) => format!("{title} in the last hour: {} now, at most {}", word(*last), word(most)),
        None => format!("{title} in the last hour: nothing yet"),
    };
    html! {
        figure.graph {
            figcaption { (title) " " @if !points.is_empty() { span.muted.number { "at most " (word(most)) } } }
            div.plot {
                // For the eye: the picture's own text says all that they say.
                div.scale aria-hidden="true" { span { (word(top)) } span { (word(0.0)) } }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(text) {
                    title { (text) }
                    @for line in lines(&points, now, top) { polyline points=(line) vector-effect="non-scaling-stroke" {} }
                }
                div.scale.time aria-hidden="true" { span { "1 h ago" } span { "now" } }
            }
        }
    }
}

/// The players of the last hour alone, small and without a caption: for a card.
pub fn spark(samples: &[Sample], now: Timestamp) -> Markup {
    let points: Vec<(Timestamp, f64)> =
        samples.iter().filter_map(|sample| sample.players.map(|players| (sample.at, f64::from(players)))).collect();
    let most = points.iter().map(|(_, players)| *players).fold(0.0, f64::max);
    let text = if points.is_empty() {
        "Nobody has looked for players in the last hour".to_owned()
    } else {
        format!("Players in the last hour: at most {most:.0}")
    };
    html! {
        svg.spark viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(text) {
            title { (text) }
            @for line in lines(&points, now, most.max(4.0)) { polyline points=(line) vector-effect="non-scaling-stroke" {} }
        }
    }
}

/// The points of each unbroken piece, as SVG wants them.
fn lines(points: &[(Timestamp, f64)], now: Timestamp, top: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut before: Option<Timestamp> = None;
    for (at, value) in points {
        let x = WIDTH * (1.0 - now.seconds_since(*at) as f64 / SPAN);
        // One unit of air above and below, for the width of the stroke.
        let y = HEIGHT - 1.0 - (HEIGHT - 2.0) * value / top.max(f64::MIN_POSITIVE);
        let point = format!("{x:.1},{y:.1}");
        match lines.last_mut() {
            Some(line) if before.is_some_and(|before| at.seconds_since(before) <= GAP) => {
                line.push(' ');
                line.push_str(&point);
            }
            Some(_) | None => lines.push(point),
        }
        before = Some(*at);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, players: Option<u32>) -> Sample {
        Sample { at: Timestamp(second * 1000), players, cpu_percent: 0, memory_bytes: 0 }
    }

    #[test]
    fn a_line_breaks_where_nobody_looked_and_its_text_says_what_it_shows() {
        let samples =
            [sample(0, Some(2)), sample(30, Some(4)), sample(60, None), sample(1800, Some(1)), sample(1830, Some(3))];
        let drawn = hour(
            "Players",
            &samples,
            Timestamp(3_600_000),
            4.0,
            |sample| sample.players.map(f64::from),
            |value| format!("{value:.0}"),
        )
        .into_string();
        assert!(drawn.contains("aria-label=\"Players in the last hour: 3 now, at most 4\""), "{drawn}");
        assert!(
            drawn.contains("points=\"0.0,24.0 2.0,1.0\"") && drawn.contains("points=\"120.0,35.5 122.0,12.5\""),
            "{drawn}"
        );
        assert_eq!(drawn.matches("<polyline").count(), 2);
    }

    #[test]
    fn an_hour_without_samples_is_an_empty_picture() {
        let drawn = hour("Memory", &[], Timestamp(0), 1.0, |_| None, |_| String::new()).into_string();
        assert!(drawn.contains("nothing yet") && !drawn.contains("polyline"));
    }
}
