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

/// Looks at the index for one request: what is replaced between a look and the one at the blob is looked for again.
const LOOKS: usize = 4;

/// A row of the index that answers a request, with the origin's answer where it came from one.
struct Chosen {
    info: ObjectInfo,
    answer: Option<StoredAnswer>,
}

/// What a look came to.
enum Look {
    Found(Arc<Ready>),
    /// Nothing answers the request.
    Nothing,
    /// What the index named was replaced before it could be opened.
    Again,
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
        let answers =
            |ready: &Arc<Ready>| now.holds(ready) && ready.filled.as_ref().is_none_or(|f| f.matches(&request.headers));
        for _ in 0..LOOKS {
            if let Some(ready) = self.hot.get(&hot_key).filter(answers) {
                return Ok(Some(ready));
            }
            match self.look(now, key, request, &base, &hot_key).await? {
                Look::Found(ready) => return Ok(Some(ready)),
                Look::Nothing => return Ok(None),
                Look::Again => {}
            }
        }
        Ok(None)
    }

    /// One look at the index, and at the blob that it names.
    async fn look(
        &self,
        now: &Now,
        key: &FillKey,
        request: &RequestHeader,
        base: &str,
        hot_key: &str,
    ) -> Result<Look, Refusal> {
        // Taken before the index is read: if the path changes meanwhile, what we hold is asked for again.
        let stamp = self.cas.stamp(&key.path);
        let (cas, base) = (self.cas.clone(), base.to_owned());
        // Where an origin has the path too, it is filled anew. Elsewhere a 404 would say that there never was anything, and caches may keep it
        // (RFC 9110 §15.5.5).
        let lost = now.origins.of(&key.path).is_none().then(|| key.path.clone());
        let rows = off_worker(&now.settings, move || {
            let rows = cas.candidates(&base)?;
            match lost {
                Some(path) if rows.is_empty() && cas.is_lost(&path)? => Ok(None),
                _ => Ok(Some(rows)),
            }
        });
        // Told when it was quarantined.
        let Some(rows) = rows.await? else { return Err(Refusal::new(Reason::Corrupt)) };
        let Some(chosen) = choose(rows, &request.headers) else { return Ok(Look::Nothing) };
        if now.lock.as_ref().and_then(|lock| lock.get(&key.path)).is_some_and(|pin| *pin != chosen.info.hash) {
            let imported = chosen.info.pinned;
            return if imported { Err(Refusal::new(Reason::Corrupt)) } else { Ok(Look::Nothing) };
        }
        let row_key = format!("{ASSETS}{}", chosen.info.path);
        let varied = row_key != hot_key;
        let selected = |ready: &Arc<Ready>| ready.filled.as_ref().is_none_or(|f| f.matches(&request.headers));
        if varied && let Some(ready) = self.hot.get(&row_key).filter(|ready| now.holds(ready) && selected(ready)) {
            self.hot.insert(hot_key, ready.clone(), ready.weight());
            return Ok(Look::Found(ready));
        }
        let recency = Some(Arc::new(self.cas.recency(&chosen.info.path)));
        let source = Source::Cas { cas: self.cas.clone(), stamp, recency };
        let joined = self.flights.join(now, &row_key, self.open(now, &row_key, key, chosen, source)).await;
        match joined {
            // Whether it still holds is not asked: it stood in the index after this request came, which is all that a request can ask for. The
            // index may have changed since, and where another process changes it, at any path.
            Ok(ready) if selected(&ready) => {
                if varied {
                    self.hot.insert(hot_key, ready.clone(), ready.weight());
                }
                Ok(Look::Found(ready))
            }
            // Somebody else's look-up opened another generation of the row, for another request; or the blob went when another took its place.
            Ok(_) => Ok(Look::Again),
            Err(refusal) if refusal.reason() == Reason::NotFound => Ok(Look::Again),
            // It is quarantined; where an origin has it, it is filled anew.
            Err(refusal) if refusal.reason() == Reason::Corrupt && now.origins.of(&key.path).is_some() => {
                Ok(Look::Nothing)
            }
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
