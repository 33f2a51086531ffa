//! Short texts of many labels: questions to a bank, eleven intents at a time.

use serde_json::{Value, json};

use crate::scenario::{Examined, Sample, Scenario, TestSet, bodies, of_labels};
use crate::tables::directory;

/// Intents that arrive together.
const INTENTS_AN_UPDATE: usize = 11;

/// Banking77 (Casanueva et al. 2020): 10,003 questions to learn and 3,080 to be tested on, intents
/// in the order in which they first come, which no seed changes.
///
/// # Errors
/// What is missing, and how to get it.
pub fn banking() -> Result<Scenario, String> {
    let (train, test) = (read("banking77/train.csv")?, read("banking77/test.csv")?);
    let mut labels: Vec<String> = Vec::new();
    for sample in &train {
        if !labels.contains(&sample.label) {
            labels.push(sample.label.clone());
        }
    }
    let groups = || labels.chunks(INTENTS_AN_UPDATE);
    Ok(Scenario {
        input: json!({"kind": "text"}),
        experiences: groups().map(|group| bodies(&of_labels(&train, group))).collect(),
        tests: groups().map(|group| TestSet::new(&of_labels(&test, group))).collect(),
        examined: Examined::AfterEach,
    })
}

fn read(name: &str) -> Result<Vec<Sample>, String> {
    let file = directory().join(name);
    let about = |error: csv::Error| {
        format!("{}: {error} (Banking77 as text,category: below the directory)", file.display())
    };
    let mut rows = csv::Reader::from_path(&file).map_err(about)?;
    let sample = |row: Result<csv::StringRecord, csv::Error>| {
        let row = row?;
        Ok(Sample { input: Value::from(&row[0]).to_string(), label: row[1].to_owned() })
    };
    rows.records().map(sample).collect::<Result<_, _>>().map_err(about)
}
