//! When to try again, and how long to wait before. Pure: the time that is left and what chance brings are passed in.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::conf::RetryConf;
use crate::rules::date;

/// A Retry-After of more than this many times `retry.max` is not waited for.
const RETRY_AFTER_FACTOR: u32 = 4;

/// How long to wait before try `n` after the first (from 0), or `None` where there is none: the count is used up, the origin asks
/// for a longer wait than we grant, or no time is left. `random` is uniform; `left` is what remains until the deadline of the whole.
pub(super) fn wait(
    conf: &RetryConf,
    n: u32,
    random: u64,
    retry_after: Option<Duration>,
    left: Duration,
) -> Option<Duration> {
    if n >= conf.count {
        return None;
    }
    let asked = retry_after.unwrap_or_default();
    if asked > conf.max.saturating_mul(RETRY_AFTER_FACTOR) {
        return None;
    }
    let wait = backoff(conf, n, random).max(asked);
    (wait < left).then_some(wait)
}

/// `min(max, base·2ⁿ) + U[0, base]`.
fn backoff(conf: &RetryConf, n: u32, random: u64) -> Duration {
    let doubled = conf.base.saturating_mul(2_u32.saturating_pow(n)).min(conf.max);
    if conf.jitter { doubled.saturating_add(share(conf.base, random)) } else { doubled }
}

/// The part of `whole` that `random` picks: 0 at 0, all of it at the greatest.
pub(super) fn share(whole: Duration, random: u64) -> Duration {
    // Sixteen bits are fine enough for a wait, and Duration divides by u32.
    whole.saturating_mul((random >> 48) as u32) / u32::from(u16::MAX)
}

/// The wait that a Retry-After asks for (RFC 9110 §10.2.3): delta-seconds or an HTTP-date, one that has passed being no wait.
/// `None` where it is neither.
pub(super) fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What overflows is longer than anyone waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Some(date::parse(value)?.duration_since(now).unwrap_or_default())
}

/// A number that differs from call to call and process to process: enough for jitter, and for nothing else.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn conf() -> RetryConf {
        RetryConf {
            base: 50 * MS,
            max: 800 * MS,
            count: 8,
            jitter: true,
            statuses: vec![503, 504],
            timeouts: true,
            budget: 20,
        }
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_jitter_adds_at_most_the_base() {
        for (n, ms) in [(0, 50), (1, 100), (2, 200), (3, 400), (4, 800), (5, 800), (7, 800)] {
            assert_eq!(wait(&conf(), n, 0, None, MINUTE), Some(ms * MS), "{n}");
            assert_eq!(wait(&conf(), n, u64::MAX, None, MINUTE), Some((ms + 50) * MS), "{n}");
        }
        let plain = RetryConf { jitter: false, ..conf() };
        assert_eq!(wait(&plain, 2, u64::MAX, None, MINUTE), Some(200 * MS));
    }

    #[test]
    fn there_is_no_try_beyond_the_count_or_the_deadline() {
        assert_eq!(wait(&conf(), 8, 0, None, MINUTE), None);
        assert_eq!(wait(&RetryConf { count: 0, ..conf() }, 0, 0, None, MINUTE), None);
        assert_eq!(wait(&conf(), 0, 0, None, 50 * MS), None);
        assert_eq!(wait(&conf(), 0, 0, None, 51 * MS), Some(50 * MS));
        assert_eq!(wait(&conf(), u32::MAX, 0, None, MINUTE), None);
    }

    #[test]
    fn a_retry_after_is_waited_for_up_to_four_times_the_bound() {
        assert_eq!(wait(&conf(), 0, 0, Some(Duration::from_secs(1)), MINUTE), Some(Duration::from_secs(1)));
        assert_eq!(wait(&conf(), 4, 0, Some(MS), MINUTE), Some(800 * MS), "a shorter one changes nothing");
        assert_eq!(wait(&conf(), 0, 0, Some(3200 * MS), MINUTE), Some(3200 * MS));
        assert_eq!(wait(&conf(), 0, 0, Some(3201 * MS), MINUTE), None);
        assert_eq!(wait(&conf(), 0, 0, Some(Duration::from_secs(1)), Duration::from_secs(1)), None);
        assert_eq!(wait(&conf(), 0, 0, Some(Duration::MAX), MINUTE), None);
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let cases = [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            let got = retry_after(&HeaderValue::from_str(text).unwrap(), now);
            assert_eq!(got, seconds.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderValue::from_bytes(b"\xff").unwrap(), now), None);
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_what_was_asked_for_and_the_deadline(
            n in 0..12_u32, random: u64, asked in proptest::option::of(0..10_000_u64), left in 0..10_000_u64,
        ) {
            let asked = asked.map(Duration::from_millis);
            if let Some(wait) = wait(&conf(), n, random, asked, Duration::from_millis(left)) {
                prop_assert!(wait >= asked.unwrap_or_default());
                prop_assert!(wait >= (50 * MS * 2_u32.pow(n)).min(800 * MS));
                prop_assert!(wait < Duration::from_millis(left));
                prop_assert!(wait <= asked.unwrap_or_default().max(850 * MS));
            }
        }
    }
}
