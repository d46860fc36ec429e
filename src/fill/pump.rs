//! The body of an answer into its blob: what comes can be read at once, from memory, and is written off the runtime, in batches, while the next
//! comes.

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use super::error::FillError;
use super::fetch::{FetchError, Incoming, Tap};
use super::tail::Tail;
use super::work::Filler;
use crate::store::cas::{BlobHasher, BlobWriter};

/// Bytes that were received and are not written yet, at the most: a slow disk holds the origin back.
const IN_HAND: u32 = 1024 * 1024;
/// Bytes that are written at a time, unless they come slowly: each batch is a hand-over to another thread and back.
const BATCH: usize = 256 * 1024;
/// What came is written after so long, however little it is.
const LINGER: Duration = Duration::from_millis(20);
/// What a piece takes beside its bytes.
const PIECE: usize = 256;

/// The hash of a body, computed where its bytes pass.
#[derive(Default)]
pub(super) struct HashTap(Mutex<Option<BlobHasher>>);

impl HashTap {
    /// Nothing passed yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(BlobHasher::new()))))
    }

    /// The hash of what passed; what passes from now on is not hashed.
    pub fn take(&self) -> Option<BlobHasher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Tap for HashTap {
    fn pass(&self, bytes: &[u8]) {
        if let Some(hasher) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            hasher.update(bytes);
        }
    }
}

/// How a body is taken.
pub(super) struct Flow {
    /// What its header says of its length.
    pub length: Option<u64>,
    /// Where it is cut.
    pub max: u64,
    /// Its bytes are hashed where they pass, and not as they are written.
    pub tapped: bool,
    /// No byte is shown before all of them are verified.
    pub hidden: bool,
}

/// Why a body was not taken to its end.
pub(super) enum Stopped {
    /// Nobody reads it any more, and it isn't worth finishing.
    Abandoned,
    /// It failed.
    Failed(FillError),
}

impl<E: Into<FillError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Write all of `incoming`, and show readers what is there. `give_up(bytes so far)` says whether a fill that nobody reads ends here.
pub(super) async fn pump(
    filler: &Filler,
    mut incoming: Box<dyn Incoming>,
    writer: BlobWriter,
    flow: &Flow,
    tail: &Tail,
    give_up: impl Fn(u64) -> bool,
) -> Result<BlobWriter, Stopped> {
    let (budget, written) = (Semaphore::new(IN_HAND as usize), AtomicU64::new(0));
    // Bounded by the budget: each piece takes some of it.
    let (sender, pieces) = mpsc::unbounded_channel();
    let both = async {
        let receive = receive(filler, &mut incoming, sender, flow, &budget, tail);
        let write = write(filler, pieces, writer, flow.tapped, &budget, tail, |len| {
            written.store(len, Relaxed);
            give_up(len)
        });
        tokio::try_join!(receive, write).map(|(_, writer)| writer)
    };
    // The last reader may leave while nothing comes. Whether the fill goes on without it is asked then, and behind every piece from then on.
    let watch = async {
        poll_fn(|cx| filler.poll_abandoned(cx)).await;
        if !(give_up(written.load(Relaxed)) && filler.cancel_if_abandoned(FillError::Worker)) {
            pending::<()>().await;
        }
    };
    tokio::select! {
        written = both => written,
        () = watch => Err(Stopped::Abandoned),
    }
}

/// Take what comes, as long as the budget has room for it, and show it.
async fn receive(
    filler: &Filler,
    incoming: &mut Box<dyn Incoming>,
    sender: mpsc::UnboundedSender<(Bytes, u32)>,
    flow: &Flow,
    budget: &Semaphore,
    tail: &Tail,
) -> Result<(), Stopped> {
    let (mut received, mut shown) = (0_u64, 0_u64);
    // Readers are woken when nothing more is at hand, or much is there: a wake-up costs more than a piece.
    let mut show = |length: u64, least: u64| {
        if length >= shown + least && !flow.hidden {
            filler.progress(length);
            shown = length;
        }
    };
    loop {
        let next = {
            let mut next = incoming.next();
            match poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    show(received, 1);
                    next.await
                }
            }
        };
        let Some(bytes) = next? else { break };
        let length = received + bytes.len() as u64;
        if flow.length.is_some_and(|promised| length > promised) {
            // Before anybody sees them.
            return Err(FetchError::Cut("more bytes than its Content-Length".into()).into());
        }
        if length > flow.max {
            return Err(FillError::TooLarge.into());
        }
        if bytes.is_empty() {
            continue;
        }
        let cost = u32::try_from(bytes.len() + PIECE).unwrap_or(IN_HAND).min(IN_HAND);
        if budget.available_permits() < cost as usize {
            show(received, 1);
        }
        // The semaphore is never closed. What is taken comes back when the piece is written.
        if let Ok(permit) = budget.acquire_many(cost).await {
            permit.forget();
        }
        received = tail.push(bytes.clone());
        show(received, BATCH as u64);
        if sender.send((bytes, cost)).is_err() {
            // The writer failed, and says why.
            return Ok(());
        }
    }
    show(received, 1);
    match flow.length {
        Some(length) if length != received => Err(FetchError::Cut(format!("{received} bytes of {length}")).into()),
        _ => Ok(()),
    }
}

/// Write what was taken, a batch of it at a time.
async fn write(
    filler: &Filler,
    mut pieces: mpsc::UnboundedReceiver<(Bytes, u32)>,
    mut writer: BlobWriter,
    tapped: bool,
    budget: &Semaphore,
    tail: &Tail,
    give_up: impl Fn(u64) -> bool,
) -> Result<BlobWriter, Stopped> {
    while let Some(first) = pieces.recv().await {
        let (mut batch, mut cost) = (vec![first.0], first.1 as usize);
        let until = Instant::now() + LINGER;
        while cost < BATCH
            && let Ok(Some((bytes, more))) = timeout_at(until, pieces.recv()).await
        {
            batch.push(bytes);
            cost += more as usize;
        }
        let work = tokio::task::spawn_blocking(move || {
            for bytes in &batch {
                if tapped { writer.append(bytes)? } else { writer.write(bytes)? }
            }
            Ok::<_, std::io::Error>(writer)
        });
        writer = work.await.map_err(|_| FillError::Worker)?.map_err(|error| FillError::Disk(error.to_string()))?;
        let len = writer.len();
        tail.written(len);
        budget.add_permits(cost);
        if give_up(len) && filler.cancel_if_abandoned(FillError::Worker) {
            return Err(Stopped::Abandoned);
        }
    }
    Ok(writer)
}
