//! What the command line prints: a table or sentences for people, one line of JSON for programs.
//!
//! Results go to standard output; notes, progress and errors to standard error. Text that comes from other members is
//! escaped before it reaches a terminal: cells and names by [`hansa_types::printable`], and once more everything.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hansa_api::{Progress, Stage};
use hansa_types::printable;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::problem::CliError;

/// Set when a result did not reach standard output. There is one standard output, and so one of these.
static LOST: AtomicBool = AtomicBool::new(false);

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
        let text = if self.json {
            serde_json::to_string(value)
                .unwrap_or_else(|error| json!({ "unwritable": error.to_string() }).to_string())
        } else {
            lines(&human(value))
        };
        self.raw(format!("{text}\n").as_bytes());
    }

    /// Writes to standard output as it is.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            // The reader of the pipe has read enough (`hansa ls | head`).
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                LOST.store(true, Ordering::Relaxed);
                self.note(&format!("the command is done, and its result cannot be written: {error}"));
            }
            _ => {}
        }
    }

    /// Whether every result reached standard output.
    pub(crate) fn complete() -> bool {
        !LOST.load(Ordering::Relaxed)
    }

    /// A remark for the person at the keyboard.
    pub(crate) fn note(self, text: &str) {
        match self.json {
            true => line(&json!({ "note": text }).to_string()),
            false => line(&lines(text)),
        }
    }

    /// An error with its cause and what to do about it.
    pub(crate) fn problem(self, problem: &CliError) {
        if self.json {
            return line(&problem.json().to_string());
        }
        line(&format!("error: {}", printable(&problem.to_string())));
        for detail in problem.details() {
            line(&format!("  - {}", printable(&detail)));
        }
        let mut source = std::error::Error::source(problem);
        while let Some(cause) = source {
            line(&format!("  because: {}", printable(&cause.to_string())));
            source = cause.source();
        }
        if let Some(hint) = problem.hint() {
            line(&format!("  hint: {}", printable(hint)));
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

/// Writes a line to standard error. When nobody reads that any more, there is nobody to tell.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Text of several lines, each of them printable.
fn lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// A progress bar that follows an operation through its stages.
pub(crate) struct Bar {
    bar: ProgressBar,
    stage: Option<Stage>,
}

impl Bar {
    /// Shows a count of what a sentence says.
    pub(crate) fn count(&mut self, message: &'static str, done: u64, total: u64) {
        let style = ProgressStyle::with_template("{msg:<20} {bar:30} {pos}/{len}  {per_sec}  {eta}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_message(message);
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

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

/// Left-aligned columns, two spaces apart. Cells are made printable.
pub(crate) fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let mut widths: [usize; N] = head.map(|cell| cell.chars().count());
    for row in &rows {
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
    use super::{lines, table};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["1".to_owned(), "lübeck".to_owned()], ["12".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["dc", "name"], &rows), "dc  name\n1   lübeck\n12  x");
    }

    /// A name with a line break or an escape sequence, from a member that wants a row of its own or another title.
    #[test]
    fn names_from_others_stay_in_their_cell() {
        let rows = [["1".to_owned(), "x\n2   forged\u{1b}]0;title\u{7}".to_owned()]];
        let printed = table(&["dc", "name"], &rows);
        assert_eq!(printed, "dc  name\n1   x\\n2   forged\\u{1b}]0;title\\u{7}");
        assert_eq!(lines("a\u{1b}[2J\nb\r"), "a\\u{1b}[2J\nb\\r");
    }
}
