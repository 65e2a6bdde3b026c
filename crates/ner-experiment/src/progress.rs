//! Progress bars on stderr, shown only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::Level;

fn bar(len: u64, template: &str) -> ProgressBar {
    let target =
        if tracing::enabled!(Level::INFO) { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(len), target);
    // An invalid template would be a bug here; the default style is better than a failure.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A bar over the tokens of a split.
pub fn tokens(what: &str, len: usize) -> ProgressBar {
    let bar = bar(len as u64, "{msg} {bar:30} {human_pos}/{human_len} tokens, {per_sec}, {eta} left");
    bar.set_message(what.to_owned());
    bar
}

/// A bar over the tokens of a whole training.
pub fn training(len: usize) -> ProgressBar {
    bar(len as u64, "{msg} {bar:30} {percent:>3} %, {per_sec} tokens, {eta} left")
}

/// A bar over steps of equal size.
pub fn steps(what: &str, len: usize) -> ProgressBar {
    bar(len as u64, "{msg} {bar:30} {human_pos}/{human_len}, {eta} left").with_message(what.to_owned())
}

/// A bar over the bytes of files.
pub fn bytes(what: &'static str, len: u64) -> ProgressBar {
    bar(len, "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left").with_message(what)
}

/// A count of documents whose total is unknown.
pub fn documents(what: &'static str) -> ProgressBar {
    bar(0, "{msg} {spinner} {human_pos} documents, {per_sec}").with_message(what)
}
