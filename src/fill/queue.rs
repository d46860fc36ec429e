//! The bounded queue between readers and workers, fair among origins.
//!
//! Each origin waits in a line of its own and holds at most half of the workers: one that is slow keeps no other from being asked.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::observe::metrics::{QUEUE_DEPTH, QueueName};

/// Jobs of type `T` that wait for a worker.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Notify,
    bound: usize,
    share: usize,
}

struct State<T> {
    /// A line for each origin.
    lines: Vec<VecDeque<T>>,
    /// Workers that each origin holds.
    held: Vec<usize>,
    waiting: usize,
    /// The line that is looked at first.
    next: usize,
    closed: bool,
}

/// Why a job was not taken; the job comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// As many wait as may.
    Full(T),
    /// The queue was closed.
    Closed(T),
}

/// A worker's hold on an origin; dropped, it is free for the next job.
pub struct Slot<T> {
    queue: Arc<Queue<T>>,
    origin: usize,
}

impl<T> Queue<T> {
    /// An empty queue for at most `bound` jobs of `origins` origins, emptied by `workers`.
    pub fn new(origins: usize, bound: usize, workers: usize) -> Arc<Self> {
        let state = State {
            lines: (0..origins).map(|_| VecDeque::new()).collect(),
            held: vec![0; origins],
            waiting: 0,
            next: 0,
            closed: false,
        };
        Arc::new(Self { state: Mutex::new(state), wake: Notify::new(), bound, share: (workers / 2).max(1) })
    }

    /// Put a job at the end of the line of `origin`, one of those the queue was made for.
    pub fn push(&self, origin: usize, job: T) -> Result<(), Refused<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed(job));
        }
        if state.waiting >= self.bound {
            return Err(Refused::Full(job));
        }
        state.lines[origin].push_back(job);
        state.waiting += 1;
        QUEUE_DEPTH.add(QueueName::Fill, 1);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Wait for the next job; `None` once the queue is closed.
    pub async fn take(self: &Arc<Self>) -> Option<(Slot<T>, T)> {
        loop {
            let mut woken = pin!(self.wake.notified());
            // Listening before looking: what comes in between wakes.
            woken.as_mut().enable();
            match self.pick() {
                Ok(picked) => return picked,
                Err(()) => woken.await,
            }
        }
    }

    /// Refuse every later job and give back those that wait.
    pub fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        let left: Vec<T> = state.lines.iter_mut().flat_map(|line| line.drain(..)).collect();
        QUEUE_DEPTH.add(QueueName::Fill, -(left.len() as i64));
        state.waiting = 0;
        drop(state);
        self.wake.notify_waiters();
        left
    }

    /// The first job of the next line whose origin may hold one more worker; an error where there is none to take now.
    #[allow(clippy::type_complexity)]
    fn pick(self: &Arc<Self>) -> Result<Option<(Slot<T>, T)>, ()> {
        let mut state = self.lock();
        if state.closed {
            return Ok(None);
        }
        let (lines, next) = (state.lines.len(), state.next);
        for origin in (0..lines).map(|step| (next + step) % lines) {
            if state.held[origin] >= self.share {
                continue;
            }
            let Some(job) = state.lines[origin].pop_front() else { continue };
            state.held[origin] += 1;
            state.waiting -= 1;
            state.next = origin + 1;
            QUEUE_DEPTH.add(QueueName::Fill, -1);
            if state.waiting > 0 {
                // Two wakes that met no sleeper are kept as one: whoever takes a job passes the wake on.
                self.wake.notify_one();
            }
            return Ok(Some((Slot { queue: self.clone(), origin }, job)));
        }
        Err(())
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        self.queue.lock().held[self.origin] -= 1;
        self.queue.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::time::Duration;

    async fn taken<T>(queue: &Arc<Queue<T>>) -> Option<(Slot<T>, T)> {
        tokio::time::timeout(Duration::from_millis(50), queue.take()).await.ok().flatten()
    }

    #[tokio::test]
    async fn a_full_queue_gives_the_job_back() {
        let queue = Queue::new(2, 2, 4);
        queue.push(0, "a").unwrap();
        queue.push(1, "b").unwrap();
        assert_eq!(queue.push(0, "c"), Err(Refused::Full("c")));
        let (_slot, job) = taken(&queue).await.unwrap();
        assert_eq!(job, "a");
        queue.push(0, "c").unwrap();
        assert_eq!(queue.lock().waiting, 2);
    }

    #[tokio::test]
    async fn an_origin_holds_at_most_half_the_workers_and_blocks_no_other() {
        let queue = Queue::new(2, 100, 4);
        (0..5).for_each(|job| queue.push(0, job).unwrap());
        let first = taken(&queue).await.unwrap();
        let _second = taken(&queue).await.unwrap();
        assert!(taken(&queue).await.is_none(), "a third worker for one origin of four");
        queue.push(1, 100).unwrap();
        assert_eq!(taken(&queue).await.map(|(_, job)| job), Some(100));
        drop(first);
        assert_eq!(taken(&queue).await.map(|(_, job)| job), Some(2));
    }

    #[tokio::test]
    async fn origins_take_turns() {
        let queue = Queue::new(3, 100, 100);
        for job in 0..3 {
            (0..3).for_each(|origin| queue.push(origin, (origin, job)).unwrap());
        }
        let mut order = Vec::new();
        let mut slots = Vec::new();
        while let Some((slot, (origin, _))) = taken(&queue).await {
            order.push(origin);
            slots.push(slot);
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test]
    async fn a_closed_queue_gives_back_what_waits_and_lets_the_workers_go() {
        let queue = Queue::new(1, 10, 2);
        (0..2).for_each(|job| queue.push(0, job).unwrap());
        let held = taken(&queue).await.unwrap();
        let sleeping = tokio::spawn({
            let queue = queue.clone();
            async move { queue.take().await.is_none() }
        });
        tokio::task::yield_now().await;
        assert_eq!(queue.close(), [1]);
        assert_eq!(queue.push(0, 3), Err(Refused::Closed(3)));
        assert!(tokio::time::timeout(Duration::from_secs(5), sleeping).await.unwrap().unwrap());
        drop(held);
        assert!(taken(&queue).await.is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_job_of_many_pushers_is_taken_once() {
        let queue = Queue::new(4, 10_000, 8);
        let done = Arc::new(Mutex::new(Vec::new()));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (queue, done) = (queue.clone(), done.clone());
                tokio::spawn(async move {
                    while let Some((_slot, job)) = queue.take().await {
                        tokio::task::yield_now().await;
                        done.lock().unwrap().push(job);
                    }
                })
            })
            .collect();
        let pushers: Vec<_> = (0..4_usize)
            .map(|origin| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    for job in 0..500 {
                        queue.push(origin, origin * 1000 + job).unwrap();
                        if job % 7 == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for pusher in pushers {
            pusher.await.unwrap();
        }
        while done.lock().unwrap().len() < 2000 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        queue.close();
        for worker in workers {
            worker.await.unwrap();
        }
        let mut done = done.lock().unwrap().clone();
        done.sort_unstable();
        done.dedup();
        assert_eq!(done.len(), 2000);
    }
}
