//! Why there are no figures.

use std::fmt::Display;

/// Why there are no figures, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something that it takes is not there or does not work.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Something that it takes does not work, and this is what was tried.
    pub(crate) fn when(trying: impl Display) -> impl FnOnce(&dyn Display) -> Self {
        move |error| Self::Unavailable(format!("{trying}: {error}"))
    }
}

/// Says what was tried when it did not work.
pub(crate) trait Trying<T> {
    fn trying(self, what: impl Display) -> Result<T, Error>;
}

impl<T, E: Display> Trying<T> for Result<T, E> {
    fn trying(self, what: impl Display) -> Result<T, Error> {
        self.map_err(|error| Error::when(what)(&error))
    }
}
