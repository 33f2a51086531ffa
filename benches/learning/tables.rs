//! Data that comes as rows of numbers with a label last: digits and electricity prices.

use std::collections::BTreeSet;
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

/// Names a table of one's own,
const TABLE_VARIABLE: &str = "BENCH_TABLE";
/// and how many of its labels arrive together.
const LABELS_VARIABLE: &str = "BENCH_LABELS";

/// Digits that arrive together.
const PAIRS: [[&str; 2]; 5] = [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]];
/// Rows of the stream between two updates.
const ROWS_AN_UPDATE: usize = 500;

/// The 1,797 digits, two labels at a time.
pub fn digits(seed: u64) -> Scenario {
    let groups: Vec<Vec<String>> =
        PAIRS.iter().map(|pair| pair.map(str::to_owned).to_vec()).collect();
    in_groups(parse(DIGITS), &groups, seed)
}

/// The table that [`TABLE_VARIABLE`] names, [`LABELS_VARIABLE`] labels at a time in an order that the seed
/// draws; by itself two.
///
/// # Errors
/// What is missing.
pub fn own(seed: u64) -> Result<Scenario, String> {
    let Some(file) = std::env::var_os(TABLE_VARIABLE).map(PathBuf::from) else {
        return Err(format!("{TABLE_VARIABLE} names no CSV of numbers with the label last"));
    };
    let text =
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let at_once: usize =
        std::env::var(LABELS_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let table = parse(&text);
    let known: BTreeSet<&String> = table.samples.iter().map(|sample| &sample.label).collect();
    let mut labels: Vec<String> = known.into_iter().cloned().collect();
    labels.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let groups: Vec<Vec<String>> = labels.chunks(at_once.max(1)).map(<[String]>::to_vec).collect();
    Ok(in_groups(table, &groups, seed))
}

/// Experiences of the labels of each of `groups`, in an order that the seed draws. Never posted is every
/// fifth sample in the order of their content, whatever the order of the rows.
fn in_groups(table: Table<'_>, groups: &[Vec<String>], seed: u64) -> Scenario {
    let Table { columns, mut samples } = table;
    samples.sort();
    let (test, train): (Vec<_>, Vec<_>) =
        samples.into_iter().enumerate().partition(|(index, _)| index % 5 == 4);
    let samples = |part: Vec<(usize, Sample)>| part.into_iter().map(|(_, it)| it).collect();
    let (mut train, test): (Vec<Sample>, Vec<Sample>) = (samples(train), samples(test));
    train.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    Scenario {
        input: json!({"kind": "tabular", "dim": columns.len()}),
        experiences: groups.iter().map(|group| bodies(&of_labels(&train, group))).collect(),
        tests: groups.iter().map(|group| TestSet::new(&of_labels(&test, group))).collect(),
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
