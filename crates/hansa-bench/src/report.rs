//! Figures over several runs, as a table for people and one line of JSON for programs.

use std::io::{ErrorKind, Write as _};

use serde_json::{Map, Value};

/// One figure, measured once a run.
#[derive(Clone)]
pub(crate) struct Figure {
    name: &'static str,
    unit: &'static str,
    runs: Vec<f64>,
}

impl Figure {
    /// A figure without runs yet.
    pub(crate) fn new(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, runs: Vec::new() }
    }

    /// Adds a run's value.
    pub(crate) fn push(&mut self, value: f64) {
        self.runs.push(value);
    }

    /// The median of the runs.
    pub(crate) fn median(&self) -> f64 {
        percentile(&self.runs, 50.0)
    }

    fn spread(&self) -> (f64, f64) {
        let low = self.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    }
}

/// Figures over time: a row for each stretch of it.
#[derive(Default)]
pub(crate) struct Series {
    names: Vec<&'static str>,
    rows: Vec<Vec<f64>>,
}

impl Series {
    /// No rows yet under these column names.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a value for each column.
    pub(crate) fn push(&mut self, row: Vec<f64>) {
        self.rows.push(row);
    }
}

/// The value below which `percent` of the values lie (nearest rank); 0 without values.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Prints the figures: a table, or with `json` one line with each median under its name, all runs under `runs`, and what
/// happened over time, if that was measured, under `series`.
pub(crate) fn print(figures: &[Figure], series: &Series, json: bool) {
    if json {
        let mut line = Map::new();
        let mut runs = Map::new();
        for figure in figures {
            line.insert(figure.name.into(), rounded(figure.median()));
            runs.insert(figure.name.into(), figure.runs.iter().map(|v| rounded(*v)).collect());
        }
        line.insert("runs".into(), Value::Object(runs));
        if !series.rows.is_empty() {
            let named = |row: &Vec<f64>| -> Map<String, Value> {
                series.names.iter().zip(row).map(|(name, value)| ((*name).into(), rounded(*value))).collect()
            };
            line.insert("series".into(), series.rows.iter().map(named).collect());
        }
        say(&Value::Object(line).to_string());
        return;
    }
    let mut lines = vec![format!("{:<28} {:>12} {:>12} {:>12}", "figure", "median", "min", "max")];
    lines.extend(figures.iter().map(|figure| {
        let (low, high) = figure.spread();
        let name = format!("{} [{}]", figure.name, figure.unit);
        format!("{name:<28} {:>12.2} {low:>12.2} {high:>12.2}", figure.median())
    }));
    if !series.rows.is_empty() {
        lines.push(String::new());
        lines.push(series.names.iter().map(|name| format!("{name:>18}")).collect());
    }
    let row = |row: &Vec<f64>| row.iter().map(|value| format!("{value:>18.2}")).collect();
    lines.extend(series.rows.iter().map(row));
    say(&lines.join("\n"));
}

/// Whoever closes the pipe has read enough.
fn say(text: &str) {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("warning: the figures cannot be written: {error}");
        }
        _ => {}
    }
}

fn rounded(value: f64) -> Value {
    ((value * 100.0).round() / 100.0).into()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), 50.0);
        assert_eq!(percentile(&values, 99.0), 99.0);
        assert_eq!(percentile(&[], 50.0), 0.0);
    }
}
