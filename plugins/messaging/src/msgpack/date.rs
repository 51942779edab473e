//! Writes dates as JavaScript does.

use std::fmt::Write;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The limit of JavaScript's dates, in milliseconds before and after 1970.
const DATE_MS_MAX: f64 = 8.64e15;

/// Appends a date, in milliseconds since 1970, as `JSON.stringify` does: `Date.prototype.toISOString` in quotes, or
/// null for an invalid date.
pub(super) fn push(out: &mut String, millis: f64) {
    let millis = millis.trunc();
    // NaN is in no range.
    if !(-DATE_MS_MAX..=DATE_MS_MAX).contains(&millis) {
        return out.push_str("null");
    }
    let millis = millis as i64;
    let (year, month, day) = civil(millis.div_euclid(DAY_MS));
    let time = millis.rem_euclid(DAY_MS);
    let (hour, minute, second, milli) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60, time % 1000);
    let written = match year {
        0..=9999 => write!(out, "\"{year:04}"),
        _ => write!(out, "\"{year:+07}"),
    };
    written
        .and_then(|()| write!(out, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\""))
        .expect("writing to a string does not fail");
}

/// Converts days since 1970 to year, month and day of the Gregorian calendar.
///
/// It counts in years that begin in March, so that a leap day is the last day of its year, and in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}
