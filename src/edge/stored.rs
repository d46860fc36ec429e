//! What the CAS has at a path: an imported object, or what was filled from an origin, in the variant that the request selects (RFC 9111 §4.1).

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use pingora::http::RequestHeader;

use super::blocking::off_worker;
use super::fail::Refusal;
use super::filled::Filled;
use super::lookup::Stores;
use super::now::Now;
use super::ready::{Presentation, Ready, Source};
use super::route::ASSETS;
use crate::fill::FillKey;
use crate::observe::metrics::{HitKind, Reason, Route};
use crate::rules::caching::{self, Freshness, StoredAnswer};
use crate::rules::encoding::Coding;
use crate::store::cas::ObjectInfo;

/// A row of the index that answers a request, with the origin's answer where it came from one.
struct Chosen {
    info: ObjectInfo,
    answer: Option<StoredAnswer>,
}

impl Stores {
    /// The object at `key` that answers `request`, whether it is fresh or not. `Ok(None)` where nothing does, or where what does is not
    /// what a pin asks for, or turned out to be corrupt and was quarantined: it may be filled anew.
    pub async fn stored(
        &self,
        now: &Now,
        key: &FillKey,
        request: &RequestHeader,
    ) -> Result<Option<Arc<Ready>>, Refusal> {
        // The canonical path, so that a plain request finds it without a look at the rest.
        let base = key.base();
        let hot_key = format!("{ASSETS}{base}");
        let answers = |ready: &Arc<Ready>| now.holds(ready) && ready.filled.as_ref().is_none_or(|f| f.matches(request));
        if let Some(ready) = self.hot.get(&hot_key).filter(answers) {
            return Ok(Some(ready));
        }
        // Taken before the index is read: if the path changes meanwhile, what we hold is asked for again.
        let stamp = self.cas.stamp(&key.path);
        let cas = self.cas.clone();
        let rows = off_worker(&now.settings, move || cas.candidates(&base)).await?;
        let Some(chosen) = choose(rows, &request.headers) else { return Ok(None) };
        if now.lock.as_ref().and_then(|lock| lock.get(&key.path)).is_some_and(|pin| *pin != chosen.info.hash) {
            let imported = chosen.info.pinned;
            return if imported { Err(Refusal::new(Reason::Corrupt)) } else { Ok(None) };
        }
        let row_key = format!("{ASSETS}{}", chosen.info.path);
        let varied = row_key != hot_key;
        if varied && let Some(ready) = self.hot.get(&row_key).filter(answers) {
            self.hot.insert(&hot_key, ready.clone(), ready.weight());
            return Ok(Some(ready));
        }
        let recency = Some(Arc::new(self.cas.recency(&chosen.info.path)));
        let source = Source::Cas { cas: self.cas.clone(), stamp, recency };
        let joined = self.flights.join(now, &row_key, self.open(now, &row_key, key, chosen, source)).await;
        match joined {
            // Somebody else's look-up may have opened another generation of the row, for another request.
            Ok(ready) if answers(&ready) => {
                if varied {
                    self.hot.insert(&hot_key, ready.clone(), ready.weight());
                }
                Ok(Some(ready))
            }
            Ok(_) => Ok(None),
            Err(refusal) if refusal.reason() == Reason::NotFound => Ok(None),
            // It is quarantined; where an origin has it, it is filled anew.
            Err(refusal) if refusal.reason() == Reason::Corrupt && now.origins.of(&key.path).is_some() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn open(
        &self,
        now: &Now,
        row_key: &str,
        key: &FillKey,
        chosen: Chosen,
        source: Source,
    ) -> Result<Arc<Ready>, Refusal> {
        let (cas, info) = (self.cas.clone(), chosen.info.clone());
        let object = off_worker(&now.settings, move || cas.object(&info)).await?;
        let object = object.ok_or_else(|| Refusal::new(Reason::NotFound))?;
        let presentation = Presentation {
            route: Route::Asset,
            kind: HitKind::Cas,
            cache_control: now.settings.cache_control.clone(),
            negotiable: object.coding != Coding::Identity,
            ranges: true,
        };
        let ready = match chosen.answer {
            None => Ready::object(now, object, source, presentation),
            Some(answer) => {
                let rules = now.origins.rules(&key.path).1.clone();
                let freshness = Freshness::of(&answer, &rules.caching);
                let no_transform = caching::no_transform(&answer.headers);
                let filled = Filled { info: chosen.info, answer: Arc::new(answer), freshness, no_transform, rules };
                Ready::filled(now, object, source, presentation, filled)
            }
        };
        let ready = Arc::new(ready.map_err(|error| Refusal::internal(error.to_string()))?);
        self.hot.insert(row_key, ready.clone(), ready.weight());
        Ok(ready)
    }
}

/// An imported object before everything else; else the newest answer whose selecting fields match.
fn choose(rows: Vec<ObjectInfo>, request: &HeaderMap) -> Option<Chosen> {
    let mut filled = None;
    for info in rows {
        let Some(extra) = &info.extra else { return Some(Chosen { info, answer: None }) };
        if filled.is_some() {
            continue;
        }
        // What can't be read was written by nobody we know: as good as nothing, and a fill replaces it.
        let Some(answer) = StoredAnswer::decode(extra) else { continue };
        if caching::matches(&answer.vary, request) {
            filled = Some(Chosen { info, answer: Some(answer) });
        }
    }
    filled
}

/// The key of the hot set under which an object stands that a request for `key` found: its row's, so that variants don't meet.
pub fn hot_key<'a>(ready: &Ready, key: &'a str) -> Cow<'a, str> {
    match &ready.filled {
        Some(filled) => format!("{ASSETS}{}", filled.info.path).into(),
        None => key.into(),
    }
}
