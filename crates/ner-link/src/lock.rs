//! Mutexes of caches, which stay valid if a thread panics.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex; ignores that a thread panicked with it.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
