//! Handling of Ctrl-C and SIGTERM.

use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
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

/// Like [`stop_flag`], but ends the process if it still runs after `grace`.
///
/// # Errors
/// If no handler can be installed.
pub fn stop_flag_within(what: &'static str, grace: Duration) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    on_stop(what, move || {
        raised.store(true, Ordering::Relaxed);
        thread::spawn(move || {
            thread::sleep(grace);
            warn!("stopped in the middle of a batch, after {} s", grace.as_secs());
            end();
        });
    })?;
    Ok(flag)
}

/// Ends the process at the first Ctrl-C or SIGTERM, without leaving incomplete files behind.
///
/// # Errors
/// If no handler can be installed.
pub fn end_cleanly() -> Result<()> {
    ctrlc::set_handler(|| {
        warn!("stopped; no output was written");
        end()
    })?;
    Ok(())
}

/// Exit code after Ctrl-C, as in shells.
const STOPPED: i32 = 130;

fn end() -> ! {
    ner_stores::abort_uploads();
    ner_files::remove_own_drafts();
    std::process::exit(STOPPED)
}

/// Calls `stop` at the first Ctrl-C or SIGTERM, and logs `what`; a second one ends the process at once.
///
/// # Errors
/// If no handler can be installed.
pub fn on_stop(what: &'static str, stop: impl Fn() + Send + 'static) -> Result<()> {
    let mut is_second = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut is_second, true) {
            end();
        }
        stop();
        warn!("{what}; press Ctrl-C again to stop at once");
    })?;
    Ok(())
}
