//! Moments in requests: Unix seconds.

use hansa_api::{Code, Problem};

use super::problem::Refusal;

/// The year 5138 in seconds, and early 1973 in milliseconds.
const SECONDS_MAX: u64 = 100_000_000_000;

/// Refuses what can only be milliseconds, as JavaScript's `Date.now()` gives them.
///
/// # Errors
/// When the moment lies thousands of years ahead.
pub(crate) fn check(field: &str, seconds: u64) -> Result<(), Refusal> {
    if seconds < SECONDS_MAX {
        return Ok(());
    }
    let problem =
        Problem::new(Code::Malformed, format!("`{field}` is {seconds}, which looks like milliseconds"));
    Err(problem.with_hint("Times are Unix seconds: divide by 1000.").into())
}

/// Refuses a moment that has passed by the chain's time.
///
/// # Errors
/// When it is not after `now`.
pub(crate) fn check_ahead(field: &str, seconds: u64, now: u64) -> Result<(), Refusal> {
    if seconds > now {
        return Ok(());
    }
    let message = format!("`{field}` is {seconds}, which has passed: the chain's time is {now}");
    Err(Problem::new(Code::Malformed, message)
        .with_hint("Give a later time, or leave it out for one without end.")
        .into())
}
