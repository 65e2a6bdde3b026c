//! Ctrl-C.

use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::warn;

/// A flag that the first Ctrl-C (or SIGTERM) raises, which is said as `what`; a second one ends the process at once.
///
/// # Errors
/// Where no handler can be set.
pub fn stop_flag(what: &'static str) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        warn!("{what}; press Ctrl-C again to stop at once");
    })?;
    Ok(flag)
}
