//! The body of a refusal: `application/problem+json` (RFC 9457). Which refusal there is, and when, stands in one table
//! elsewhere.

use serde::Serialize;

/// The media type of the body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What each type's URI begins with; the reason follows. It is a name to compare, not a place to fetch from.
const TYPE_PREFIX: &str = "urn:svc-edge:";

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    reason: &'a str,
    instance: &'a str,
}

/// The body for a `status` with its `reason` (a word of the closed set, as in `X-Reason`), its `title` (one line for
/// people, the same each time the reason comes) and its `instance` (the request's correlation id). Whatever the texts
/// hold, it is valid JSON.
pub fn body(status: u16, reason: &str, title: &str, instance: &str) -> Vec<u8> {
    let r#type = &format!("{TYPE_PREFIX}{reason}");
    let problem = Problem { r#type, title, status, reason, instance };
    serde_json::to_vec(&problem).expect("a struct of strings and a number is always JSON")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_our_reason() {
        let body = body(429, "rate_limit", "Too many requests", "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        let expected = concat!(
            r#"{"type":"urn:svc-edge:rate_limit","title":"Too many requests","status":429,"#,
            r#""reason":"rate_limit","instance":"01ARZ3NDEKTSV4RRFFQ69G5FAV"}"#
        );
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn whatever_the_texts_hold_the_body_is_json_that_says_it(
            status: u16,
            reason: String,
            title: String,
            instance: String,
        ) {
            let body = body(status, &reason, &title, &instance);
            prop_assert!(!body.iter().any(|byte| *byte < 0x20));
            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let expected = serde_json::json!({
                "type": format!("urn:svc-edge:{reason}"),
                "title": title,
                "status": status,
                "reason": reason,
                "instance": instance,
            });
            prop_assert_eq!(read, expected);
        }
    }
}
