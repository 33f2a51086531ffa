//! The command line: which benchmarks, which configurations, and what to change about them.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use serde_json::Value;

use crate::benchmarks::Benchmark;
use crate::configurations::{self, Configuration};

/// Measures what updates learn and forget, through the service itself.
#[derive(Debug, Parser)]
#[command(name = "learning")]
pub struct Arguments {
    /// Benchmarks to run; none: all of them.
    pub benchmarks: Vec<String>,
    /// Runs of each configuration, a seed each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// The first of the seeds.
    #[arg(long, default_value_t = 0)]
    first_seed: u32,
    /// Configurations to run; none: all of the benchmark.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Changes the settings of every model: `learning.epochs=2`, `network.hidden=[64,64]`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub changes: Vec<Change>,
    /// Adds a configuration, the default with changes: `slow:learning.epochs=9;gate.max_drop=null`.
    #[arg(long = "variant", value_name = "NAME:PATH=VALUE;…")]
    pub variants: Vec<Variant>,
    /// Shows each update.
    #[arg(long)]
    pub verbose: bool,
    /// Puts the figures into this page, which has a place for them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "changes", "variants"])]
    pub write: Option<PathBuf>,
    /// Adds each run to this file, and does not run again what is in it.
    #[arg(long, value_name = "FILE")]
    pub runs: Option<PathBuf>,
    /// The date to write, instead of today's.
    #[arg(long)]
    date: Option<String>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// The seeds to run with.
    pub fn seeds(&self) -> Range<u32> {
        self.first_seed..self.first_seed + self.seeds
    }

    /// The date of the figures.
    pub fn date(&self) -> String {
        let today = || time::OffsetDateTime::now_utc().date().to_string();
        self.date.clone().unwrap_or_else(today)
    }

    /// What to compare on `benchmark`.
    pub fn configurations(&self, benchmark: &Benchmark) -> Vec<Configuration> {
        let own = benchmark.configurations.iter();
        let own = own.map(|name| Configuration::named(name));
        let variants = self.variants.iter().map(|variant| {
            let Variant { name, changes } = variant;
            Configuration::default_with(name, changes)
        });
        let wanted = |it: &Configuration| self.only.is_empty() || self.only.contains(&it.name);
        let mut configurations: Vec<Configuration> = own.filter(wanted).chain(variants).collect();
        for configuration in &mut configurations {
            self.changes.iter().for_each(|change| change.apply(&mut configuration.settings));
        }
        configurations
    }
}

/// One setting and its value.
#[derive(Debug, Clone)]
pub struct Change {
    path: String,
    value: Value,
}

impl Change {
    /// Changes `settings`.
    pub fn apply(&self, settings: &mut Value) {
        let nested = self.path.rsplit('.').fold(self.value.clone(), |value, name| {
            Value::Object([(name.to_owned(), value)].into_iter().collect())
        });
        configurations::merge(settings, &nested);
    }
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("write PATH=VALUE")?;
        // What is no JSON is a word, as names of strategies are.
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        Ok(Self { path: path.to_owned(), value })
    }
}

/// A configuration made up on the command line.
#[derive(Debug, Clone)]
pub struct Variant {
    name: String,
    changes: Vec<Change>,
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, changes) = text.split_once(':').ok_or("write NAME:PATH=VALUE;…")?;
        let changes = changes.split(';').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), changes })
    }
}
