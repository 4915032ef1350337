//! The table: what was measured, what stands beside it, and whether the goal holds. Also the arithmetic that all rows share.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a row is held to.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// left4me's figure is at least so much of what stands beside it.
    RatioAtLeast(f64),
    /// left4me's figure is at most so much of what stands beside it.
    RatioAtMost(f64),
    /// left4me's figure itself.
    AtMost(f64),
    /// The figure itself, and that of the rival beside it.
    AtMostAndRival(f64),
    /// Shown for comparison.
    None,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Number of the work, as `--help` lists it.
    pub number: u32,
    /// What was done.
    pub work: String,
    /// Unit of both figures.
    pub unit: &'static str,
    /// left4me's figure; `None`: it could not be measured here.
    pub ours: Option<f64>,
    /// The limit or rival: its figure and its name.
    pub beside: Option<(f64, String)>,
    /// The median of the rounds' ratios, where that is not the ratio of the two figures.
    pub ratio: Option<f64>,
    /// The goal.
    pub goal: Goal,
    /// Why it was not measured, or what the figures hide.
    pub note: Option<String>,
}

impl Row {
    /// A figure with nothing beside it yet.
    pub fn new(number: u32, work: impl Into<String>, unit: &'static str, ours: f64, goal: Goal) -> Self {
        Self { number, work: work.into(), unit, ours: Some(ours), beside: None, ratio: None, goal, note: None }
    }

    /// The medians of rounds that were run in turn, and the median of their ratios.
    pub fn rounds(number: u32, work: impl Into<String>, unit: &'static str, rounds: &Rounds, goal: Goal) -> Self {
        let row = Self::new(number, work, unit, median(&rounds.ours), goal);
        Self { ratio: Some(median(&rounds.ratios())), ..row }.beside(median(&rounds.beside), rounds.name)
    }

    /// A row that this machine cannot measure.
    pub fn not_measured(number: u32, work: impl Into<String>, why: impl Into<String>) -> Self {
        let row = Self::new(number, work, "", 0.0, Goal::None);
        Self { ours: None, ..row }.note(why)
    }

    /// What stands beside it.
    pub fn beside(self, figure: f64, name: impl Into<String>) -> Self {
        Self { beside: Some((figure, name.into())), ..self }
    }

    /// What the figures hide.
    pub fn note(self, text: impl Into<String>) -> Self {
        Self { note: Some(text.into()), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.ratio.or_else(|| Some(self.ours? / self.beside.as_ref()?.0))
    }

    /// Whether the goal holds; `None`: there is none, or nothing was measured.
    pub fn holds(&self) -> Option<bool> {
        let ours = self.ours?;
        match self.goal {
            Goal::RatioAtLeast(goal) => self.ratio().map(|ratio| ratio >= goal),
            Goal::RatioAtMost(goal) => self.ratio().map(|ratio| ratio <= goal),
            Goal::AtMost(goal) => Some(ours <= goal),
            Goal::AtMostAndRival(goal) => Some(ours <= goal && self.ratio().is_none_or(|ratio| ratio <= 1.0)),
            Goal::None => None,
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::RatioAtLeast(goal) => format!("ratio ≥ {goal}"),
            Goal::RatioAtMost(goal) => format!("ratio ≤ {goal}"),
            Goal::AtMost(goal) => format!("≤ {} {}", figure(goal), self.unit),
            Goal::AtMostAndRival(goal) => format!("≤ {} {} and ratio ≤ 1", figure(goal), self.unit),
            Goal::None => "–".into(),
        }
    }

    fn markdown(&self) -> String {
        let dash = || "–".to_owned();
        let holds = match (self.ours, self.holds()) {
            (None, _) => "not measured",
            (Some(_), Some(true)) => "yes",
            (Some(_), Some(false)) => "no",
            (Some(_), None) => "–",
        };
        let note = self.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        let ours = self.ours.map_or_else(dash, |ours| format!("{} {}", figure(ours), self.unit));
        let beside =
            self.beside.as_ref().map_or_else(dash, |(value, name)| format!("{} {}: {name}", figure(*value), self.unit));
        let ratio = self.ratio().map_or_else(dash, |ratio| format!("{ratio:.2}"));
        format!(
            "| {} | {}{note} | {ours} | {beside} | {ratio} | {} | {holds} |",
            self.number,
            self.work,
            self.goal_text()
        )
    }

    fn json(&self) -> Value {
        json!({
            "row": self.number, "work": self.work, "unit": self.unit, "left4me": self.ours,
            "beside": self.beside.as_ref().map(|(value, _)| value),
            "beside_name": self.beside.as_ref().map(|(_, name)| name),
            "ratio": self.ratio(), "goal": self.goal_text(), "holds": self.holds(), "note": self.note,
        })
    }
}

/// The whole as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text =
        "| row | work | left4me | limit or rival | ratio | goal | holds |\n|---|---|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let _ = writeln!(text, "{}", row.markdown());
    }
    text
}

/// The whole as JSON; `failures`: rows that could not be measured because of an error.
pub fn as_json(rows: &[Row], failures: &[String]) -> Value {
    json!({ "rows": rows.iter().map(Row::json).collect::<Vec<_>>(), "failures": failures })
}

/// Rounds of two works in turn, so that what else the machine does meets both alike.
pub struct Rounds {
    name: &'static str,
    ours: Vec<f64>,
    beside: Vec<f64>,
}

impl Rounds {
    /// None yet. `name`: what stands beside left4me.
    pub fn beside(name: &'static str) -> Self {
        Self { name, ours: Vec::new(), beside: Vec::new() }
    }

    /// One round.
    pub fn add(&mut self, ours: f64, beside: f64) {
        self.ours.push(ours);
        self.beside.push(beside);
    }

    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.beside).map(|(ours, beside)| ours / beside).collect()
    }
}

/// The value below which `part` of them lie.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// A figure with as many digits as mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        whole if whole.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
