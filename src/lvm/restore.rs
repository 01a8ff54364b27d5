//! A text as a file that vgcfgrestore takes.

use super::carve::{Carved, Form};
use thiserror::Error;

/// Why a text cannot be made into a restore file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The text is cut.
    #[error("the text is not complete: {0}")]
    Incomplete(String),
    /// The text holds bytes that are no text.
    #[error("the text is not UTF-8")]
    NotText,
}

/// The file's bytes: a file's text as it was found, to the byte; a ring's text with the two keys in front that
/// vgcfgrestore demands, if they are not in its own description.
///
/// # Errors
/// [`RestoreError`] where the text is cut or is no text.
pub fn restore_file(carved: &Carved) -> Result<String, RestoreError> {
    if !carved.complete {
        let fault = carved.fault.clone().unwrap_or_default();
        return Err(RestoreError::Incomplete(fault));
    }
    let text = String::from_utf8(carved.bytes.clone()).map_err(|_| RestoreError::NotText)?;
    Ok(match carved.form {
        Form::File => text,
        Form::Ring if carved.about.versioned => text,
        Form::Ring => {
            format!("contents = \"Text Format Volume Group\"\nversion = 1\n\n{text}")
        }
    })
}
