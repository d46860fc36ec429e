//! Which object a path names: first the hot set, without an allocation and without waiting; then, off the worker thread, the stores.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use pingora::http::RequestHeader;

use super::blocking::{self, off_worker};
use super::ctx::Ctx;
use super::fail::Refusal;
use super::flight::Flights;
use super::now::Now;
use super::question::{Answer, Asked, Question};
use super::ready::{Presentation, Ready};
use super::route;
use crate::observe::metrics::{CACHE_HITS, CACHE_MISSES, Method, MissCause, Reason};
use crate::rules::encoding::{self, Choice, Coding};
use crate::rules::fields::Fields;
use crate::store::cas::Cas;
use crate::store::decode::{self, Caps};
use crate::store::hot::Hot;
use crate::store::{Body, Object, StoreError};

/// What the edge answers from, whatever the conf says; the packs are in `Now`.
pub struct Stores {
    pub(super) cas: Arc<Cas>,
    pub(super) hot: Hot<Arc<Ready>>,
    pub(super) flights: Flights,
}

impl Stores {
    /// `memory_bytes` bounds the hot set.
    pub fn new(cas: Arc<Cas>, memory_bytes: u64) -> Self {
        Self { cas, hot: Hot::new(memory_bytes), flights: Flights::default() }
    }

    /// The object of a GET or HEAD, if its path is plain, it is in the hot set, still valid, and in a coding the client accepts.
    pub fn hot(&self, now: &Now, request: &RequestHeader, ctx: &mut Ctx) -> Option<Arc<Ready>> {
        if ctx.method == Method::Options {
            return None;
        }
        // A path without escapes is its own key, or the key of nothing. With escapes it could be the key of another resource.
        let path = route::raw_path(request).strip_prefix(b"/").filter(|path| !path.contains(&b'%'))?;
        let has_query = request.raw_path().contains(&b'?');
        let ready = self.held(now, path, &request.headers, has_query, SystemTime::now)?;
        count(&ready, ctx);
        Some(ready)
    }

    /// What the hot set has at `path`, if it may be answered to a GET or HEAD with `fields` as it is. The path has neither its leading slash nor escapes.
    pub fn held(
        &self,
        now: &Now,
        path: &[u8],
        fields: &impl Fields,
        has_query: bool,
        time: impl FnOnce() -> SystemTime,
    ) -> Option<Arc<Ready>> {
        let ready = self.hot.get(path).filter(|ready| now.holds(ready))?;
        let decode = || encoding::choose(fields, ready.coding()) == Choice::Decode;
        if ready.coding() != Coding::Identity && !ready.is_final() && decode() {
            return None;
        }
        if ready.filled.as_ref().is_some_and(|filled| !filled.fresh_for(fields, has_query, time())) {
            return None;
        }
        Some(ready)
    }

    /// The object that the request's `key` names, in a coding the client accepts: of a pack, or a blob by its hash.
    pub async fn find(
        &self,
        now: &Now,
        asked: &Asked<'_>,
        question: Question,
        ctx: &mut Ctx,
    ) -> Result<Arc<Ready>, Refusal> {
        let stored = match self.hot.get(asked.key).filter(|ready| now.holds(ready)) {
            Some(ready) => ready,
            None => self.load(now, asked, question).await?,
        };
        let ready = self.negotiated(now, asked.key, stored, asked.request).await?;
        count(&ready, ctx);
        Ok(ready)
    }

    /// What is stored under the hot set's `key`, or its decoded body where the client doesn't accept the coding.
    pub async fn negotiated(
        &self,
        now: &Now,
        key: &str,
        stored: Arc<Ready>,
        request: &RequestHeader,
    ) -> Result<Arc<Ready>, Refusal> {
        match encoding::choose(&request.headers, stored.coding()) {
            Choice::Decode if !stored.is_final() => self.decoded(now, key, &stored).await.map_err(Refusal::varying),
            Choice::Decode | Choice::AsStored => Ok(stored),
        }
    }

