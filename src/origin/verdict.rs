//! How a try ended: said by the phases of the proxy, believed only when the run has returned.

use std::sync::Mutex;
use std::sync::PoisonError;

use pingora::{Error, ErrorType};

use crate::fill::fetch::FetchError;

/// The longest cause that is kept, in characters: it is for the log.
const MAX_CAUSE: usize = 200;

/// What made a try fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No connection, or no TLS.
    Connect(String),
    /// No connection within its time.
    ConnectTimeout,
    /// Nothing came, or nothing could be sent, for `read_timeout`.
    ReadTimeout,
    /// A connection from the pool turned out to be closed: the origin never saw the request, or at least answered nothing.
    ClosedUnused,
    /// The connection broke off.
    Cut(String),
    /// What came is no HTTP, or nothing that was asked for.
    Nonsense(String),
}

/// What an error of Pingora's is, that ended a request to an origin before its header, in words that hold nothing of what came and no address: for
/// requests that the edge proxies itself. Errors that the edge raised are for it to know.
pub fn fault_of(error: &Error) -> FetchError {
    let fault = match error.root_etype() {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::ConnectProxyFailure
        | ErrorType::BindError
        | ErrorType::SocketError
        | ErrorType::TLSWantX509Lookup
        | ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => Fault::of_connect(error),
        _ => Fault::of_exchange(error, false),
    };
    fault.before_head()
}

/// The end of a try; `None` until it was told.
#[derive(Default)]
pub(super) struct Verdict(Mutex<Option<Result<(), Fault>>>);

impl Verdict {
    /// Tell the end. The first cause counts: what fails after it, fails because of it.
    pub(super) fn tell(&self, end: Result<(), Fault>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
    }

    /// The end, once the run has returned. A run that told nothing panicked or was stopped.
    pub(super) fn end(&self) -> Result<(), Fault> {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        end.unwrap_or_else(|| Err(Fault::Cut("the request was stopped".into())))
    }
}

impl Fault {
    /// The fault in an error of the connection's setup.
    pub(super) fn of_connect(error: &Error) -> Self {
        match error.root_etype() {
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Self::ConnectTimeout,
            _ => Self::Connect(cause(error)),
        }
    }

    /// The fault in an error of the exchange. `untouched` is whether the connection was one from the pool and brought no answer.
    pub(super) fn of_exchange(error: &Error, untouched: bool) -> Self {
        match error.root_etype() {
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError if untouched => {
                Self::ClosedUnused
            }
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Self::ReadTimeout,
            // Its context repeats what came: nothing for a log.
            ErrorType::InvalidHTTPHeader => Self::Nonsense("what came is no HTTP".into()),
            _ => Self::Cut(cause(error)),
        }
    }

    /// The error of a try that brought no header.
    pub(super) fn before_head(self) -> FetchError {
        match self {
            Self::Connect(why) | Self::Nonsense(why) => FetchError::Unreachable(why),
            Self::ConnectTimeout => FetchError::TimedOut("connect_timeout"),
            Self::ReadTimeout => FetchError::TimedOut("read_timeout"),
            Self::ClosedUnused => FetchError::Unreachable("closed before an answer".into()),
            Self::Cut(why) => FetchError::Unreachable(format!("closed before an answer: {why}")),
        }
    }

    /// The error of a try whose body broke off.
    pub(super) fn in_body(self) -> FetchError {
        FetchError::Cut(match self {
            Self::ReadTimeout => "nothing came for read_timeout".into(),
            Self::Connect(why) | Self::Cut(why) | Self::Nonsense(why) => why,
            Self::ConnectTimeout | Self::ClosedUnused => "closed".into(),
        })
    }
}

/// The kind of an error and its innermost cause, in one line.
fn cause(error: &Error) -> String {
    let kind = error.root_etype().as_str();
    let root = error.root_cause();
    // Its own Display holds the address and the context; that of what it was made of says why.
    let text = match root.downcast_ref::<Error>() {
        Some(_) => kind.to_owned(),
        None => format!("{kind}: {root}"),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CAUSE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_told_nothing_is_a_cut_one_and_the_first_cause_counts() {
        assert!(matches!(Verdict::default().end(), Err(Fault::Cut(_))));
        let verdict = Verdict::default();
        verdict.tell(Err(Fault::ReadTimeout));
        verdict.tell(Ok(()));
        assert_eq!(verdict.end(), Err(Fault::ReadTimeout));
    }

    #[test]
    fn errors_of_the_proxy_become_faults_by_their_root() {
        let closed = || Error::explain(ErrorType::ConnectionClosed, "GET /secret HTTP/1.1");
        assert_eq!(Fault::of_exchange(&closed(), true), Fault::ClosedUnused);
        assert_eq!(Fault::of_exchange(&closed(), false), Fault::Cut("ConnectionClosed".into()));
        let wrapped = Error::because(ErrorType::InternalError, "while sending", Error::new(ErrorType::ReadTimedout));
        assert_eq!(Fault::of_exchange(&wrapped, true), Fault::ReadTimeout);
        let refused = std::io::Error::other(format!("re\nfused {}", "ü".repeat(300)));
        let Fault::Connect(why) = Fault::of_connect(&Error::because(ErrorType::ConnectRefused, "1.2.3.4", refused))
        else {
            unreachable!("a refusal is a fault of the connection")
        };
        assert!(why.starts_with("ConnectRefused: re fused ü") && why.chars().count() == MAX_CAUSE, "{why}");
    }

    #[test]
    fn no_fault_repeats_what_came_or_where_it_came_from() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let secret = "addr: 192.0.2.1:443, buf: HTTP/1.1 2000 secret";
        let table = [
            (Error::because(ErrorType::ConnectRefused, secret, refused()), "ConnectRefused: connection refused"),
            (Error::explain(ErrorType::InvalidCert, secret), "can't be reached: InvalidCert"),
            (Error::explain(ErrorType::ConnectTimedout, secret), "connect_timeout"),
            (Error::explain(ErrorType::TLSHandshakeTimedout, secret), "connect_timeout"),
            (Error::explain(ErrorType::ReadTimedout, secret), "read_timeout"),
            (Error::explain(ErrorType::InvalidHTTPHeader, secret), "what came is no HTTP"),
            (Error::explain(ErrorType::ConnectionClosed, secret), "closed before an answer: ConnectionClosed"),
            (Error::explain(ErrorType::H2Error, secret), "closed before an answer: H2Error"),
        ];
        for (error, expected) in table {
            assert!(error.to_string().contains("secret"), "Pingora tells it");
            let wrapped = Error::because(ErrorType::InternalError, secret, error);
            let told = fault_of(&wrapped).to_string();
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("secret") && !told.contains("192.0.2.1"), "{told}");
        }
    }
}
