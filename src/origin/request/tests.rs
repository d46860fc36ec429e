#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

#[test]
fn a_target_holds_nothing_that_ends_a_request_line() {
    for good in ["/", "/a%20b?c=d%0A", "/a//b/../c", "/:@!$&'()*+,;=-._~"] {
        assert!(checked(good).is_ok(), "{good}");
    }
    for bad in ["", "a", "*", "http://a/", "/a b", "/a\r\nb", "/a\0", "/ü", "/a#b", "/\u{7f}"] {
        assert!(checked(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_name_or_contact_that_no_field_can_hold_is_not_sent() {
    let conf = |contact: &str| OriginsConf {
        origins: Vec::new(),
        name: "edge".into(),
        version: "1".into(),
        contact: Some(contact.into()),
        timeouts: crate::origin::Timeouts {
            connect: Default::default(),
            read: Default::default(),
            total: Default::default(),
            min_rate: None,
        },
        retry: crate::origin::RetryConf {
            base: Default::default(),
            max: Default::default(),
            count: 0,
            jitter: false,
            statuses: Vec::new(),
            timeouts: false,
            budget: 0,
        },
        circuit: crate::origin::CircuitConf { failures: 0, open_for: Default::default() },
        dns_ttl: Default::default(),
        target: |_, _, _| String::new(),
        refuse_address: |_, _| None,
    };
    assert_eq!(Dress::new(&conf("https://a.example/")).user_agent, "svc-edge/1 (+https://a.example/)");
    assert_eq!(Dress::new(&conf("a\r\nb")).user_agent, "svc-edge");
}
