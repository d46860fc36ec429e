//! HTTP-dates (RFC 9110 §5.6.7): whole seconds between 1970 and 9999, in the three forms and in no other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// The first second after the last one that an HTTP-date can name: 10000-01-01T00:00:00Z, in seconds since the Unix
/// epoch.
const END: u64 = 253_402_300_800;

/// The date in a field value; `None` where it is none. Two-digit years of the obsolete RFC 850 form below 70 are of
/// this century.
pub fn parse(value: &HeaderValue) -> Option<SystemTime> {
    parse_bytes(value.as_bytes())
}

/// As [`parse`].
pub fn parse_bytes(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

/// `time` as an IMF-fixdate, its fraction of a second cut off; `None` where an HTTP-date can't name it (a file may well
/// claim to be from before 1970 or after 9999).
pub fn format(time: SystemTime) -> Option<String> {
    Some(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds(time)?)))
}

/// Seconds since the Unix epoch, the fraction cut off; `None` where an HTTP-date can't name the time.
/// Dates are compared by this, since that is all that a client can have seen of them.
pub fn seconds(time: SystemTime) -> Option<u64> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (seconds < END).then_some(seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_three_forms_of_a_date_are_one_instant() {
        let forms = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for form in forms {
            assert_eq!(parse(&HeaderValue::from_static(form)), Some(at(784_111_777)), "{form}");
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        let others = [
            "",
            "0",
            "784111777",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ];
        for other in others {
            assert_eq!(parse(&HeaderValue::from_static(other)), None, "{other}");
        }
        assert_eq!(parse(&HeaderValue::from_bytes(b"Sun, 06 Nov 1994 08:49:37 GMT\xff").unwrap()), None);
    }

    #[test]
    fn a_time_that_no_date_names_is_not_written() {
        assert_eq!(format(UNIX_EPOCH - Duration::from_nanos(1)), None);
        assert_eq!(format(at(END)), None);
        assert_eq!(format(at(END - 1)).as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
        assert_eq!(format(UNIX_EPOCH).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_to_the_second(second in 0..END, nanos in 0..1_000_000_000_u32) {
            let time = at(second) + Duration::from_nanos(nanos.into());
            let written = HeaderValue::try_from(format(time).unwrap()).unwrap();
            prop_assert_eq!(parse(&written), Some(at(second)));
        }

        #[test]
        fn arbitrary_values_never_panic(
            bytes: Vec<u8>,
            text in "[MTWFS][a-z]{2,8},? ?[0-9 -]{0,4}[A-Za-z -]{0,6}[0-9: GMT]{0,20}",
        ) {
            for bytes in [bytes, text.into_bytes()] {
                let time = HeaderValue::from_bytes(&bytes).ok().and_then(|value| parse(&value));
                prop_assert!(time.is_none_or(|time| seconds(time).is_some()));
            }
        }
    }
}
