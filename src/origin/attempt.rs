//! One try: a subrequest of Pingora's, run as a task of its own so that a panic in it is an error here, and stopped when nobody
//! waits for it any more.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use pingora::http::RequestHeader;
use pingora::protocols::http::subrequest::server::SubrequestHandle;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::SubrequestSpawner;
use pingora::proxy::subrequest::Ctx;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::proxy::Exchange;
use super::verdict::{Fault, Verdict};
use crate::fill::fetch::{Head, Tap};

/// What a subrequest is made of: a head that Pingora has parsed. What the origin gets is put in its place by `proxy`.
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: origin\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: origin\r\n\r\n";

/// What a try is made of.
pub(super) struct Order {
    pub(super) peer: HttpPeer,
    pub(super) request: RequestHeader,
    pub(super) tap: Option<Arc<dyn Tap>>,
    /// Statuses that [`Answer::accept`] is asked about before their body moves.
    pub(super) may_refuse: Arc<[u16]>,
}

/// A final header, and the try that goes on behind it.
pub(super) struct Answer {
    pub(super) head: Head,
    gate: oneshot::Sender<()>,
    run: Run,
}

/// The subrequest on its way. Dropping it ends it, and closes its connection to the origin.
pub(super) struct Run {
    tasks: mpsc::Receiver<HttpTask>,
    /// Pingora takes the end of this channel for a client that has left.
    _client: mpsc::Sender<HttpTask>,
    task: Stopped,
    verdict: Arc<Verdict>,
}

/// A task that is stopped when it is dropped.
struct Stopped(JoinHandle<()>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ask, and wait for a final header.
pub(super) async fn ask(spawner: &SubrequestSpawner, order: Order) -> Result<Answer, Fault> {
    let verdict = Arc::<Verdict>::default();
    let (head_sender, mut head) = oneshot::channel();
    let (gate, gate_receiver) = oneshot::channel();
    let method = order.request.method.clone();
    let exchange = Exchange {
        peer: Box::new(order.peer),
        request: Some(Box::new(order.request)),
        tap: order.tap,
        head: Some(head_sender),
        may_refuse: order.may_refuse,
        gate: Some(gate_receiver),
        verdict: verdict.clone(),
        sent: SystemTime::now(),
        interim: 0,
    };
    let session = session(&method).await?;
    let ctx = Ctx::builder().user_ctx(Box::new(Some(exchange))).build();
    let (subrequest, handle) = spawner.create_subrequest(&session, ctx);
    let SubrequestHandle { tx, rx, .. } = handle;
    let task = Stopped(tokio::spawn(subrequest.run()));
    let mut run = Run { tasks: rx, _client: tx, task, verdict };
    loop {
        tokio::select! {
            biased;
            came = &mut head => match came {
                Ok(head) => return Ok(Answer { head, gate, run }),
                Err(_) => return Err(run.lost().await),
            },
            // Interim headers come this way too, and would fill the channel. A body never does: its header is told before it is sent,
            // and is looked for first.
            task = run.tasks.recv() => if task.is_none() {
                return match head.await {
                    Ok(head) => Ok(Answer { head, gate, run }),
                    Err(_) => Err(run.lost().await),
                };
            }
        }
    }
}

/// A session with nothing but a method, parsed from memory.
async fn session(method: &Method) -> Result<ServerSession, Fault> {
    let failed = |why: &str| Fault::Cut(format!("no subrequest: {why}"));
    let (mut client, server) = tokio::io::duplex(GET.len() + HEAD.len());
    let head = if method == Method::HEAD { HEAD } else { GET };
    client.write_all(head).await.map_err(|error| failed(&error.to_string()))?;
    let mut session = ServerSession::new_http1(Box::new(server));
    session.read_request().await.map_err(|error| failed(error.etype().as_str()))?;
    Ok(session)
}

impl Answer {
    /// Take the answer as it is: its body moves from now on. Dropping the answer instead refuses it.
    pub(super) fn accept(self) -> (Head, Run) {
        // A status that isn't refused has no gate to open.
        let _ = self.gate.send(());
        (self.head, self.run)
    }
}

impl Run {
    /// The next bytes of the body, `None` when the run is over and whole as far as Pingora can tell. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            match self.tasks.recv().await {
                Some(HttpTask::Body(Some(bytes), _)) if !bytes.is_empty() => return Ok(Some(bytes)),
                Some(HttpTask::Failed(error)) => return Err(Fault::of_exchange(&error, false)),
                // Headers came by another way, trailers are dropped, ends are told by the verdict.
                Some(_) => {}
                None => return self.end().await.map(|()| None),
            }
        }
    }

    /// Why a run ends without a final header.
    async fn lost(&mut self) -> Fault {
        self.end().await.err().unwrap_or_else(|| Fault::Nonsense("no final answer came".into()))
    }

    /// Wait until the run has returned, then read the verdict.
    async fn end(&mut self) -> Result<(), Fault> {
        if !self.task.0.is_finished()
            && let Err(error) = (&mut self.task.0).await
            && error.is_panic()
        {
            return Err(Fault::Cut("the request panicked".into()));
        }
        self.verdict.end()
    }
}
