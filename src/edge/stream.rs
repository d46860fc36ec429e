//! The answer to a request whose object is on its way: the header as soon as the origin's is there, then each byte as it is written, at
//! this reader's pace. The first answer of a fill has no entity tag: there is no digest yet.

use std::future::{pending, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::task::Poll;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use tokio::sync::Semaphore;

use super::blocking::off_worker;
use super::body;
use super::cors;
use super::ctx::Ctx;
use super::fail::{self, Refusal};
use super::filled::{self, How};
use super::hsts;
use super::live::coding_of;
use super::settings::Settings;
use crate::fill::{FillError, FillHead, PassBody, Reader};
use crate::observe::metrics::{Method, RANGE_REQUESTS, RangeResult, Reason};
use crate::rules::encoding::{self, Choice, Coding};
use crate::rules::precondition::{self, Validators, Verdict};
use crate::rules::range::{self, Selection};
use crate::rules::{caching, date};
use crate::store::decode;

/// What of a moving object is sent.
enum Selected {
    Nothing,
    All,
    Part(Range<u64>),
}

/// Answer from a fill.
pub async fn moving(
    settings: &Settings,
    session: &mut Session,
    ctx: &mut Ctx,
    mut reader: Reader,
    head: &FillHead,
    how: &How,
) -> Result<()> {
    let (header, selected) = match prepare(settings, session, ctx, head, how) {
        Ok(prepared) => prepared,
        Err(refusal) => return fail::refuse(settings, session, ctx, refusal).await,
    };
    if let Selected::Part(range) = &selected {
        // The bytes may be far ahead of the fill: nothing is promised before the first of them is there.
        if let Err(error) = reader.until(range.start + 1).await {
            return fail::refuse(settings, session, ctx, error.into()).await;
        }
        reader.seek(range.clone());
    }
    let source = if matches!(selected, Selected::Nothing) { None } else { Some(reader) };
    send(settings, session, ctx, header, source).await
}

fn prepare(
    settings: &Settings,
    session: &Session,
    ctx: &Ctx,
    head: &FillHead,
    how: &How,
) -> Result<(Box<ResponseHeader>, Selected), Refusal> {
    let request = session.req_header();
    let modified = head.headers.get(header::LAST_MODIFIED).and_then(date::parse);
    let validators = Validators { etag: None, last_modified: modified, origin_date: None };
    // On a miss there is no tag yet that the client could have had: what is not modified is sent all the same.
    if head.status == StatusCode::OK && precondition::evaluate(&request.headers, true, &validators) == Verdict::Failed {
        return Err(Refusal::new(Reason::Precondition));
    }
    let mut header = header_of(settings, request, ctx, head, how)?;
    if head.status == StatusCode::OK {
        header.insert_header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))?;
    }
    let mut selected = Selected::All;
    if let (Method::Get, StatusCode::OK, Some(length)) = (ctx.method, head.status, head.length) {
        selected = select(settings, request, length, &mut header)?;
    }
    if let (Selected::All, Some(length)) = (&selected, head.length)
        && head.status != StatusCode::NO_CONTENT
    {
        header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    if ctx.method == Method::Head {
        selected = Selected::Nothing;
    }
    Ok((header, selected))
}

/// The one range that is answered while the object moves; several wait for its end, and never come here.
fn select(
    settings: &Settings,
    request: &RequestHeader,
    length: u64,
    header: &mut ResponseHeader,
) -> Result<Selected, Refusal> {
    if !request.headers.contains_key(header::RANGE) {
        return Ok(Selected::All);
    }
    // A miss has no tag that If-Range could match.
    if request.headers.contains_key(header::IF_RANGE) {
        RANGE_REQUESTS.inc(RangeResult::Ignored);
        return Ok(Selected::All);
    }
    match range::select(&request.headers, length, settings.multi_range) {
        Selection::Ignored | Selection::Many(_) => {
            RANGE_REQUESTS.inc(RangeResult::Ignored);
            Ok(Selected::All)
        }
        Selection::Unsatisfiable => Err(Refusal::unsatisfied(length)),
        Selection::One(range) => {
            RANGE_REQUESTS.inc(RangeResult::Partial);
            header.set_status(StatusCode::PARTIAL_CONTENT)?;
            header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start))?;
            header.insert_header(header::CONTENT_RANGE, range::content_range(&range, length))?;
            Ok(Selected::Part(range))
        }
    }
}

