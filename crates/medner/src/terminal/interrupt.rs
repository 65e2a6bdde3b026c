//! Handling of Ctrl-C and SIGTERM.

use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::warn;

/// Returns a flag that the first Ctrl-C or SIGTERM sets, and logs `what`; a second one ends the process at once.
///
/// # Errors
/// If no handler can be installed.
pub fn stop_flag(what: &'static str) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    on_stop(what, move || raised.store(true, Ordering::Relaxed))?;
    Ok(flag)
}

/// Calls `stop` at the first Ctrl-C or SIGTERM, and logs `what`; a second one ends the process at once.
///
/// # Errors
/// If no handler can be installed.
pub fn on_stop(what: &'static str, stop: impl Fn() + Send + 'static) -> Result<()> {
    let mut is_second = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut is_second, true) {
            std::process::exit(130);
        }
        stop();
        warn!("{what}; press Ctrl-C again to stop at once");
    })?;
    Ok(())
}
