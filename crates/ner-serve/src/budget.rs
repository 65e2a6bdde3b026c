//! Bytes that requests hold in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A maximum of bytes for all bodies and answers together.
///
/// A semaphore would not do: an answer may be larger than its body, and must neither be refused nor wait for others that
/// wait as well. It is counted beyond the maximum, and new bodies are refused until it is sent.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    used: AtomicUsize,
}

/// Bytes of one request, returned on drop.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, used: AtomicUsize::new(0) })
    }

    /// A share without bytes.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    pub fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.most
    }
}

impl Share {
    /// Adds bytes if they fit.
    pub fn try_add(&mut self, bytes: usize) -> bool {
        let Budget { most, used } = &*self.budget;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| sum <= most);
        let is_added = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.bytes += if is_added { bytes } else { 0 };
        is_added
    }

    /// Holds as many bytes as an answer has, whether they fit or not.
    pub fn hold(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_refused_while_answers_use_the_memory() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.try_add(6) && first.try_add(1) && !second.try_add(4) && second.try_add(3));
        second.hold(20);
        drop(first);
        assert!(budget.is_full() && !budget.share().try_add(1));
        drop(second);
        assert!(!budget.is_full() && budget.share().try_add(10) && !budget.share().try_add(usize::MAX));
    }
}
