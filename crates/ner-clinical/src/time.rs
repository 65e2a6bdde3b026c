use chrono::{DateTime, NaiveDate, SecondsFormat, TimeZone, Utc};
use std::str::FromStr;

/// When the notes were processed, in UTC to the second.
///
/// FHIR and OMOP both require it. It is the only part of their output that a repeated run changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessedAt(DateTime<Utc>);

impl ProcessedAt {
    /// The current time.
    pub fn now() -> Self {
        Self(DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap_or_default())
    }

    /// From seconds since 1970, as `SOURCE_DATE_EPOCH` holds them; `None` outside the calendar.
    pub fn from_epoch(seconds: i64) -> Option<Self> {
        DateTime::from_timestamp(seconds, 0).map(Self)
    }

    /// As an instant: `2026-07-24T10:00:00Z`.
    pub fn instant(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// As a date of SQL: `2026-07-24`.
    pub(crate) fn date(self) -> String {
        self.0.format("%Y-%m-%d").to_string()
    }

    /// As a timestamp of SQL, in UTC: `2026-07-24 10:00:00`.
    pub(crate) fn date_time(self) -> String {
        self.0.format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Days since 1970-01-01.
    pub(crate) fn days(self) -> i32 {
        // Years that fit `DateTime` have days that fit.
        (self.seconds().div_euclid(86_400)) as i32
    }

    /// Seconds since 1970-01-01.
    pub(crate) const fn seconds(self) -> i64 {
        self.0.timestamp()
    }
}

impl FromStr for ProcessedAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        let instant = || DateTime::parse_from_rfc3339(text).ok().and_then(|time| Self::from_epoch(time.timestamp()));
        instant()
            .or_else(|| date().map(|date| Self(Utc.from_utc_datetime(&date))))
            .ok_or("expected a date or an instant with its zone, as in 2026-07-24 or 2026-07-24T10:00:00Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_instants_are_read() {
        let read = |text: &str| text.parse::<ProcessedAt>().map(ProcessedAt::instant);
        assert_eq!(read("2026-07-24").as_deref(), Ok("2026-07-24T00:00:00Z"));
        assert_eq!(read("2026-07-24T10:00:00.9+02:00").as_deref(), Ok("2026-07-24T08:00:00Z"));
        assert!(read("2026-07-24T10:00:00").is_err() && read("24.7.2026").is_err());
        let before = ProcessedAt::from_epoch(-1).expect("a time");
        assert_eq!((before.days(), before.instant().as_str()), (-1, "1969-12-31T23:59:59Z"));
    }
}
