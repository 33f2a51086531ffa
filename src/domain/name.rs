//! Names that clients choose: of models and of aliases.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A model's name: `^[a-z0-9][a-z0-9_-]{0,62}$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ModelName(String);

/// An alias's name, of the same form; `live` is the one that predictions use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AliasName(String);

/// The alias that predictions use when a request names no version.
pub const LIVE: &str = "live";

/// Whether `text` has the form that model and alias names share.
fn is_name(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && text.bytes().next().is_some_and(|first| first != b'-' && first != b'_')
}

macro_rules! name {
    ($type:ident, $what:literal) => {
        impl $type {
            /// Checks the form.
            ///
            /// # Errors
            /// [`Invalid`] when `text` is not of the form.
            pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
                let text = text.into();
                if is_name(&text) {
                    return Ok(Self(text));
                }
                Err(Invalid::new(concat!(
                    $what,
                    " is 1 to 63 of a-z, 0-9, '_' and '-', starting with a letter or a digit"
                )))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(ModelName, "a model name");
name!(AliasName, "an alias name");

impl AliasName {
    /// Whether this is the alias that predictions use.
    pub fn is_live(&self) -> bool {
        self.0 == LIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_form() {
        for good in ["a", "digits", "0-9_x", &"x".repeat(63)] {
            assert!(ModelName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a b", "a/b", "ä", "..", &"x".repeat(64)] {
            assert!(ModelName::parse(bad).is_err(), "{bad}");
        }
    }
}
