//! A request with its tries: each goes to the next place, within the circuit, the budget and the deadline; the first answer that needs no
//! other try is handed on.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use http::header;

use super::attempt::{self, Answer, Order};
use super::body::Body;
use super::peer::{Reuse, Route, Stop};
use super::state::State;
use super::verdict::Fault;
use super::{Origins, peer, retry};
use crate::fill::fetch::{Fetch, FetchError, Head, Incoming, Wanted};
use crate::observe::metrics::{BACKOFF_RETRIES, FILL_ATTEMPTS, IO_TIMEOUTS, RetryOp, TimeoutOp};

/// What a fetch gives.
type Fetched = (Head, Box<dyn Incoming>);

/// Why a try brought no header.
enum Missed {
    /// It was made, and failed.
    Fault(Fault),
    /// There was nowhere to go: no address, or none that may be asked.
    Nowhere(FetchError),
}

/// One request on its way through its tries.
struct Question<'o> {
    origins: &'o Origins,
    state: &'o State,
    wanted: Wanted,
    deadline: Instant,
    /// Tries after the first, so far.
    retries: u32,
}

/// What to do after a try.
enum Next {
    Done(Result<Fetched, FetchError>),
    /// Wait, then try again; the error is told if that turns out to be impossible.
    Again(Duration, FetchError),
}

#[async_trait]
impl Fetch for Origins {
    async fn fetch(&self, wanted: Wanted) -> Result<Fetched, FetchError> {
        tokio::select! {
            biased;
            () = self.closed() => Err(FetchError::Offline),
            fetched = self.tries(wanted) => fetched,
        }
    }
}

impl Origins {
    async fn tries(&self, wanted: Wanted) -> Result<Fetched, FetchError> {
        let now = Instant::now();
        let mut route = Route::new(self, wanted.origin)?;
        let state = self.states.get(wanted.origin).ok_or_else(peer::unknown)?;
        let deadline = now + self.conf.timeouts.total;
        let mut question = Question { origins: self, state, wanted, deadline, retries: 0 };
        state.count_request(now);
        let mut last = None;
        loop {
            match question.one_try(&mut route, last.take()).await {
                Next::Done(result) => return result,
                Next::Again(wait, error) => {
                    tokio::time::sleep(wait).await;
                    question.retries += 1;
                    last = Some(error);
                }
            }
        }
    }
}