/// Answer with what passes through.
pub async fn passing(
    settings: &Settings,
    session: &mut Session,
    ctx: &mut Ctx,
    head: &FillHead,
    body: PassBody,
    how: &How,
) -> Result<()> {
    let coding = coding_of(&head.headers);
    let accepts = || encoding::choose(&session.req_header().headers, coding) == Choice::AsStored;
    // A part is of the coded bytes: there is nothing to decode.
    let whole = ctx.method == Method::Get && head.status != StatusCode::PARTIAL_CONTENT;
    // A client without chunks couldn't tell a cut from the end: it gets the whole, with its length.
    let old = session.req_header().version < Version::HTTP_11 && head.length.is_none();
    if old && whole {
        return collected(settings, session, ctx, head, body, how, Coding::Identity).await;
    }
    if coding != Coding::Identity && whole && !accepts() && !caching::no_transform(&head.headers) {
        return collected(settings, session, ctx, head, body, how, coding).await;
    }
    let mut header = match header_of(settings, session.req_header(), ctx, head, how) {
        Ok(header) => header,
        Err(refusal) => return fail::refuse(settings, session, ctx, refusal).await,
    };
    // What passes through has its origin's tag: it is the origin's representation, and never stored under another.
    for tag in head.headers.get_all(header::ETAG) {
        header.append_header(header::ETAG, tag.clone())?;
    }
    let bodiless = matches!(header.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // The answer to a HEAD has no body, and the length of the one that a GET would have.
    let length = match ctx.method {
        Method::Head => head.headers.get(header::CONTENT_LENGTH).cloned(),
        _ => head.length.map(HeaderValue::from),
    };
    if let (false, Some(length)) = (bodiless, length) {
        header.insert_header(header::CONTENT_LENGTH, length)?;
    }
    let source = if bodiless || ctx.method == Method::Head { None } else { Some(body) };
    send(settings, session, ctx, header, source).await
}

/// Where the bytes of an answer come from as they arrive.
trait Source {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, FillError>> + Send;

    /// Take back a chunk that was sent.
    fn recycle(&mut self, chunk: Bytes);

    /// The client has every byte. What is left is the end of the source, which must not be taken for a reader that left.
    fn finish(self) -> impl Future<Output = ()> + Send;
}

impl Source for Reader {
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, FillError>> + Send {
        Reader::next(self)
    }

    fn recycle(&mut self, chunk: Bytes) {
        Reader::recycle(self, chunk);
    }

    async fn finish(mut self) {
        // The fill still has to write and to commit, and the client's next request waits for none of that.
        tokio::spawn(async move { Reader::next(&mut self).await });
    }
}

impl Source for PassBody {
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, FillError>> + Send {
        PassBody::next(self)
    }

    fn recycle(&mut self, _chunk: Bytes) {}

    async fn finish(mut self) {
        // Dropped before its end it would end the connection to the origin. The client has its answer, whatever comes of this.
        let _ = PassBody::next(&mut self).await;
    }
}

/// Send a header, and what comes of its body where it has one.
async fn send(
    settings: &Settings,
    session: &mut Session,
    ctx: &mut Ctx,
    mut header: Box<ResponseHeader>,
    source: Option<impl Source>,
) -> Result<()> {
    ctx.status = header.status.as_u16();
    let Some(source) = source else {
        session.write_response_header(header, true).await?;
        return session.write_response_body(None, true).await;
    };
    frame(session, &mut header)?;
    let length = header.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    session.write_response_header(header, false).await?;
    pump(settings, session, ctx, source, length).await
}

/// Send what comes, as it comes: `left` bytes, where that is known.
async fn pump(
    settings: &Settings,
    session: &mut Session,
    ctx: &Ctx,
    mut source: impl Source,
    mut left: Option<u64>,
) -> Result<()> {
    loop {
        if left == Some(0) {
            // The source may not have ended. Who waited for that with an eye on the connection would take the client's next request from it.
            session.write_response_body(None, true).await?;
            source.finish().await;
            return Ok(());
        }
        let next = {
            let mut next = pin!(source.next());
            match poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    // Nothing is at hand: what was written must not wait in a buffer for what comes.
                    flush(session).await?;
                    tokio::select! {
                        biased;
                        next = &mut next => next,
                        // Its place is for somebody who still reads.
                        left = gone(session) => return Err(left),
                    }
                }
            }
        };
        match next {
            Ok(Some(chunk)) => {
                left = left.map(|left| left.saturating_sub(chunk.len() as u64));
                body::write(settings, session, ctx, &chunk, false).await?;
                source.recycle(chunk);
            }
            Ok(None) => return session.write_response_body(None, true).await,
            // The header is out: whoever has a part must not take it for the whole.
            Err(error) => return Err(body::broken(ctx, &error.into())),
        }
    }
}

