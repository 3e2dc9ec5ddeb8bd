//! The node's log: standard error, one line an event.

use tracing_subscriber::EnvFilter;

/// What is logged without a filter.
const FILTER: &str = "info,commonware=warn,libp2p=warn";
/// Variables with a filter; the first one that is set counts.
const VARIABLES: [&str; 2] = ["HANSA_LOG", "RUST_LOG"];

/// Begins to log, filtered by `HANSA_LOG`, or by `RUST_LOG` where that is not set.
pub(crate) fn start() {
    let (filter, problem) = filter(|name| std::env::var(name).ok());
    let format =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second call in one process, in tests, keeps the first one's settings.
    let _ = format.try_init();
    if let Some(problem) = problem {
        tracing::warn!("{problem}; logging with {FILTER}");
    }
}

fn filter(read: impl Fn(&str) -> Option<String>) -> (EnvFilter, Option<String>) {
    let set = VARIABLES.iter().find_map(|name| Some((name, read(name).filter(|text| !text.is_empty())?)));
    let Some((name, text)) = set else { return (EnvFilter::new(FILTER), None) };
    match EnvFilter::try_new(&text) {
        Ok(filter) => (filter, None),
        Err(problem) => {
            (EnvFilter::new(FILTER), Some(format!("{name} is no filter for the log ({problem})")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_counts() {
        let check = |hansa: Option<&str>, rust: Option<&str>, expected: &str| {
            let read = |name: &str| if name == "HANSA_LOG" { hansa } else { rust }.map(str::to_owned);
            assert_eq!(filter(read).0.to_string(), EnvFilter::new(expected).to_string());
        };
        check(None, None, FILTER);
        check(Some("debug"), Some("trace"), "debug");
        check(Some(""), Some("trace"), "trace");
        let (_, problem) = filter(|_| Some("hansa=loud".to_owned()));
        assert!(problem.unwrap().starts_with("HANSA_LOG"));
    }
}
