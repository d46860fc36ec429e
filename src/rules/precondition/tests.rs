#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use http::{HeaderMap, HeaderValue};

use super::*;

const TAG: &str = r#""b3:aa""#;
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// The tag above, and a modification half a second after `SAME`.
fn validators() -> Validators<'static> {
    let last_modified = UNIX_EPOCH + Duration::from_millis(784_111_777_500);
    Validators { etag: Some(TAG), last_modified: Some(last_modified), origin_date: None }
}

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
}

fn get(lines: &[(HeaderName, &str)]) -> Verdict {
    evaluate(&headers(lines), true, &validators())
}

use Verdict::{Failed, NotModified, Proceed};

#[test]
fn each_condition_alone_answers_as_rfc_9110_13_1_says() {
    let table = [
        // §13.1.1
        (IF_MATCH, "*", Proceed),
        (IF_MATCH, TAG, Proceed),
        (IF_MATCH, r#""x", "b3:aa""#, Proceed),
        (IF_MATCH, r#"W/"b3:aa""#, Failed),
        (IF_MATCH, r#""x""#, Failed),
        (IF_MATCH, "", Failed),
        (IF_MATCH, "b3:aa", Failed),
        (IF_MATCH, r#"*, "x""#, Failed),
        (IF_MATCH, r#""x", *"#, Failed),
        (IF_MATCH, r#"x, "b3:aa""#, Failed),
        // §13.1.2
        (IF_NONE_MATCH, "*", NotModified),
        (IF_NONE_MATCH, TAG, NotModified),
        (IF_NONE_MATCH, r#"W/"b3:aa""#, NotModified),
        (IF_NONE_MATCH, r#",W/"x" ,, W/"b3:aa","#, NotModified),
        (IF_NONE_MATCH, r#""x""#, Proceed),
        (IF_NONE_MATCH, r#""b3:AA""#, Proceed),
        (IF_NONE_MATCH, "", Proceed),
        (IF_NONE_MATCH, "b3:aa", Proceed),
        (IF_NONE_MATCH, r#"w/"b3:aa""#, Proceed),
        (IF_NONE_MATCH, r#""b3:aa", x"#, NotModified),
        (IF_NONE_MATCH, r#"x, "b3:aa""#, Proceed),
        // §13.1.3
        (IF_MODIFIED_SINCE, BEFORE, Proceed),
        (IF_MODIFIED_SINCE, SAME, NotModified),
        (IF_MODIFIED_SINCE, AFTER, NotModified),
        (IF_MODIFIED_SINCE, "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
        (IF_MODIFIED_SINCE, "Sun Nov  6 08:49:37 1994", NotModified),
        (IF_MODIFIED_SINCE, "", Proceed),
        (IF_MODIFIED_SINCE, "1994-11-06T08:49:38Z", Proceed),
        (IF_MODIFIED_SINCE, "784111778", Proceed),
        // §13.1.4
        (IF_UNMODIFIED_SINCE, BEFORE, Failed),
        (IF_UNMODIFIED_SINCE, SAME, Proceed),
        (IF_UNMODIFIED_SINCE, AFTER, Proceed),
        (IF_UNMODIFIED_SINCE, "yesterday", Proceed),
    ];
    for (name, value, expected) in table {
        assert_eq!(get(&[(name.clone(), value)]), expected, "{name}: {value}");
    }
    assert_eq!(get(&[]), Proceed);
}

#[test]
fn the_order_is_that_of_rfc_9110_13_2_2() {
    let table = [
        // If-Match hides If-Unmodified-Since, whatever either says.
        (vec![(IF_MATCH, TAG), (IF_UNMODIFIED_SINCE, BEFORE)], Proceed),
        (vec![(IF_MATCH, r#""x""#), (IF_UNMODIFIED_SINCE, AFTER)], Failed),
        // Both have their say before If-None-Match.
        (vec![(IF_MATCH, r#""x""#), (IF_NONE_MATCH, TAG)], Failed),
        (vec![(IF_MATCH, TAG), (IF_NONE_MATCH, TAG)], NotModified),
        (vec![(IF_UNMODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, TAG)], Failed),
        (vec![(IF_UNMODIFIED_SINCE, AFTER), (IF_NONE_MATCH, TAG)], NotModified),
        (vec![(IF_UNMODIFIED_SINCE, BEFORE), (IF_MODIFIED_SINCE, AFTER)], Failed),
        // If-None-Match hides If-Modified-Since, even when it can't be read.
        (vec![(IF_NONE_MATCH, r#""x""#), (IF_MODIFIED_SINCE, AFTER)], Proceed),
        (vec![(IF_NONE_MATCH, "x"), (IF_MODIFIED_SINCE, AFTER)], Proceed),
        (vec![(IF_NONE_MATCH, ""), (IF_MODIFIED_SINCE, AFTER)], Proceed),
        (vec![(IF_NONE_MATCH, TAG), (IF_MODIFIED_SINCE, BEFORE)], NotModified),
        // An ignored date hides nothing.
        (vec![(IF_UNMODIFIED_SINCE, "x"), (IF_MODIFIED_SINCE, SAME)], NotModified),
    ];
    for (lines, expected) in table {
        assert_eq!(get(&lines), expected, "{lines:?}");
    }
}

#[test]
fn other_methods_know_no_304() {
    let verdict = |lines: &[(HeaderName, &str)]| evaluate(&headers(lines), false, &validators());
    assert_eq!(verdict(&[(IF_NONE_MATCH, TAG)]), Failed);
    assert_eq!(verdict(&[(IF_NONE_MATCH, "*")]), Failed);
    assert_eq!(verdict(&[(IF_NONE_MATCH, r#""x""#)]), Proceed);
    assert_eq!(verdict(&[(IF_MODIFIED_SINCE, AFTER)]), Proceed);
    assert_eq!(verdict(&[(IF_MATCH, r#""x""#)]), Failed);
    assert_eq!(verdict(&[(IF_UNMODIFIED_SINCE, BEFORE)]), Failed);
}

#[test]
fn several_lines_are_one_list_of_tags_but_no_date() {
    assert_eq!(get(&[(IF_NONE_MATCH, r#""x""#), (IF_NONE_MATCH, TAG)]), NotModified);
    assert_eq!(get(&[(IF_MATCH, r#""x""#), (IF_MATCH, TAG)]), Proceed);
    assert_eq!(get(&[(IF_NONE_MATCH, "x"), (IF_NONE_MATCH, TAG)]), Proceed);
    assert_eq!(get(&[(IF_NONE_MATCH, "*"), (IF_NONE_MATCH, TAG)]), Proceed);
    assert_eq!(get(&[(IF_NONE_MATCH, TAG), (IF_NONE_MATCH, "*")]), NotModified);
    assert_eq!(get(&[(IF_MATCH, "*"), (IF_MATCH, "*")]), Failed);
    assert_eq!(get(&[(IF_MODIFIED_SINCE, AFTER), (IF_MODIFIED_SINCE, AFTER)]), Proceed);
    assert_eq!(get(&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_UNMODIFIED_SINCE, BEFORE)]), Proceed);
}

#[test]
fn a_representation_without_a_validator_matches_only_the_star() {
    let nothing = Validators::default();
    let verdict = |name: HeaderName, value: &str| evaluate(&headers(&[(name, value)]), true, &nothing);
    assert_eq!(verdict(IF_MATCH, "*"), Proceed);
    assert_eq!(verdict(IF_MATCH, TAG), Failed);
    assert_eq!(verdict(IF_NONE_MATCH, "*"), NotModified);
    assert_eq!(verdict(IF_NONE_MATCH, TAG), Proceed);
    // §13.1.3 and §13.1.4: no modification date, no condition.
    assert_eq!(verdict(IF_MODIFIED_SINCE, AFTER), Proceed);
    assert_eq!(verdict(IF_UNMODIFIED_SINCE, BEFORE), Proceed);
    let ancient = Validators { last_modified: Some(UNIX_EPOCH - Duration::from_secs(1)), ..nothing };
    assert_eq!(evaluate(&headers(&[(IF_MODIFIED_SINCE, AFTER)]), true, &ancient), Proceed);
}

#[test]
fn if_range_holds_by_strong_comparison_alone() {
    let holds = |value: &str| if_range_holds(&headers(&[(IF_RANGE, value)]), &validators());
    assert!(if_range_holds(&HeaderMap::new(), &validators()));
    assert!(holds(TAG));
    for value in [r#"W/"b3:aa""#, r#""x""#, "*", "", "b3:aa", r#""b3:aa", "x""#, r#""b3:aa","#, BEFORE, SAME, AFTER] {
        assert!(!holds(value), "{value}");
    }
    assert!(!if_range_holds(&headers(&[(IF_RANGE, TAG), (IF_RANGE, TAG)]), &validators()));
    assert!(!if_range_holds(&headers(&[(IF_RANGE, TAG)]), &Validators::default()));
    let weak = Validators { etag: Some(r#"W/"b3:aa""#), ..validators() };
    assert!(!if_range_holds(&headers(&[(IF_RANGE, r#"W/"b3:aa""#)]), &weak));
}

#[test]
fn a_date_in_if_range_holds_only_where_rfc_9110_8_8_2_2_calls_it_strong() {
    let modified = 784_111_777;
    let holds = |value: &str, sent: u64| {
        let origin_date = Some(UNIX_EPOCH + Duration::from_secs(sent));
        if_range_holds(&headers(&[(IF_RANGE, value)]), &Validators { origin_date, ..validators() })
    };
    assert!(holds(SAME, modified + 60));
    assert!(holds("Sun Nov  6 08:49:37 1994", modified + 86_400));
    assert!(!holds(SAME, modified + 59));
    assert!(!holds(SAME, modified));
    assert!(!holds(SAME, modified - 1));
    assert!(!holds(BEFORE, modified + 60));
    assert!(!holds(AFTER, modified + 60));
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    let known = ["*", TAG, r#"W/"b3:aa""#, r#""x""#, "", BEFORE, SAME, AFTER, "x", r#""x", "b3:aa""#];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(Vec::from), 1 => any::<Vec<u8>>()]
}

proptest! {
    #[test]
    fn any_mix_of_lines_is_judged_without_a_panic_and_304_needs_get_or_head(
        lines in prop::collection::vec((0_usize..5, values()), 0..7),
        get_or_head: bool,
    ) {
        let names = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(names[name].clone(), value);
            }
        }
        let verdict = evaluate(&headers, get_or_head, &validators());
        prop_assert!(get_or_head || verdict != NotModified);
        // A 304 without a tag or a date to justify it would make a client keep what it never had.
        if verdict == NotModified {
            prop_assert!(headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE));
        }
        if verdict == Failed && get_or_head {
            prop_assert!(headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE));
        }
        if if_range_holds(&headers, &validators()) && headers.contains_key(IF_RANGE) {
            prop_assert_eq!(headers.get(IF_RANGE).unwrap().as_bytes(), TAG.as_bytes());
        }
    }
}