/// Wait until the client closes its connection, or over HTTP/2 its stream, or is found to be gone.
async fn gone(session: &mut Session) -> Box<Error> {
    match session.as_downstream_mut().read_body_or_idle(true).await {
        Err(error) if *error.etype() != ErrorType::ConnectError => error.into_down(),
        // Bytes of a next request: it gets no answer on this connection, which ends with this one.
        _ => {
            session.set_keepalive(None);
            pending().await
        }
    }
}

/// Send what is in the connection's write buffer. Pingora has no verb for it, and flushes a body with a Content-Length at its end only; but it
/// does flush before it reports a task that failed.
async fn flush(session: &mut Session) -> Result<()> {
    if session.as_http1().is_none() {
        return Ok(());
    }
    const MARK: &str = "nothing failed";
    let mark = Error::explain(ErrorType::Custom(MARK), MARK);
    match session
        .as_downstream_mut()
        .response_duplex_vec(vec![HttpTask::Body(None, false), HttpTask::Failed(mark)])
        .await
    {
        Err(error) if *error.etype() == ErrorType::Custom(MARK) => Ok(()),
        other => other.map(drop),
    }
}

/// Answers that are collected to be decoded, at the same time: each may take `http.decode.bytes` twice.
static DECODING: Semaphore = Semaphore::const_new(8);

/// Answer with what passes through once all of it is there: decoded where the client doesn't accept its coding, under the caps that hold for
/// everything else.
async fn collected(
    settings: &Settings,
    session: &mut Session,
    ctx: &mut Ctx,
    head: &FillHead,
    body: PassBody,
    how: &How,
    coding: Coding,
) -> Result<()> {
    let prepared = async {
        // The semaphore is never closed.
        let _place = DECODING.acquire().await.ok();
        let collected = collect(body, settings.decode.bytes);
        let coded = tokio::time::timeout(settings.ingress.timeout, collected).await;
        let coded = coded.map_err(|_| Refusal::origin_timeout())??;
        let caps = settings.decode;
        let plain = off_worker(settings, move || decode::decode(coding, &coded, caps)).await?;
        let mut header = header_of(settings, session.req_header(), ctx, head, how)?;
        if coding != Coding::Identity {
            header.remove_header(&header::CONTENT_ENCODING);
        }
        header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(plain.len()))?;
        Ok((header, plain))
    };
    match prepared.await {
        Ok((header, plain)) => {
            ctx.status = header.status.as_u16();
            session.write_response_header(header, false).await?;
            body::write(settings, session, ctx, &plain, true).await
        }
        Err(refusal) => fail::refuse(settings, session, ctx, Refusal::varying(refusal)).await,
    }
}

/// All of a body that is at most `bound` bytes long.
async fn collect(mut body: PassBody, bound: u64) -> Result<BytesMut, Refusal> {
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await? {
        if (all.len() + chunk.len()) as u64 > bound {
            return Err(Refusal::new(Reason::DecompressCap));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The origin's fields, under ours.
fn header_of(
    settings: &Settings,
    request: &RequestHeader,
    ctx: &Ctx,
    head: &FillHead,
    how: &How,
) -> Result<Box<ResponseHeader>, Refusal> {
    let coding = coding_of(&head.headers);
    let mut header = ResponseHeader::build_no_case(head.status, Some(head.headers.len() + 16))?;
    filled::fields(settings, &mut header, &head.headers, coding != Coding::Identity)?;
    for value in head.headers.get_all(header::CONTENT_ENCODING) {
        header.append_header(header::CONTENT_ENCODING, value.clone())?;
    }
    let age = match &how.freshness {
        Some(freshness) => Some(HeaderValue::from(freshness.age(SystemTime::now()).as_secs())),
        None => head.headers.get(header::AGE).cloned(),
    };
    if let Some(age) = age {
        header.insert_header(header::AGE, age)?;
    }
    let ttl = how.freshness.as_ref().map(|freshness| freshness.ttl(SystemTime::now()));
    header.append_header("cache-status", how.value(ttl, None))?;
    cors::insert_listed(settings, request.headers.get(header::ORIGIN), &mut header)?;
    hsts::insert(settings, ctx.secure, &mut header)?;
    header.insert_header("x-corr-id", ctx.corr_id.clone())?;
    Ok(Box::new(header))
}

/// A body of unknown length is chunked where the client knows chunks; else its end is that of the connection.
fn frame(session: &mut Session, header: &mut ResponseHeader) -> Result<()> {
    if header.headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(());
    }
    match session.req_header().version {
        Version::HTTP_11 => header.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        Version::HTTP_2 => Ok(()),
        _ => {
            session.set_keepalive(None);
            Ok(())
        }
    }
}
