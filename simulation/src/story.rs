//! What happened, as a table that people read.

use std::fmt;
use std::time::Duration;

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, in microseconds of the world.
    pub at: u64,
    /// Who, for example `e1`, `w0`, `log`.
    pub who: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_micros(self.at).as_secs_f64();
        write!(f, "{seconds:>9.3}  {:<10} {}", self.who, self.what)
    }
}

/// Everything that was told, if anybody listens.
#[derive(Debug, Default)]
pub(crate) struct Story(Option<Vec<Line>>);

impl Story {
    pub(crate) fn listen(&mut self) {
        self.0 = Some(Vec::new());
    }

    /// Told only to listeners: most worlds have none.
    pub(crate) fn tell(&mut self, at: u64, who: impl fmt::Display, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            lines.push(Line {
                at,
                who: who.to_string(),
                what: what(),
            });
        }
    }

    pub(crate) fn lines(self) -> Vec<Line> {
        self.0.unwrap_or_default()
    }
}
