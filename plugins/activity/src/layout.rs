//! Where the files of a table are: `<topic>/dt=YYYY-MM-DD/hour=HH/shard=<shard>/<first row>.parquet`.

use greyhound_sdk::Shard;
use serde::{Deserialize, Serialize};
use std::time::{Duration, UNIX_EPOCH};

/// Microseconds of an hour.
pub const HOUR_US: i64 = 3_600_000_000;

/// An hour: hours since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hour(pub i64);

impl Hour {
    /// The hour of a time in microseconds since 1970 UTC.
    #[must_use]
    pub fn of(time: i64) -> Self {
        Self(time.div_euclid(HOUR_US))
    }

    /// Its day's directory: `dt=YYYY-MM-DD`.
    #[must_use]
    pub fn day(self) -> String {
        format!("dt={}", &self.text()[..10])
    }

    /// Its own directory, within the day's: `hour=HH`.
    #[must_use]
    pub fn name(self) -> String {
        format!("hour={}", &self.text()[11..13])
    }

    fn text(self) -> String {
        let seconds = u64::try_from(self.0).unwrap_or(0) * 3600;
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    }
}

/// The directory of a shard's files of one hour, below the root of the tables.
#[must_use]
pub fn directory(topic: &str, hour: Hour, shard: &Shard) -> String {
    format!("{topic}/{}/{}/shard={shard}", hour.day(), hour.name())
}

/// The name of the file that begins with the row `first`.
#[must_use]
pub fn file_name(first: u64) -> String {
    format!("{first:020}.parquet")
}

/// The first row of a file, if its name is one that [`file_name`] makes.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".parquet")?.parse().ok()?;
    (file_name(first) == name).then_some(first)
}

/// The hour of `dt=YYYY-MM-DD` and `hour=HH`.
pub(crate) fn parse(day: &str, hour: &str) -> Option<Hour> {
    let text = format!("{}T{}:00:00Z", day.strip_prefix("dt=")?, hour.strip_prefix("hour=")?);
    let time = humantime::parse_rfc3339(&text).ok()?;
    let seconds = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(Hour(i64::try_from(seconds / 3600).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_found_in_its_directory() {
        let hour = Hour(494_000);
        let path = directory("t", hour, &Shard::new("n", 1));
        assert_eq!(path, "t/dt=2026-05-10/hour=08/shard=n-00000001");
        assert_eq!(parse("dt=2026-05-10", "hour=08"), Some(hour));
        assert_eq!(parse("dt=x", "hour=08"), None);
    }
}
