//! `Cache-Status` (RFC 9211): how an answer came about, in one member of a list. Nothing of a client's request and nothing
//! of an origin's answer but its status ever stands in it.

use std::fmt;

use http::HeaderValue;

/// The name of this cache in the field.
const NAME: &str = "svc-edge";

/// Why a request went to an origin (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The conf does not let such a request be answered from the store.
    Bypass,
    /// Its method does not.
    Method,
    /// Nothing is stored for its target.
    UriMiss,
    /// What is stored for its target is for other selecting header fields.
    VaryMiss,
    /// Nothing stored could be selected.
    Miss,
    /// Something fresh is stored, but the request does not want it.
    Request,
    /// What is stored is stale, or must be validated.
    Stale,
    /// Only a part is stored.
    Partial,
}

impl Forward {
    /// The token of the `fwd` parameter.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    hit: bool,
    forward: Option<Forward>,
    forward_status: Option<u16>,
    ttl: Option<i64>,
    stored: bool,
    collapsed: bool,
    detail: Option<&'static str>,
}

impl CacheStatus {
    /// From what is stored, without asking an origin (§2.1).
    pub const fn hit() -> Self {
        Self { hit: true, ..Self::neither() }
    }

    /// By asking an origin (§2.2).
    pub const fn forward(forward: Forward) -> Self {
        Self { forward: Some(forward), ..Self::neither() }
    }

    /// Neither: made by the edge itself.
    pub const fn neither() -> Self {
        Self {
            hit: false,
            forward: None,
            forward_status: None,
            ttl: None,
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    /// With the seconds that the answer stays fresh, negative if it is stale (§2.4).
    pub const fn ttl(self, seconds: i64) -> Self {
        Self { ttl: Some(seconds), ..self }
    }

    /// With the status of the origin's answer (§2.3).
    pub const fn forward_status(self, status: u16) -> Self {
        Self { forward_status: Some(status), ..self }
    }

    /// The answer is stored, or will be if it completes (§2.5).
    pub const fn stored(self, stored: bool) -> Self {
        Self { stored, ..self }
    }

    /// The request waited for another one's answer (§2.6).
    pub const fn collapsed(self, collapsed: bool) -> Self {
        Self { collapsed, ..self }
    }

    /// With a word of ours (§2.8).
    pub const fn detail(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// The member as a field value. What only belongs to a forwarded request is left out of others (§2.3, §2.5, §2.6).
    pub fn value(&self) -> HeaderValue {
        // The name and words are ours; should one of them be no field value, the name alone still says who answered.
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static(NAME))
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(NAME)?;
        if self.hit {
            to.write_str("; hit")?;
        }
        if let Some(forward) = self.forward {
            write!(to, "; fwd={}", forward.token())?;
            if let Some(status) = self.forward_status {
                write!(to, "; fwd-status={status}")?;
            }
        }
        if let Some(ttl) = self.ttl {
            // An Integer of a structured field has at most 15 digits (RFC 9651 §3.3.1).
            const MOST: i64 = 999_999_999_999_999;
            write!(to, "; ttl={}", ttl.clamp(-MOST, MOST))?;
        }
        if self.forward.is_some() && self.stored {
            to.write_str("; stored")?;
        }
        if self.forward.is_some() && self.collapsed {
            to.write_str("; collapsed")?;
        }
        match self.detail {
            Some(detail) => write!(to, "; detail={detail}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_way_to_an_answer_has_its_member() {
        let table = [
            (CacheStatus::hit().ttl(30).detail("cas"), "svc-edge; hit; ttl=30; detail=cas"),
            (CacheStatus::hit().ttl(-5), "svc-edge; hit; ttl=-5"),
            (
                CacheStatus::forward(Forward::Miss).forward_status(200).stored(true).collapsed(true),
                "svc-edge; fwd=miss; fwd-status=200; stored; collapsed",
            ),
            (CacheStatus::forward(Forward::Stale).forward_status(304), "svc-edge; fwd=stale; fwd-status=304"),
            (
                CacheStatus::forward(Forward::Stale).forward_status(503).ttl(-90).detail("stale_if_error"),
                "svc-edge; fwd=stale; fwd-status=503; ttl=-90; detail=stale_if_error",
            ),
            (CacheStatus::forward(Forward::Bypass), "svc-edge; fwd=bypass"),
            (CacheStatus::neither().detail("not_found"), "svc-edge; detail=not_found"),
            (CacheStatus::neither(), "svc-edge"),
            (CacheStatus::hit().forward_status(200).stored(true).collapsed(true), "svc-edge; hit"),
            (CacheStatus::hit().ttl(i64::MIN), "svc-edge; hit; ttl=-999999999999999"),
        ];
        for (status, expected) in table {
            assert_eq!(status.value(), expected);
        }
    }

    #[test]
    fn a_reason_to_forward_is_a_token_of_rfc_9211() {
        let all = [
            Forward::Bypass,
            Forward::Method,
            Forward::UriMiss,
            Forward::VaryMiss,
            Forward::Miss,
            Forward::Request,
            Forward::Stale,
            Forward::Partial,
        ];
        let registered = ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"];
        assert_eq!(all.map(Forward::token), registered);
    }

    proptest! {
        #[test]
        fn a_member_is_a_structured_item_with_parameters(
            hit: bool, status in 100..600_u16, ttl: i64, stored: bool, collapsed: bool,
        ) {
            let made = if hit { CacheStatus::hit() } else { CacheStatus::forward(Forward::UriMiss) };
            let value = made.forward_status(status).ttl(ttl).stored(stored).collapsed(collapsed).detail("cas").value();
            // An item with parameters is what stands behind the `=` of a Dictionary's member.
            let mut dictionary = b"a=".to_vec();
            dictionary.extend(value.as_bytes());
            let mut members = 0;
            prop_assert!(crate::rules::structured::dictionary([&dictionary[..]], |_, _| members += 1).is_ok());
            prop_assert_eq!(members, 1);
        }
    }
}
