//! With a clock that the tests turn: simulated time, real threads.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;

const ME: ClientKey = ClientKey::V4(1);
const OTHER: ClientKey = ClientKey::V6(1);

fn conf(rps_limit: Option<u64>, rps_per_client: Option<u64>, max_inflight: Option<u32>) -> ShedConf {
    ShedConf { rps_limit, rps_per_client, max_inflight }
}

/// A limiter, and the times since it began.
fn shed(conf: ShedConf) -> (Shed, impl Fn(Duration) -> Instant) {
    let shed = Shed::new(&conf);
    let start = shed.start;
    (shed, move |since| start + since)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Requests of one client, `per_second` evenly over so many seconds: how many were admitted in each tenth of a second.
fn admitted(conf: ShedConf, per_second: u32, seconds: u32) -> Vec<u32> {
    let (shed, at) = shed(conf);
    let mut tenths = vec![0; 10 * seconds as usize];
    for nth in 0..per_second * seconds {
        let since = Duration::from_secs(1) * nth / per_second;
        let held = shed.admit(at(since), ME);
        tenths[since.as_millis() as usize / 100] += u32::from(held.is_ok());
    }
    tenths
}

#[test]
fn above_the_limit_the_admitted_rate_is_the_limit_and_smooth() {
    for limit in [1, 3, 10, 499, 500, 501, 7_000] {
        for factor in [2, 10, 50] {
            let tenths = admitted(conf(Some(limit), None, Some(1)), limit as u32 * factor, 20);
            // The second that was saved up is used up by then.
            let (begun, steady) = tenths.split_at(20);
            let total: u32 = steady.iter().sum();
            assert!(
                (total as f64 - 18.0 * limit as f64).abs() <= 1.0 + 0.01 * total as f64,
                "{limit}: {total} in 18 s"
            );
            let tenth = limit as f64 / 10.0;
            assert!(
                steady.iter().all(|count| (f64::from(*count) - tenth).abs() <= 1.0 + 0.05 * tenth),
                "{limit}: {steady:?}"
            );
            assert!(begun.iter().sum::<u32>() as u64 <= 3 * limit + 1, "{limit}: {begun:?}");
        }
    }
}

#[test]
fn below_the_limit_nobody_is_refused() {
    assert_eq!(admitted(conf(Some(500), Some(500), Some(1)), 495, 10).iter().sum::<u32>(), 4950);
}

#[test]
fn after_a_silence_a_seconds_worth_comes_at_once_and_then_the_rate() {
    let (shed, at) = shed(conf(Some(500), None, None));
    // A tenth of a second is worth 50; what is saved up is never more than a second's worth.
    for (now, wanted) in [(5_000, 500), (5_100, 50), (6_100, 500), (66_100, 500)] {
        let at_once = (0..2_000).filter(|_| shed.admit(at(ms(now)), ME).is_ok()).count();
        assert_eq!(at_once, wanted, "{now}");
        assert_eq!(shed.admit(at(ms(now + 1)), ME).err(), Some(Shedding::Rate));
    }
    for now in (66_102..67_000).step_by(2) {
        assert!(shed.admit(at(ms(now)), ME).is_ok());
        assert!(shed.admit(at(ms(now + 1)), ME).is_err());
    }
}

#[test]
fn a_limit_of_null_is_none() {
    let (shed, at) = shed(conf(None, None, None));
    let all: Vec<_> = (0..10_000).map(|_| shed.admit(at(ms(1)), ME).unwrap()).collect();
    assert_eq!(shed.load(), Load { inflight: 10_000, max: None, finished: 0 });
    drop(all);
    assert_eq!(shed.load(), Load { inflight: 0, max: None, finished: 10_000 });
}

#[test]
fn a_client_over_its_limit_takes_nothing_from_the_others() {
    let (shed, at) = shed(conf(Some(100), Some(10), None));
    let (mut mine, mut others) = (0, 0);
    for tick in 0..10_000 {
        let now = at(ms(5_000 + tick));
        match shed.admit(now, ME) {
            Ok(_) => mine += 1,
            Err(shedding) => assert_eq!(shedding, Shedding::ClientRate),
        }
        if tick % 200 == 0 {
            others += usize::from(shed.admit(now, OTHER).is_ok());
        }
    }
    assert!((100..=112).contains(&mine), "{mine} in 10 s, of which ten at once");
    assert_eq!(others, 50);
}

#[test]
fn of_five_thousand_clients_below_their_limit_none_is_refused() {
    let (shed, at) = shed(conf(None, Some(5), None));
    let refused = (0..60_000_u32).filter(|nth| {
        // Each twice a second, for six seconds.
        shed.admit(at(Duration::from_micros(100) * *nth), ClientKey::V4((nth % 5_000) << 8)).is_err()
    });
    assert_eq!(refused.count(), 0);
}

#[test]
fn what_a_client_did_is_forgotten_after_two_seconds() {
    let (shed, at) = shed(conf(None, Some(3), None));
    for (now, wanted) in [(10_000, 3), (10_999, 0), (11_000, 0), (11_500, 2), (13_000, 3), (15_500, 3), (90_000, 3)] {
        let got = (0..10).filter(|_| shed.admit(at(ms(now)), ME).is_ok()).count();
        assert_eq!(got, wanted, "{now}");
    }
}

#[test]
fn a_place_that_was_left_is_free_once_and_not_again_at_the_end() {
    let (shed, at) = shed(conf(None, None, Some(1)));
    let first = shed.admit(at(ms(0)), ME).unwrap();
    assert!(shed.admit(at(ms(0)), OTHER).is_err());
    first.leave();
    first.leave();
    let second = shed.admit(at(ms(0)), OTHER).unwrap();
    assert!(first.has_left() && !second.has_left());
    drop(first);
    assert_eq!((shed.load().inflight, shed.load().finished), (1, 1));
    drop(second);
    assert_eq!((shed.load().inflight, shed.load().finished), (0, 2));
}

#[test]
fn limits_change_in_place_and_what_was_counted_counts_on() {
    let (shed, at) = shed(conf(Some(10), Some(100), Some(20)));
    let held: Vec<_> = (0..10).map(|_| shed.admit(at(ms(1)), ME).unwrap()).collect();
    assert_eq!(shed.admit(at(ms(1)), ME).err(), Some(Shedding::Rate));
    // A higher rate has no full bucket to begin with.
    shed.set(&conf(Some(1_000), Some(100), Some(20)));
    assert_eq!(shed.admit(at(ms(1)), ME).err(), Some(Shedding::Rate));
    assert!(shed.admit(at(ms(2)), ME).is_ok());
    // Fewer places than are held: nobody loses one, and nobody gets one before there is room.
    shed.set(&conf(None, Some(100), Some(5)));
    assert_eq!(shed.admit(at(ms(3)), ME).err(), Some(Shedding::Inflight));
    assert_eq!(shed.load(), Load { inflight: 10, max: Some(5), finished: 1 });
    drop(held);
    assert!(shed.admit(at(ms(4)), ME).is_ok());
    // The client has had eleven and one.
    shed.set(&conf(None, Some(12), Some(5)));
    assert_eq!(shed.admit(at(ms(5)), ME).err(), Some(Shedding::ClientRate));
    assert!(shed.admit(at(ms(5)), OTHER).is_ok());
}

#[test]
fn a_full_server_counts_nothing_against_the_rates() {
    let (shed, at) = shed(conf(Some(10), Some(10), Some(1)));
    let held = shed.admit(at(ms(1)), ME).unwrap();
    for _ in 0..100 {
        assert_eq!(shed.admit(at(ms(1)), ME).err(), Some(Shedding::Inflight));
    }
    drop(held);
    assert_eq!((0..100).filter(|_| shed.admit(at(ms(1)), ME).is_ok()).count(), 9);
}

#[test]
fn threads_together_get_the_rate_and_never_more_places_than_there_are() {
    const THREADS: u64 = 4;
    let (shed, at) = shed(conf(Some(1_000), Some(900), Some(3)));
    let (micros, got, most) = (AtomicU64::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (shed, at, micros, got, most) = (&shed, &at, &micros, &got, &most);
            scope.spawn(move || {
                loop {
                    // Every ten microseconds: a hundred times the limit, and times that come out of order at every turn of a second.
                    let now = micros.fetch_add(10, Relaxed);
                    if now >= 5_000_000 {
                        return;
                    }
                    let client = if now % 20 == 0 { ME } else { OTHER };
                    let held = shed.admit(at(Duration::from_micros(now.saturating_sub(thread * 30))), client);
                    most.fetch_max(shed.load().inflight, Relaxed);
                    got.fetch_add(u32::from(held.is_ok()), Relaxed);
                }
            });
        }
    });
    let got = got.load(Relaxed);
    assert!((5_900..=6_000).contains(&got), "{got} of 1,000 saved up and 5,000 more");
    assert!((1..=3).contains(&most.load(Relaxed)));
    assert_eq!(shed.load(), Load { inflight: 0, max: Some(3), finished: got });
}

