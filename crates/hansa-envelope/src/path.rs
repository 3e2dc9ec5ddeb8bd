//! Checks of names and paths in a manifest; see [`hansa_types::path_problem`].

use hansa_types::{name_problem, path_problem};

use crate::EnvelopeError;

/// Checks a `/`-separated relative path.
///
/// # Errors
/// [`EnvelopeError::Path`] with the finding of [`path_problem`].
pub fn check_path(path: &str) -> Result<(), EnvelopeError> {
    match path_problem(path) {
        None => Ok(()),
        Some(why) => Err(refused(path, why)),
    }
}

/// Checks an object's name.
///
/// # Errors
/// [`EnvelopeError::Path`] with the finding of [`name_problem`].
pub fn check_name(name: &str) -> Result<(), EnvelopeError> {
    name_problem(name).map_or(Ok(()), |why| Err(refused(name, why)))
}

pub(crate) fn refused(path: &str, why: &'static str) -> EnvelopeError {
    EnvelopeError::Path { path: path.chars().take(200).collect(), why }
}
