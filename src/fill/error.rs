//! Why a fill gave a reader no answer, or not the whole of it.

use super::fetch::FetchError;

/// Every way a fill can fail. The edge's table says what the client is told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FillError {
    /// As many fills wait as may (`fill.queue`).
    #[error("the queue of fills is full")]
    QueueFull,
    /// As many answers pass through unstored as may (`fill.max_passthrough`).
    #[error("too many answers pass through")]
    PassthroughFull,
    /// The origin gave no answer, or not the whole of it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The bytes do not hash to what the lock pins their path to.
    #[error("the bytes are not those that the lock pins")]
    Corrupt,
    /// The body outgrew `fill.max_object_bytes`, of which its header said nothing.
    #[error("the body is larger than fill.max_object_bytes")]
    TooLarge,
    /// The store could not take or give the bytes.
    #[error("the store failed: {0}")]
    Disk(String),
    /// The worker of this fill panicked or was stopped.
    #[error("the worker of the fill was lost")]
    Worker,
    /// The process is stopping.
    #[error("the process is stopping")]
    Draining,
}

impl FillError {
    /// One word for logs and events.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::PassthroughFull => "passthrough_full",
            Self::Fetch(FetchError::Unreachable(_)) => "unreachable",
            Self::Fetch(FetchError::TimedOut(_)) => "timeout",
            Self::Fetch(FetchError::NotAllowed(_)) => "not_allowed",
            Self::Fetch(FetchError::Open(_)) => "circuit_open",
            Self::Fetch(FetchError::Offline) => "offline",
            Self::Fetch(FetchError::Cut(_)) => "cut",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too_large",
            Self::Disk(_) => "disk",
            Self::Worker => "worker",
            Self::Draining => "draining",
        }
    }
}
