//! What the command line prints: a table or sentences for people, one line of JSON for programs.
//!
//! Results go to standard output; notes, progress and errors to standard error.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use hansa_types::api::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::problem::CliError;

/// How to print, from the command line's options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a result: the value as JSON, or else the text that `human` makes of it.
    pub(crate) fn result<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) {
        let text = if self.json { serde_json::to_string(value).unwrap_or_default() } else { human(value) };
        // Whoever closes the pipe has read enough (`hansa ls | head`); what was asked for is done in any case.
        match writeln!(std::io::stdout(), "{text}") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                self.note(&format!("warning: the result cannot be written: {error}"));
            }
            _ => {}
        }
    }

    /// A remark for the person at the keyboard.
    pub(crate) fn note(self, text: &str) {
        eprintln!("{text}");
    }

    /// An error with its cause and what to do about it.
    pub(crate) fn problem(self, problem: &CliError) {
        eprintln!("error: {problem}");
        let mut source = std::error::Error::source(problem);
        while let Some(cause) = source {
            eprintln!("  because: {cause}");
            source = cause.source();
        }
        if let Some(hint) = problem.hint() {
            eprintln!("  hint: {hint}");
        }
    }

    /// The table of a local consortium, or `network.json`'s content.
    pub(crate) fn network<T: Serialize>(self, rows: &[[String; 6]], network: &T, dir: &Path) {
        self.result(network, |_| {
            let head = ["member", "role", "REST", "JSON-RPC", "peer id", "home"];
            format!(
                "{}\n\nnetwork file: {}\nTry:  hansa --home {} status\nStop: Ctrl-C",
                table(&head, rows),
                dir.join("network.json").display(),
                rows.first().map(|row| row[5].as_str()).unwrap_or_default(),
            )
        });
    }

    /// A bar for a long operation, on a terminal only.
    pub(crate) fn bar(self) -> Bar {
        if self.json || !std::io::stderr().is_terminal() {
            return Bar { bar: ProgressBar::hidden(), stage: None };
        }
        let bar = ProgressBar::no_length();
        bar.enable_steady_tick(Duration::from_millis(100));
        Bar { bar, stage: None }
    }
}

/// A progress bar that follows an operation through its stages.
pub(crate) struct Bar {
    bar: ProgressBar,
    stage: Option<Stage>,
}

impl Bar {
    /// Shows one progress report.
    pub(crate) fn show(&mut self, progress: &Progress) {
        if self.stage != Some(progress.stage) {
            self.stage = Some(progress.stage);
            self.bar.reset();
            self.bar.set_style(style(progress));
            self.bar.set_message(words(progress.stage));
        }
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(progress: &Progress) -> ProgressStyle {
    let template = match (progress.unit.as_str(), progress.total) {
        ("bytes", Some(_)) => "{msg:<20} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
        ("bytes", None) => "{msg:<20} {spinner} {bytes}  {bytes_per_sec}",
        (_, Some(_)) => "{msg:<20} {bar:30} {pos}/{len}",
        (_, None) => "{msg:<20} {spinner} {pos}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Transfer => "sending",
        Stage::Encrypt => "encrypting",
        Stage::Record => "recording",
        Stage::Replicate => "replicating",
        Stage::Fetch => "fetching",
        Stage::Verify => "verifying",
        Stage::Repair => "repairing",
    }
}

/// Left-aligned columns, two spaces apart.
pub(crate) fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let mut widths: [usize; N] = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[&str]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head)];
    lines.extend(rows.iter().map(|row| line(&row.each_ref().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["1".to_owned(), "lübeck".to_owned()], ["12".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["dc", "name"], &rows), "dc  name\n1   lübeck\n12  x");
    }
}
