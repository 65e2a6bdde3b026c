//! Turns of the requests that are tokenized, computed and written.

use std::sync::Arc;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Bounds the bytes of the bodies whose tokens and mentions are in memory at once: these take many times the memory of a
/// body.
///
/// Small bodies have turns of their own, so that a sentence does not wait for books.
#[derive(Debug)]
pub struct Turns {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Maximum bytes of a small body, and of all small bodies that have their turn.
const SMALL: usize = 64 << 10;
const ALL_SMALL: usize = 2 << 20;

impl Turns {
    /// Turns for bodies of at most `body` bytes.
    pub fn new(body: usize) -> Self {
        Self { small: Arc::new(Semaphore::new(ALL_SMALL)), large: Arc::new(Semaphore::new(body.max(SMALL))) }
    }

    /// Waits for the turn of a body, which ends when the permit is dropped.
    ///
    /// # Errors
    /// Never: the semaphores stay open.
    pub async fn of(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let turns = if bytes <= SMALL { &self.small } else { &self.large };
        turns.clone().acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await
    }
}
