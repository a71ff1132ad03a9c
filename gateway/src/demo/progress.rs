//! Live progress where somebody watches, plain lines where nobody does.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// What stands in front of a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// A check passed.
    Pass,
    /// A check failed.
    Fail,
    /// Worth knowing.
    Note,
    /// Not shown.
    Skip,
}

impl Mark {
    const fn symbol(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Fail => "✗",
            Self::Note => "·",
            Self::Skip => "–",
        }
    }

    /// The parameter of "select graphic rendition" (ECMA-48, 8.3.117) for its colour.
    const fn colour(self) -> u8 {
        match self {
            Self::Pass => 32,
            Self::Fail => 31,
            Self::Note => 36,
            Self::Skip => 33,
        }
    }
}

/// The demo's output.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The one step under way, if there is one, below the lines that stay.
    steps: MultiProgress,
    terminal: bool,
    colour: bool,
}

impl Progress {
    /// To standard output. Colours only on a terminal, and not where `NO_COLOR` is set.
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let target =
            if terminal { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        Self { steps: MultiProgress::with_draw_target(target), terminal, colour }
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        self.steps.suspend(|| println!("{text}"));
    }

    /// A line that stays, with its mark.
    pub(super) fn marked(&self, mark: Mark, text: &str) {
        let symbol = self.rendered(mark.colour(), mark.symbol());
        self.line(&format!("  {symbol} {text}"));
    }

    /// Text in bold.
    pub(super) fn bold(&self, text: &str) -> String {
        self.rendered(1, text)
    }

    /// Text in the colour of a mark.
    pub(super) fn coloured(&self, mark: Mark, text: &str) -> String {
        self.rendered(mark.colour(), text)
    }

    fn rendered(&self, parameter: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{parameter}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Begins a step of unknown length.
    pub(super) fn step(&self, what: &str) -> Step {
        self.begin(what, None)
    }

    /// Begins a step of `length` parts.
    pub(super) fn steps(&self, what: &str, length: usize) -> Step {
        self.begin(what, Some(length as u64))
    }

    fn begin(&self, what: &str, length: Option<u64>) -> Step {
        if !self.terminal {
            println!("  … {what}");
        }
        let template = match length {
            Some(_) => "  {spinner} {msg} {bar:24} {pos}/{len}",
            None => "  {spinner} {msg} {elapsed}",
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new(length.unwrap_or_default())
            .with_style(style)
            .with_message(what.to_owned());
        let bar = self.steps.add(bar);
        bar.enable_steady_tick(TICK);
        Step { bar }
    }
}

/// A step under way; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Step {
    bar: ProgressBar,
}

impl Step {
    /// One part is done.
    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