impl Question<'_> {
    async fn one_try(&mut self, route: &mut Route<'_>, last: Option<FetchError>) -> Next {
        let permit = match self.state.admit(Instant::now()) {
            Ok(permit) => permit,
            // It opened while we waited: what made us wait says more.
            Err(left) => return Next::Done(Err(last.unwrap_or(FetchError::Open(left)))),
        };
        let tried = tokio::time::timeout_at(self.deadline.into(), self.go(route)).await;
        let now = Instant::now();
        match tried {
            Err(_) => {
                IO_TIMEOUTS.inc(TimeoutOp::OriginTotal);
                permit.failed(now);
                Next::Done(Err(FetchError::TimedOut("total_timeout")))
            }
            // This tells nothing of the origin.
            Ok(Err(Missed::Nowhere(error @ FetchError::NotAllowed(_)))) => Next::Done(Err(error)),
            Ok(Err(missed)) => {
                permit.failed(now);
                self.missed(missed, now)
            }
            Ok(Ok(answer)) if self.worth_another(&answer) => {
                permit.failed(now);
                match self.wait(RetryOp::Status, retry_after(&answer.head), now) {
                    Some(wait) => Next::Again(wait, FetchError::Unreachable(format!("status {}", answer.head.status))),
                    // The last one is the answer, whatever it says.
                    None => Next::Done(Ok(self.hand_on(answer).await)),
                }
            }
            Ok(Ok(answer)) => {
                permit.succeeded();
                Next::Done(Ok(self.hand_on(answer).await))
            }
        }
    }

    /// One try: at the next place, and a second time there if a connection from the pool turns out to have been closed by the origin.
    /// That costs neither budget nor count (RFC 9112 §9.3.1): the origin did nothing wrong.
    async fn go(&self, route: &mut Route<'_>) -> Result<Answer, Missed> {
        let stop = route.next(Instant::now()).await.map_err(Missed::Nowhere)?;
        let mut asked = self.ask(&stop, Reuse::Allowed).await;
        if let Err(Missed::Fault(Fault::ClosedUnused)) = asked {
            asked = self.ask(&stop, Reuse::Never).await;
        }
        if let Err(Missed::Fault(Fault::Connect(_) | Fault::ConnectTimeout)) = asked {
            self.state.rest(stop.address, Instant::now());
        }
        asked
    }

    async fn ask(&self, stop: &Stop, reuse: Reuse) -> Result<Answer, Missed> {
        let Origins { conf, dress, spawner, .. } = self.origins;
        let place = conf.origins.get(stop.origin).and_then(|origin| Some((origin, origin.urls.get(stop.url)?)));
        let (origin, url) = place.ok_or_else(|| Missed::Nowhere(peer::unknown()))?;
        let target = (conf.target)(&url.path, &self.wanted.rest, self.wanted.query.as_deref());
        let request = dress.fill(url, origin, &target, &self.wanted).map_err(Missed::Nowhere)?;
        let peer = self.origins.peer(stop, reuse).map_err(Missed::Nowhere)?;
        if self.wanted.fill {
            FILL_ATTEMPTS.inc(self.state.label);
        }
        let may_refuse = self.state.statuses.clone();
        let order = Order { peer, request, tap: self.wanted.tap.clone(), may_refuse };
        attempt::ask(spawner, order).await.map_err(Missed::Fault)
    }

    /// What follows a try that brought no header.
    fn missed(&self, missed: Missed, now: Instant) -> Next {
        let (op, error) = match missed {
            Missed::Nowhere(error) => (Some(RetryOp::Connect), error),
            Missed::Fault(fault) => {
                count_timeout(&fault);
                let timeouts = self.origins.conf.retry.timeouts.then_some(RetryOp::Timeout);
                let op = match &fault {
                    Fault::Connect(_) | Fault::ClosedUnused | Fault::Cut(_) => Some(RetryOp::Connect),
                    Fault::ConnectTimeout | Fault::ReadTimeout => timeouts,
                    // It would say the same again.
                    Fault::Nonsense(_) => None,
                };
                (op, fault.before_head())
            }
        };
        match op.and_then(|op| self.wait(op, None, now)) {
            Some(wait) => Next::Again(wait, error),
            None => Next::Done(Err(error)),
        }
    }

    fn worth_another(&self, answer: &Answer) -> bool {
        self.state.statuses.contains(&answer.head.status.as_u16())
    }

    /// How long to wait before another try, if there may be one. It is counted then.
    fn wait(&self, op: RetryOp, retry_after: Option<Duration>, now: Instant) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(now);
        let wait = retry::wait(&self.origins.conf.retry, self.retries, retry::random(), retry_after, left)?;
        // This failure may have opened the circuit: then there is nobody to ask.
        if self.state.is_open(now + wait) || !self.state.may_retry(now) {
            return None;
        }
        BACKOFF_RETRIES.inc(op);
        Some(wait)
    }

    async fn hand_on(&self, answer: Answer) -> Fetched {
        let (head, run) = answer.accept();
        let (min_rate, closed) = (self.origins.conf.timeouts.min_rate, self.origins.closed.subscribe());
        let mut body = Body::new(run, &head, min_rate, closed);
        // Where it doesn't end in time, whoever asks for the body is told.
        let _ = tokio::time::timeout_at(self.deadline.into(), body.finish_empty()).await;
        (head, Box::new(body))
    }
}

fn retry_after(head: &Head) -> Option<Duration> {
    retry::retry_after(head.headers.get(header::RETRY_AFTER)?, SystemTime::now())
}

fn count_timeout(fault: &Fault) {
    match fault {
        Fault::ConnectTimeout => IO_TIMEOUTS.inc(TimeoutOp::OriginConnect),
        Fault::ReadTimeout => IO_TIMEOUTS.inc(TimeoutOp::OriginRead),
        _ => {}
    }
}
