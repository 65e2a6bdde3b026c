//! Progress bars on stderr.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Whether to show progress bars. They appear only if stderr is a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar for each file.
    #[default]
    Bars,
    /// No bars, for tests and for output that a program reads.
    Hidden,
}

impl Progress {
    fn start(self, bar: ProgressBar, template: &str, name: &str) -> ProgressBar {
        bar.set_draw_target(match self {
            Progress::Bars => ProgressDrawTarget::stderr(),
            Progress::Hidden => ProgressDrawTarget::hidden(),
        });
        // A template that does not parse is a bug here, but not worth stopping for: the default style works.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        // A dropped bar leaves no line behind, also after an error.
        bar.set_message(name.to_owned());
        bar.with_finish(ProgressFinish::AndClear)
    }

    /// A bar in bytes that starts at `at`; a spinner with a count if `total` is unknown.
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

    /// A spinner for work of unknown size.
    pub(crate) fn spinner(self, name: &str) -> ProgressBar {
        let bar = self.start(ProgressBar::no_length(), "{spinner} {msg} {elapsed}", name);
        if self == Progress::Bars {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }
}
