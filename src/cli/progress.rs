//! Progress on standard error, where that is a terminal.

use super::Common;
use disinter::image::progress::Progress;
use disinter::parse::printable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;

/// A bar with rate and time left.
#[derive(Debug)]
pub(crate) struct Bar {
    shown: bool,
    bar: Mutex<ProgressBar>,
}

impl Bar {
    /// Shown unless it was asked to be quiet or standard error is no terminal.
    pub(crate) fn new(common: Common) -> Bar {
        Bar {
            shown: !common.quiet && std::io::stderr().is_terminal(),
            bar: Mutex::new(ProgressBar::hidden()),
        }
    }

    fn with(&self, act: impl FnOnce(&mut ProgressBar)) {
        if let Ok(mut bar) = self.bar.lock() {
            act(&mut bar);
        }
    }
}

impl Progress for Bar {
    fn begin(&self, step: &str, total: u64) {
        if !self.shown {
            return;
        }
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(step.to_owned());
        self.with(|slot| *slot = bar);
    }

    fn advance(&self, bytes: u64) {
        if self.shown {
            self.with(|bar| bar.inc(bytes));
        }
    }

    fn first(&self, source: &str, answer: &str) {
        if self.shown {
            let line = printable(format!("{source}: {answer}").as_bytes());
            self.with(|bar| bar.println(line));
        }
    }

    fn end(&self) {
        self.with(|bar| bar.finish_and_clear());
    }
}
