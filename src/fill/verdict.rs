//! What is to be done with an answer, by its header.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, LAST_MODIFIED};
use http::{HeaderMap, Method, StatusCode};

use super::fetch::Head;
use super::key::FillKey;
use super::{Ask, Fills, OriginRules, Stale};
use crate::rules::caching::{self, Exchange, Freshened, Freshness, RequestDirectives, StoredAnswer, Why};
use crate::rules::encoding::{self, Coding};
use crate::rules::{asset_key, date, media_type};
use crate::store::cas::Meta;

/// Bytes of a query that a key may have: the store takes 8 KiB behind a path, a variant among them.
const MAX_QUERY: usize = 8 * 1024 - 64;

/// What an answer is to the fill that asked for it.
pub(super) enum Verdict {
    /// What is stored is still right; `extra` is to be kept of it from now on.
    Freshened { extra: Vec<u8> },
    /// A 304 that helps nobody: ask again, without conditions. Whether what is stored has to go.
    AskAgain { drop: bool },
    /// Store it.
    Store(Box<Storable>),
    /// It may not be stored; why, in a word, and whether it will be said again.
    Pass { why: &'static str, lasting: bool },
}

/// An answer that will be stored, if it completes.
pub(super) struct Storable {
    pub answer: StoredAnswer,
    pub meta: Meta,
    /// Where it is stored.
    pub key: FillKey,
}

impl Fills {
    /// Judge an answer by its header. `conditional`: the request had conditions, so that a 304 can answer it.
    pub(super) fn verdict(&self, ask: &Ask, head: &Head, conditional: bool) -> Verdict {
        let Some(origin) = self.conf.origins.get(ask.origin) else {
            return Verdict::Pass { why: "no_origin", lasting: false };
        };
        let exchange = Exchange {
            method: &Method::GET,
            request: &ask.request,
            // A client that wants nothing stored is not let join: its answer passes through.
            directives: RequestDirectives::none(),
            forwarded: &origin.forward,
            status: head.status.as_u16(),
            response: &head.headers,
            request_time: head.request_time,
            response_time: head.response_time,
        };
        if let (true, StatusCode::NOT_MODIFIED, Some(stale)) = (conditional, head.status, &ask.stale) {
            return freshened(&stale.answer, &exchange, origin);
        }
        self.storable(ask, head, &exchange, origin)
            .unwrap_or_else(|why| Verdict::Pass { why, lasting: lasts(head, why) })
    }

    fn storable(
        &self,
        ask: &Ask,
        head: &Head,
        exchange: &Exchange<'_>,
        origin: &OriginRules,
    ) -> Result<Verdict, &'static str> {
        if stands_in(ask, head, origin) {
            return Err("stale_if_error");
        }
        if !head.framed {
            return Err("unframed");
        }
        if head.length.is_some_and(|length| length > self.conf.max_object_bytes) {
            return Err("too_large");
        }
        if is_about_the_request(head.status) {
            return Err(OF_THIS_REQUEST);
        }
        let coding = encoding::of(&head.headers).ok_or("coding")?;
        if asset_key::check(&ask.key.path).is_err()
            || ask.key.query.as_ref().is_some_and(|query| query.len() > MAX_QUERY)
        {
            return Err("key");
        }
        let answer = caching::storable(exchange, &origin.caching).map_err(Why::as_str)?;
        let extra = answer.encode().map_err(Why::as_str)?;
        let variant = (!answer.vary.is_empty()).then(|| answer.vary.clone());
        let key = FillKey { variant, ..ask.key.clone() };
        let meta = meta(&head.headers, coding, extra);
        Ok(Verdict::Store(Box::new(Storable { answer, meta, key })))
    }
}

/// Why an answer is not stored that speaks of one request.
const OF_THIS_REQUEST: &str = "of_this_request";

/// Whether a status may speak of this one request rather than of what was asked for: of a field that a client wrote and that went along. What one
/// client provokes must not be another one's answer, whatever the origin says of its freshness.
fn is_about_the_request(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 406 | 408 | 412..=417 | 421 | 425 | 426 | 428 | 429 | 431 | 508)
}

/// Whether what is stored may still stand in for this answer, an error (RFC 5861 §4): however fresh the error says it is, it does not take its
/// place. What the one request permits or forbids beside that is for the edge to see.
fn stands_in(ask: &Ask, head: &Head, origin: &OriginRules) -> bool {
    let Some(Stale { answer, .. }) = &ask.stale else { return false };
    let freshness = Freshness::of(answer, &origin.caching);
    caching::is_error(head.status.as_u16())
        && !caching::is_error(answer.status)
        && caching::stale_if_error(&freshness, &RequestDirectives::none(), head.response_time)
}

fn freshened(stored: &StoredAnswer, exchange: &Exchange<'_>, origin: &OriginRules) -> Verdict {
    match caching::freshen(stored, exchange, &origin.caching) {
        Freshened::Update(answer) => match answer.encode() {
            Ok(extra) => Verdict::Freshened { extra },
            Err(_) => Verdict::AskAgain { drop: true },
        },
        // It may be answered with and not kept; the store has nothing that lasts for one answer.
        Freshened::Unstorable(_, why) => {
            Verdict::AskAgain { drop: !matches!(why, Why::RequestNoStore | Why::Authorization) }
        }
        Freshened::Mismatch => Verdict::AskAgain { drop: false },
    }
}

/// Whether the next answer is likely to be as unstorable as this one. A failure passes, and what the request forbade is its own affair.
fn lasts(head: &Head, why: &str) -> bool {
    let failed = head.status.is_server_error() || head.status == StatusCode::TOO_MANY_REQUESTS;
    let own = [Why::RequestNoStore.as_str(), Why::Authorization.as_str(), OF_THIS_REQUEST].contains(&why);
    !failed && !own
}

fn meta(headers: &HeaderMap, coding: Coding, extra: Vec<u8>) -> Meta {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Meta {
        pinned: false,
        content_type: text.map_or(Cow::Borrowed(media_type::DEFAULT), |text| text.to_owned().into()),
        coding,
        last_modified: headers.get(LAST_MODIFIED).and_then(date::parse),
        extra: Some(extra.into()),
    }
}
