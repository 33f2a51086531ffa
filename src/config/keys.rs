//! The command line of `perennial key`.

use clap::{Args, Subcommand};

use super::Settings;
use crate::domain::key::Scope;

/// What to do with keys.
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: KeyAction,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the flattened settings"
    )]
    pub settings: Settings,
}

/// What can be done with keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyAction {
    /// Make a key and print it: this once, for only a digest of it is kept. From the first key on the
    /// service answers no request without one.
    Create(NewKeyArgs),
    /// List all keys by the characters that they begin with.
    List,
    /// End a key, at once.
    Revoke {
        /// The characters that it begins with, as `list` shows them.
        prefix: String,
    },
}

/// What a new key is to be.
#[derive(Debug, Clone, Args)]
pub struct NewKeyArgs {
    /// What people call it.
    pub name: String,
    /// What it may do, once for each: read, predict, write or admin (everything).
    #[arg(long, required = true)]
    pub scope: Vec<Scope>,
    /// A model that it is good for, once for each. Default: all.
    #[arg(long)]
    pub model: Vec<String>,
    /// Days after which it ends. Default: never.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub expires_in_days: Option<u32>,
    /// Requests that it may make in a minute, where not as many as others.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}
