//! Days of the Gregorian calendar, for the end of a waiver. No clock: who needs today's passes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A day, as waivers write it: `YYYY-MM-DD`. Ordered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    year: u32,
    month: u32,
    day: u32,
}

impl Day {
    /// Parse `YYYY-MM-DD`; nothing where that is no day.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let separated = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
        let number = |range| {
            let part: &str = text.get(range)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok())?
        };
        let day = Self { year: number(0..4)?, month: number(5..7)?, day: number(8..10)? };
        (separated && (1..=12).contains(&day.month) && (1..=days_of(day.year, day.month)).contains(&day.day))
            .then_some(day)
    }

    /// The day of `time` in UTC; of a time before 1970, the first of that year.
    pub fn of(time: SystemTime) -> Self {
        let mut left = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / 86_400;
        let (mut year, mut month) = (1970, 1);
        loop {
            let days = u64::from(days_of(year, month));
            if left < days {
                // Under 31.
                return Self { year, month, day: left as u32 + 1 };
            }
            left -= days;
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        }
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_day_is_written_in_one_way_and_must_exist() {
        for good in ["2026-11-23", "2024-02-29", "2000-02-29", "1970-01-01"] {
            assert_eq!(Day::parse(good).unwrap().to_string(), good);
        }
        let bad = [
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-1-1",
            "23.11.2026",
            "",
            "2026-11-+3",
            "2026-11-2é",
        ];
        for bad in bad {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_have_the_days_of_the_calendar() {
        // Of `date -u -d @SECONDS +%F`.
        for (seconds, day) in
            [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (951_868_800, "2000-03-01"), (1_795_478_399, "2026-11-23")]
        {
            assert_eq!(Day::of(UNIX_EPOCH + Duration::from_secs(seconds)).to_string(), day);
        }
    }

    #[test]
    fn days_are_ordered_in_time() {
        let days = ["2025-12-31", "2026-01-01", "2026-01-31", "2026-02-01"].map(|text| Day::parse(text).unwrap());
        assert!(days.is_sorted());
    }
}