proptest! {
    #[test]
    fn the_rate_is_a_bucket_of_tokens(
        limit in 1_u64..2_000,
        gaps in prop::collection::vec(prop_oneof![0_u64..3_000, 0_u64..3_000_000, 0_u64..3_000_000_000], 1..400),
    ) {
        let (shed, at) = shed(conf(Some(limit), None, None));
        // Tokens in billionths; a second fills the bucket.
        let every = 1_000_000_000 / limit;
        let (mut tokens, mut now) = (1_000_000_000_u64, 0);
        for gap in gaps {
            now += gap;
            tokens = (tokens + gap).min(1_000_000_000);
            let wanted = tokens >= every;
            if wanted {
                tokens -= every;
            }
            prop_assert_eq!(shed.admit(at(Duration::from_nanos(now)), ME).is_ok(), wanted);
        }
    }

    #[test]
    fn places_are_those_held_whatever_is_taken_and_given_back(
        max in 1_u32..20,
        steps in prop::collection::vec(prop_oneof![Just(None), (0_usize..30).prop_map(Some)], 1..300),
    ) {
        let (shed, at) = shed(conf(None, None, Some(max)));
        let (mut held, mut finished) = (Vec::new(), 0);
        for step in steps {
            match step {
                None => match shed.admit(at(ms(1)), ME) {
                    Ok(place) => held.push(place),
                    Err(shedding) => {
                        prop_assert_eq!(shedding, Shedding::Inflight);
                        prop_assert_eq!(held.len(), max as usize);
                    }
                },
                Some(nth) if nth < held.len() => {
                    held.swap_remove(nth);
                    finished += 1;
                }
                Some(_) => {}
            }
            prop_assert_eq!(shed.load(), Load { inflight: held.len() as u32, max: Some(max), finished });
        }
    }
}

proptest! {
    // Each makes the counts of its clients anew, which takes a build without optimization 20 ms.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_client_gets_more_than_twice_its_limit_in_a_second_whatever_the_times(
        limit in 1_u64..50,
        times in prop::collection::vec(0_u64..4_000, 1..2_000),
    ) {
        let (shed, at) = shed(conf(None, Some(limit), None));
        // Nearly in order, as threads come.
        let mut times = times;
        times.sort_unstable();
        times.chunks_mut(2).for_each(<[u64]>::reverse);
        let mut got: Vec<_> = times.into_iter().filter(|now| shed.admit(at(ms(*now)), ME).is_ok()).collect();
        got.sort_unstable();
        for (nth, from) in got.iter().enumerate() {
            let second = got.partition_point(|now| *now < from + 1_000) - nth;
            prop_assert!(second as u64 <= 2 * limit, "{second} from {from}");
        }
    }
}
