//! Unix seconds as people read them: RFC 3339 in UTC.
//!
//! The proleptic Gregorian calendar without leap seconds, years 1970 to 9999. No clock is read here.

const DAY: u64 = 86_400;
/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Unix seconds as `2026-11-28T23:06:23Z`; a time after the year 9999 as its bare number.
pub fn utc(seconds: u64) -> String {
    if seconds > LAST {
        return seconds.to_string();
    }
    let (year, month, day) = civil(seconds / DAY);
    let rest = seconds % DAY;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Reads what [`utc`] writes; `None` for anything else, also for a day that does not exist.
pub fn parse_utc(text: &str) -> Option<u64> {
    let field = |from: usize, to: usize| -> Option<u64> {
        text.get(from..to).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    };
    let days = days(field(0, 4)?, field(5, 7)?, field(8, 10)?)?;
    let of_day = field(11, 13)?
        .checked_mul(3_600)?
        .checked_add(field(14, 16)?.checked_mul(60)?)?
        .checked_add(field(17, 19)?)?;
    let seconds = days.checked_mul(DAY)?.checked_add(of_day)?;
    // The one comparison that finds every other form, month, day and hour that does not exist.
    (utc(seconds) == text).then_some(seconds)
}

/// Year, month and day of a day since 1970-01-01: `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level
/// Date Algorithms". The calendar's year begins in March there, so that the leap day is the last of it.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let corrected = of_era
        .saturating_sub(of_era / 1_460)
        .saturating_add(of_era / 36_524)
        .saturating_sub(of_era / 146_096);
    let year_of_era = corrected / 365;
    let before =
        year_of_era.saturating_mul(365).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let of_year = of_era.saturating_sub(before);
    let march = of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = of_year.saturating_sub(march.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = if march < 10 { march.saturating_add(3) } else { march.saturating_sub(9) };
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add((month <= 2) as u64);
    (year, month, day)
}

/// The day since 1970-01-01: `days_from_civil` of the same source. `None` before 1970.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let march = if month > 2 { month.checked_sub(3)? } else { month.checked_add(9)? };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = march.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?.checked_sub(1)?;
    let day_of_era =
        of_era.checked_mul(365)?.checked_add(of_era / 4)?.checked_sub(of_era / 100)?.checked_add(of_year)?;
    era.checked_mul(146_097)?.checked_add(day_of_era)?.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_seconds_and_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (1_795_252_462, "2026-11-21T09:14:22Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!((utc(seconds).as_str(), parse_utc(text)), (text, Some(seconds)));
        }
        assert_eq!(utc(LAST + 1), (LAST + 1).to_string());
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097 + 366 {
            assert_eq!(parse_utc(&utc(day * DAY + 86_399)), Some(day * DAY + 86_399), "{day}");
        }
    }

    #[test]
    fn other_forms_and_days_that_do_not_exist_are_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14 22:13:20Z",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20+01:00",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "0000-01-01T00:00:00Z",
            "+023-01-01T00:00:00Z",
            "2023-01-01T00:00:00Zzz",
            "2o23-01-01T00:00:00Z",
            "ü023-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }
}
