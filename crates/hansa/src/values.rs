//! Values of options, from text: names, times, counts.

use hansa_types::parse_utc;

/// The last second that RFC 3339 can write.
const TIME_MAX: u64 = 253_402_300_799;

/// A name that an object can have.
pub(crate) fn object_name(text: &str) -> Result<String, String> {
    match hansa_types::name_problem(text) {
        Some(problem) => Err(format!("the name {problem}")),
        None => Ok(text.to_owned()),
    }
}

/// A time that is neither zero, which the chain takes for never, nor in milliseconds.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    let day = || parse_utc(&format!("{text}T00:00:00Z"));
    match text.parse().ok().or_else(|| parse_utc(text)).or_else(day).or_else(|| from_now(text)) {
        Some(0) => Err("0 would be no end; leave the option out for a grant without one".to_owned()),
        Some(seconds) if seconds > TIME_MAX => {
            Err("it is after the year 9999; give seconds, not milliseconds".to_owned())
        }
        Some(seconds) => Ok(seconds),
        None => Err("give a time in UTC as 2027-01-31T12:00:00Z or 2027-01-31, a span from now on as 30d, or Unix seconds"
            .to_owned()),
    }
}

/// A span from now on: a number and one of `s m h d w`, with or without `+`.
fn from_now(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    // `parse` would take a sign.
    let number: u64 = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())??;
    number.checked_mul(seconds)?.checked_add(hansa_node::unix_seconds())
}

/// A number of openings that is not zero, which the chain takes for any number.
pub(crate) fn openings(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => {
            Err("a grant without openings grants nothing; leave the option out for any number of them"
                .to_owned())
        }
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}; give a number from 1 to {}", u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_from_now_on() {
        let now = hansa_node::unix_seconds();
        for (text, seconds) in [("90s", 90), ("2m", 120), ("3h", 10_800), ("+7d", 604_800), ("1w", 604_800)] {
            let at = time(text).unwrap();
            assert!((now + seconds..now + seconds + 60).contains(&at), "{text}: {at}");
        }
    }
}