    async fn load(&self, now: &Now, asked: &Asked<'_>, question: Question) -> Result<Arc<Ready>, Refusal> {
        let question = Arc::new(question);
        let load = self.ask(now, asked.key, question.clone());
        // What differs from request to request is nobody else's.
        if question.constant() { self.flights.join(now, asked.key, load).await } else { load.await }
    }

    /// Ask the stores, off the worker thread, and prepare what they find.
    async fn ask(&self, now: &Now, key: &str, question: Arc<Question>) -> Result<Arc<Ready>, Refusal> {
        // Read before the index is: if it changes meanwhile, what we hold is asked for again.
        let source = question.source(&self.cas);
        let (asked, cas) = (question.clone(), self.cas.clone());
        let ready = match blocking::among(&now.settings, question.places(), move || asked.ask(&cas)).await? {
            Answer::Object(object) => {
                let presentation = question.presentation(&now.settings, object.coding);
                Ready::object(now, object, source, presentation)
            }
            Answer::NoContent => Ready::no_content(now, source, question.presentation(&now.settings, Coding::Identity)),
            Answer::Nothing => {
                CACHE_MISSES.inc(MissCause::Absent);
                return Err(Refusal::new(Reason::NotFound));
            }
        };
        let ready = Arc::new(ready.map_err(|error| Refusal::internal(error.to_string()))?);
        if question.constant() {
            self.hot.insert(key, ready.clone(), ready.weight());
        }
        Ok(ready)
    }

    /// The object without its coding, for a client that doesn't accept it: made once, and kept beside the other.
    async fn decoded(&self, now: &Now, key: &str, stored: &Arc<Ready>) -> Result<Arc<Ready>, Refusal> {
        // No key of the index ends so.
        let key = &format!("{key}\0identity");
        if let Some(ready) = self.hot.get(key).filter(|ready| now.holds(ready)) {
            return Ok(ready);
        }
        let decode = async {
            let Some(object) = stored.object.clone() else { return Ok(stored.clone()) };
            let caps = now.settings.decode;
            let object = off_worker(&now.settings, move || decoded_object(object, caps)).await?;
            // Its bytes are made for this answer: ranges of them would not survive a change of decoder.
            let presentation = Presentation { ranges: false, ..stored.presentation.clone() };
            let source = stored.source().clone();
            let ready = match &stored.filled {
                None => Ready::object(now, object, source, presentation),
                Some(filled) => Ready::filled(now, object, source, presentation, filled.clone()),
            };
            let ready = Arc::new(ready.map_err(|error| Refusal::internal(error.to_string()))?);
            self.hot.insert(key, ready.clone(), ready.weight());
            Ok(ready)
        };
        self.flights.join(now, key, decode).await
    }
}

/// Count a hit, and note what is answered.
pub fn count(ready: &Ready, ctx: &mut Ctx) {
    CACHE_HITS.inc(ready.presentation.kind);
    note(ready, ctx);
}

/// Note what is answered, and that it was used.
pub fn note(ready: &Ready, ctx: &mut Ctx) {
    ctx.route = ready.presentation.route;
    ctx.hash = ready.object.as_ref().and_then(|object| object.hash);
    ready.touch();
}

/// Decode a whole object under the caps.
fn decoded_object(object: Object, caps: Caps) -> Result<Object, StoreError> {
    if object.len() > caps.bytes {
        return Err(StoreError::TooLarge("a coded object larger than what may be decoded".into()));
    }
    let body: Bytes = decode::decode(object.coding, &object.read(0..object.len())?, caps)?;
    let hash = blake3::hash(&body);
    Ok(Object {
        body: Body::Whole(body),
        etag: format!("\"b3:{}\"", hash.to_hex()).into(),
        hash: Some(hash),
        coding: Coding::Identity,
        ..object
    })
}
