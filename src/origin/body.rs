//! A body on its way to a fill: counted against its Content-Length, and timed while it is waited for.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::attempt::Run;
use super::verdict::Fault;
use crate::fill::fetch::{FetchError, Head, Incoming};
use crate::observe::metrics::{IO_TIMEOUTS, TimeoutOp};

/// Waiting over which the rate of a body is judged.
const WINDOW: Duration = Duration::from_secs(5);

/// A body on its way.
pub(super) struct Body {
    run: Run,
    /// What Content-Length promised.
    length: Option<u64>,
    received: u64,
    pace: Pace,
    /// Set when nothing more is to come from any origin.
    closed: watch::Receiver<bool>,
    /// The end, once it was told: it is told again to whoever asks again.
    end: Option<Result<(), FetchError>>,
}

/// Bytes per time spent waiting for them. Time during which nobody asks for bytes doesn't count: then it is us who are slow.
struct Pace {
    /// Bytes a second.
    min_rate: Option<u64>,
    waited: Duration,
    bytes: u64,
}

impl Body {
    pub(super) fn new(run: Run, head: &Head, min_rate: Option<u64>, closed: watch::Receiver<bool>) -> Self {
        let pace = Pace { min_rate, waited: Duration::ZERO, bytes: 0 };
        Self { run, length: head.length, received: 0, pace, closed, end: None }
    }

    /// Receive the end of an answer that has no body, so that its connection can be used again even if nobody asks for one.
    pub(super) async fn finish_empty(&mut self) {
        if self.length == Some(0) {
            // What it says is told again when somebody asks.
            let _ = self.next().await;
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let received = {
                let left = self.pace.left();
                let _waiting = Waiting { waited: &mut self.pace.waited, since: Instant::now() };
                match left {
                    Some(left) => tokio::time::timeout(left, self.run.next()).await.ok(),
                    None => Some(self.run.next().await),
                }
            };
            match received {
                Some(Ok(Some(bytes))) => {
                    self.count(bytes.len() as u64)?;
                    return Ok(Some(bytes));
                }
                Some(Ok(None)) => return self.whole().map(|()| None),
                Some(Err(fault)) => {
                    if fault == Fault::ReadTimeout {
                        IO_TIMEOUTS.inc(TimeoutOp::OriginRead);
                    }
                    return Err(fault.in_body());
                }
                None => self.pace.judge()?,
            }
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), FetchError> {
        self.received += bytes;
        self.pace.bytes += bytes;
        match self.length {
            Some(length) if self.received > length => Err(FetchError::Cut("more came than Content-Length said".into())),
            // All that is waited for now is the end.
            Some(length) if self.received == length => Ok(()),
            _ => self.pace.judge(),
        }
    }

    /// Whether as much came as was promised; Pingora has seen to the last chunk.
    fn whole(&self) -> Result<(), FetchError> {
        match self.length {
            Some(length) if length != self.received => {
                Err(FetchError::Cut(format!("{} of {length} bytes came", self.received)))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Incoming for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        let mut closed = self.closed.clone();
        let received = tokio::select! {
            biased;
            // A sender that is gone closed nothing.
            Ok(_) = closed.wait_for(|closed| *closed) => Err(FetchError::Offline),
            received = self.receive() => received,
        };
        match &received {
            Ok(Some(_)) => {}
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => self.end = Some(Err(error.clone())),
        }
        received
    }
}

impl Pace {
    /// What is left of the window, where a rate is demanded.
    fn left(&self) -> Option<Duration> {
        self.min_rate.map(|_| WINDOW.saturating_sub(self.waited))
    }

    /// Whether enough came in the window, if it is over; then the next one begins.
    fn judge(&mut self) -> Result<(), FetchError> {
        let Some(min_rate) = self.min_rate else { return Ok(()) };
        if self.waited < WINDOW {
            return Ok(());
        }
        if self.bytes < min_rate.saturating_mul(WINDOW.as_secs()) {
            return Err(FetchError::Cut("slower than min_rate".into()));
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

/// Adds the time it lives to what was waited, also when the waiting is called off.
struct Waiting<'p> {
    waited: &'p mut Duration,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.waited += self.since.elapsed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(min_rate: Option<u64>, waited: Duration, bytes: u64) -> Pace {
        Pace { min_rate, waited, bytes }
    }

    #[test]
    fn a_body_is_judged_when_its_window_is_over_and_not_before() {
        let almost = WINDOW - Duration::from_nanos(1);
        assert!(pace(Some(100), almost, 0).judge().is_ok());
        assert!(pace(Some(100), WINDOW, 499).judge().is_err());
        assert!(pace(Some(u64::MAX), WINDOW, 499).judge().is_err());
        assert!(pace(None, WINDOW * 100, 0).judge().is_ok());
        let mut enough = pace(Some(100), WINDOW, 500);
        assert!(enough.judge().is_ok());
        assert_eq!((enough.waited, enough.bytes), (Duration::ZERO, 0), "the next window begins with nothing");
        assert_eq!(pace(Some(1), WINDOW * 2, 0).left(), Some(Duration::ZERO));
        assert_eq!(pace(None, WINDOW * 2, 0).left(), None);
    }

    #[test]
    fn waiting_that_is_called_off_counts() {
        let mut waited = Duration::ZERO;
        let since = Instant::now().checked_sub(Duration::from_secs(3)).unwrap_or_else(Instant::now);
        drop(Waiting { waited: &mut waited, since });
        assert!(waited >= Duration::from_secs(3), "{waited:?}");
    }
}
