//! The nouns of the service: plain values and their rules, no input or output.
//!
//! Raw strings and numbers stop at these types: whoever holds a `ModelName`, a `Label` or an
//! `InputSchema` holds one that was checked. A value that is stored and shown as the same JSON
//! (settings, report, evaluation) derives its JSON form and its schema here, once.

/// An enum each of whose values is one word, the same in JSON, in SQL and in print.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        // For the schema, whose derive does not see the words below.
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$word_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The value's word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value of this word.
            ///
            /// # Errors
            /// [`Invalid`](crate::domain::Invalid) that lists the words there are.
            pub fn parse(word: &str) -> Result<Self, $crate::domain::Invalid> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::domain::Invalid::new(concat!("must be one of" $(, " ", $word)+))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

pub mod audit;
pub mod batch;
pub mod evaluation;
pub mod event;
pub mod image;
pub mod input;
pub mod key;
pub mod label;
pub mod live;
pub mod matrix;
pub mod name;
pub mod sample;
pub mod settings;
pub mod text;
pub mod update;
pub mod version;

/// A value that breaks a rule: which one, in words for the client, and where (a JSON pointer
/// relative to the value that was checked, empty for the value itself).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// JSON pointer (RFC 6901) below the checked value.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Invalid {
    /// The checked value itself is wrong.
    pub fn new(detail: impl Into<String>) -> Self {
        Self::at("", detail)
    }

    /// The part of the checked value at `pointer` is wrong.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }

    /// The same complaint seen from a value that holds the checked one under `prefix`.
    pub fn within(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

#[cfg(test)]
pub(crate) mod cases;
