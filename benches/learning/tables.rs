//! Data that comes as rows of numbers with a label last: digits and electricity prices.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use crate::scenario::{Examined, Sample, Scenario, TestSet, bodies, of_labels};

/// See data/README.md.
const DIGITS: &str = include_str!("../../data/digits.csv");
/// Names the directory of data that the repository does not carry.
const DIR_VARIABLE: &str = "BENCH_DATA_DIR";

/// Digits that arrive together.
const PAIRS: [[&str; 2]; 5] = [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]];
/// Rows of the stream between two updates.
const ROWS_AN_UPDATE: usize = 500;

/// The 1,797 digits, two labels at a time. Never posted is every fifth in the order of their
/// content, whatever the order of the rows.
pub fn digits(seed: u64) -> Scenario {
    let mut samples = parse(DIGITS).samples;
    samples.sort();
    let (test, train): (Vec<_>, Vec<_>) =
        samples.into_iter().enumerate().partition(|(index, _)| index % 5 == 4);
    let samples = |part: Vec<(usize, Sample)>| part.into_iter().map(|(_, it)| it).collect();
    let (mut train, test): (Vec<Sample>, Vec<Sample>) = (samples(train), samples(test));
    train.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    Scenario {
        input: json!({"kind": "tabular", "dim": 64}),
        experiences: PAIRS.iter().map(|pair| bodies(&of_labels(&train, pair))).collect(),
        tests: PAIRS.iter().map(|pair| TestSet::new(&of_labels(&test, pair))).collect(),
        examined: Examined::AfterEach,
    }
}

/// Elec2 (Harries 1999): 45,312 half-hours of the electricity market of New South Wales, in order.
///
/// # Errors
/// What is missing, and how to get it.
pub fn elec() -> Result<Scenario, String> {
    let file = directory().join("elec/elec.csv");
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!(
            "{}: {error} (Elec2 as CSV with the label last: name the directory that has it as \
             elec/elec.csv in {DIR_VARIABLE})",
            file.display()
        )
    })?;
    let Table { columns, samples } = parse(&text);
    let features: Vec<Value> =
        columns.iter().map(|name| json!({"name": name, "type": "numeric"})).collect();
    let chunks = || samples.chunks(ROWS_AN_UPDATE);
    Ok(Scenario {
        input: json!({"kind": "tabular", "features": features}),
        experiences: chunks().map(bodies).collect(),
        tests: chunks().map(TestSet::new).collect(),
        examined: Examined::BeforeEach,
    })
}

/// The directory of data that the repository does not carry.
pub fn directory() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    std::env::var_os(DIR_VARIABLE).map_or_else(beside, PathBuf::from)
}

struct Table<'a> {
    /// Names of the columns but the last.
    columns: Vec<&'a str>,
    /// In the order of the rows.
    samples: Vec<Sample>,
}

fn parse(text: &str) -> Table<'_> {
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(','));
    let (columns, _) = lines.next().unwrap_or_default();
    let sample = |(numbers, label): (&str, &str)| Sample {
        input: format!("[{numbers}]"),
        label: label.to_owned(),
    };
    Table { columns: columns.split(',').collect(), samples: lines.map(sample).collect() }
}
