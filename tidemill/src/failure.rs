//! Why a verb did not end as asked, as an exit code and as words for people. Printed once, in `main`.

use std::fmt::Display;
use std::process::ExitCode;

/// Why a verb did not end as asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked makes no sense: the words on the command line or the file. Exit 2.
    Usage(Words),
    /// The service cannot be reached, or it refused. Exit 3.
    Service(Words),
    /// The verb was carried out, and what it looked at did not succeed. All has been said. Exit 1.
    Unsuccessful,
    /// Somebody ended this process before the verb was done. All has been said. Exit 128 + the signal.
    Left(u8),
}

/// What is said on stderr: a line per cause, and what to do.
#[derive(Debug, Default)]
pub(crate) struct Words {
    causes: Vec<String>,
    advice: Option<String>,
}

impl Failure {
    /// The signal of Ctrl-C.
    pub(crate) const INTERRUPT: u8 = 2;
    /// The signal that asks a process to end.
    pub(crate) const TERMINATE: u8 = 15;

    /// What was asked makes no sense, because of this.
    pub(crate) fn usage(cause: impl Display) -> Self {
        Self::Usage(Words::one(cause))
    }

    /// What was asked makes no sense, for these reasons.
    pub(crate) fn flaws(causes: impl IntoIterator<Item = String>) -> Self {
        Self::Usage(Words {
            causes: causes.into_iter().collect(),
            advice: None,
        })
    }

    /// The service cannot be reached or refused, because of this.
    pub(crate) fn service(cause: impl Display) -> Self {
        Self::Service(Words::one(cause))
    }

    /// The service failed with an error that has causes of its own.
    pub(crate) fn chain(error: &anyhow::Error) -> Self {
        Self::Service(Words {
            causes: error.chain().map(ToString::to_string).collect(),
            advice: None,
        })
    }

    /// The same failure, with what to do about it.
    pub(crate) fn advise(mut self, advice: impl Display) -> Self {
        match &mut self {
            Self::Usage(words) | Self::Service(words) => words.advice = Some(advice.to_string()),
            Self::Unsuccessful | Self::Left(_) => {}
        }
        self
    }

    /// The first cause.
    pub(crate) fn brief(&self) -> &str {
        match self {
            Self::Usage(words) | Self::Service(words) => {
                words.causes.first().map_or("", String::as_str)
            }
            Self::Unsuccessful => "it did not succeed",
            Self::Left(_) => "interrupted",
        }
    }

    /// Says on stderr what has not been said yet, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Usage(words) => {
                words.say();
                ExitCode::from(2)
            }
            Self::Service(words) => {
                words.say();
                ExitCode::from(3)
            }
            Self::Unsuccessful => ExitCode::from(1),
            Self::Left(signal) => ExitCode::from(128 + signal),
        }
    }
}

impl Words {
    fn one(cause: impl Display) -> Self {
        Self {
            causes: vec![cause.to_string()],
            advice: None,
        }
    }

    fn say(&self) {
        for cause in &self.causes {
            crate::output::complain(&format!("error: {cause}"));
        }
        if let Some(advice) = &self.advice {
            crate::output::complain(&format!("  try: {advice}"));
        }
    }
}
