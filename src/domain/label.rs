//! Labels: what a sample is, and what a prediction says.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The most labels that one model may have.
pub const MAX_LABELS: usize = 10_000;
/// The longest label, in bytes of UTF-8.
pub const MAX_LABEL_BYTES: usize = 256;

/// A class's name: 1 to 256 bytes of UTF-8, no NUL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Label(String);

impl Label {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Invalid`] when the label is empty, too long, or holds a NUL (PostgreSQL's text has none).
    pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        if text.is_empty() {
            return Err(Invalid::new("label is empty"));
        }
        if text.len() > MAX_LABEL_BYTES {
            return Err(Invalid::new(format!(
                "label is {} bytes long, {MAX_LABEL_BYTES} is the most",
                text.len()
            )));
        }
        if text.contains('\0') {
            return Err(Invalid::new("label holds a NUL character"));
        }
        Ok(Self(text))
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
