//! Bars on stderr, or nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Whether to show progress. Bars go to stderr, and only where stderr is a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar for each file.
    #[default]
    Bars,
    /// Nothing, for tests and for output that a program reads.
    Hidden,
}

impl Progress {
    fn start(self, bar: ProgressBar, template: &str, name: &str) -> ProgressBar {
        bar.set_draw_target(match self {
            Progress::Bars => ProgressDrawTarget::stderr(),
            Progress::Hidden => ProgressDrawTarget::hidden(),
        });
        // A template that does not parse would be a fault of this file; the default style is no reason to stop.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        // Dropped with an error or without, a bar leaves no line behind.
        bar.set_message(name.to_owned());
        bar.with_finish(ProgressFinish::AndClear)
    }

    /// A bar in bytes, already `at` along; a spinner with a count where `total` is unknown.
    pub(crate) fn bytes(self, name: &str, at: u64, total: Option<u64>) -> ProgressBar {
        let bar = match total {
            Some(total) => self.start(
                ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
                "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                name,
            ),
            None => self.start(ProgressBar::no_length(), "{spinner} {msg} {bytes} {bytes_per_sec}", name),
        };
        bar.set_position(at);
        bar.reset_eta();
        bar
    }

    /// A spinner for work whose size nobody knows.
    pub(crate) fn spinner(self, name: &str) -> ProgressBar {
        let bar = self.start(ProgressBar::no_length(), "{spinner} {msg} {elapsed}", name);
        if self == Progress::Bars {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }
}
