//! The time of a request, by one look at a clock.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::rules::date;

/// How long the time of day is taken to go on with the monotonic clock: then it is asked again, as it may have been set.
const STEADY: Duration = Duration::from_secs(1);

/// Bytes of an IMF-fixdate (RFC 9110 §5.6.7).
const DATE: usize = 29;

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the clock that only goes on.
    pub instant: Instant,
    /// The time of day, at most a second behind a change of it.
    pub wall: SystemTime,
}

/// What a thread knows of the time of day.
struct Known {
    /// When both clocks were asked.
    at: Moment,
    /// The second that `date` names.
    second: u64,
    date: [u8; DATE],
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let instant = Instant::now();
        KNOWN.with_borrow_mut(|known| {
            if let Some(known) = known
                && let since = instant.saturating_duration_since(known.at.instant)
                && since < STEADY
            {
                return Self { instant, wall: known.at.wall + since };
            }
            let at = Self { instant, wall: SystemTime::now() };
            match known {
                Some(known) => known.at = at,
                None => *known = Some(Known { at, second: u64::MAX, date: [b' '; DATE] }),
            }
            at
        })
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(&self) -> u64 {
        let since = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Append it as an HTTP-date, which is written once a second; nothing for a time that such a date can't name.
    pub fn write_date(&self, to: &mut Vec<u8>) {
        let Some(second) = date::seconds(self.wall) else { return };
        KNOWN.with_borrow_mut(|known| {
            let Some(known) = known else { return };
            if known.second != second {
                let text = date::format(self.wall).unwrap_or_default();
                let Ok(text) = text.as_bytes().try_into() else { return };
                (known.second, known.date) = (second, text);
            }
            to.extend_from_slice(&known.date);
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_time_of_day_goes_on_and_is_written_as_a_date() {
        let (before, moment) = (SystemTime::now(), Moment::now());
        let behind = before.duration_since(moment.wall).unwrap_or_default();
        assert!(behind < STEADY * 2, "{behind:?}");
        let mut text = Vec::new();
        moment.write_date(&mut text);
        let later = Moment { wall: moment.wall + Duration::from_secs(86_400), ..moment };
        later.write_date(&mut text);
        moment.write_date(&mut text);
        let dates: Vec<_> = text.chunks(DATE).map(|date| date::parse_bytes(date).unwrap()).collect();
        assert_eq!(dates[0], dates[2]);
        assert_eq!(dates[1].duration_since(dates[0]).unwrap(), Duration::from_secs(86_400));
        assert_eq!(date::seconds(dates[0]), date::seconds(moment.wall));
        assert_eq!(moment.millis() / 1000, date::seconds(moment.wall).unwrap());
    }
}
