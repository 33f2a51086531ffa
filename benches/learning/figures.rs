//! What runs showed, their means and spreads, and whether that is what is to be reached.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::benchmarks::{Benchmark, Reach};
use crate::client::Failure;
use crate::configurations::Configuration;

/// Most that an update may cost, in naive fine-tunings on the same new samples.
const MOST_OF_NAIVE: f64 = 2.5;
/// Most that the last update may cost, in full retrainings on all samples.
const MOST_OF_RETRAINING: f64 = 0.5;
/// Difference of two accuracies, as a share, that may be chance.
const NOISE: f64 = 0.005;

/// What one update did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Update {
    /// Seconds of all phases.
    pub seconds: f64,
    /// Of these, training.
    pub training_seconds: f64,
    /// Why the gate refused it; empty where it did not.
    pub reasons: Vec<String>,
    /// In a line.
    pub summary: String,
}

impl Update {
    /// Reads an update that has ended.
    ///
    /// # Errors
    /// [`Failure::Failed`] when it did not succeed.
    pub fn read(update: &Value) -> Result<Self, Failure> {
        if update["status"] != "succeeded" {
            let (status, error) = (&update["status"], &update["error"]);
            return Err(Failure::Failed(format!("an update ended as {status}: {error}")));
        }
        let report = &update["report"];
        let phases = report["seconds"].as_object().into_iter().flatten();
        let reasons = report["gate"]["reasons"].as_array().into_iter().flatten();
        let rejected = update["outcome"] == "rejected";
        let samples = &report["samples"];
        let (outcome, training) = (&update["outcome"], &report["training"]);
        Ok(Self {
            seconds: phases.filter_map(|(_, seconds)| seconds.as_f64()).sum(),
            training_seconds: report["seconds"]["train"].as_f64().unwrap_or_default(),
            reasons: reasons.filter(|_| rejected).map(Value::to_string).collect(),
            summary: format!(
                "{outcome}, {} used, {} replayed, {} epochs, held-out accuracy {}, {training}, {}",
                samples["used"],
                samples["replayed"],
                report["epochs"].as_array().map_or(0, Vec::len),
                report["evaluation"]["accuracy"],
                report["seconds"],
            ),
        })
    }

    /// Whether the gate refused it.
    pub fn is_rejected(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// What one run showed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    /// At the end, as a share.
    pub accuracy: f64,
    /// As a share; none where nothing could be forgotten.
    pub forgetting: Option<f64>,
    /// Accuracy each time it was examined.
    pub course: Vec<f64>,
    /// Each update.
    pub updates: Vec<Update>,
}

impl Measured {
    /// Seconds of all updates.
    pub fn seconds(&self) -> f64 {
        self.updates.iter().map(|update| update.seconds).sum()
    }

    /// Seconds that all updates trained.
    pub fn training_seconds(&self) -> f64 {
        self.updates.iter().map(|update| update.training_seconds).sum()
    }

    /// Seconds of the updates that had something to keep: all but the first.
    fn later_seconds(&self) -> f64 {
        self.updates.iter().skip(1).map(|update| update.seconds).sum()
    }

    fn last_seconds(&self) -> f64 {
        self.updates.last().map_or(0.0, |update| update.seconds)
    }

    /// Updates that the gate refused.
    pub fn rejected(&self) -> usize {
        self.updates.iter().filter(|update| update.is_rejected()).count()
    }
}

/// All runs of one configuration.
pub struct Row {
    /// The configuration.
    pub name: String,
    /// A run a seed.
    pub runs: Vec<Measured>,
    /// Why there are no more runs.
    pub failure: Option<Failure>,
}

impl Row {
    /// Without runs yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), runs: Vec::new(), failure: None }
    }

    fn mean(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        self.runs.iter().map(figure).sum::<f64>() / self.runs.len() as f64
    }

    /// The sample standard deviation; none of a single run.
    fn spread(&self, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        let mean = self.mean(&figure);
        let squares: f64 = self.runs.iter().map(|run| (figure(run) - mean).powi(2)).sum();
        (self.runs.len() > 1).then(|| (squares / (self.runs.len() - 1) as f64).sqrt())
    }

    fn forgetting(&self) -> Option<f64> {
        let known = self.runs.iter().all(|run| run.forgetting.is_some());
        known.then(|| self.mean(|run| run.forgetting.unwrap_or_default()))
    }
}

/// The columns of a table.
pub const COLUMNS: [&str; 9] = [
    "configuration",
    "accuracy %",
    "forgetting %",
    "rejected",
    "seconds (training)",
    "x naive",
    "x retraining",
    "to reach",
    "reached",
];

/// The rows as a table shows them.
pub fn judge(benchmark: &Benchmark, rows: &[Row]) -> Vec<[String; COLUMNS.len()]> {
    rows.iter().map(|row| Judge { benchmark, rows, row }.cells()).collect()
}

struct Judge<'a> {
    benchmark: &'a Benchmark,
    rows: &'a [Row],
    row: &'a Row,
}

impl Judge<'_> {
    fn cells(&self) -> [String; COLUMNS.len()] {
        let row = self.row;
        let none = || "–".to_owned();
        let to_reach = self.reach().map_or_else(none, Reach::to_string);
        if let Some(failure) = &row.failure {
            let why = match failure {
                Failure::NotOffered(_) => "not offered",
                Failure::Failed(_) => "failed",
            };
            let (name, why) = (row.name.clone(), why.to_owned());
            return [name, why, none(), none(), none(), none(), none(), to_reach, none()];
        }
        let accuracy = |run: &Measured| 100.0 * run.accuracy;
        let spread = row.spread(accuracy).map_or(String::new(), |spread| format!(" ± {spread:.1}"));
        let rejected: usize = row.runs.iter().map(Measured::rejected).sum();
        let updates: usize = row.runs.iter().map(|run| run.updates.len()).sum();
        let (seconds, training) =
            (row.mean(Measured::seconds), row.mean(Measured::training_seconds));
        [
            row.name.clone(),
            format!("{:.1}{spread}", row.mean(accuracy)),
            row.forgetting().map_or_else(none, |share| format!("{:.1}", 100.0 * share)),
            format!("{rejected} of {updates}"),
            format!("{seconds:.1} ({training:.1})"),
            self.of_naive().map_or_else(none, |ratio| format!("{ratio:.2}")),
            self.of_retraining().map_or_else(none, |ratio| format!("{ratio:.2}")),
            to_reach,
            self.verdict().unwrap_or_else(none),
        ]
    }

    fn named(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name && row.failure.is_none())
    }

    fn reach(&self) -> Option<&Reach> {
        let mut reach = self.benchmark.reach.iter();
        reach.find(|(name, _)| *name == self.row.name).map(|(_, reach)| reach)
    }

    /// The updates after the first, against those of naive fine-tuning.
    fn of_naive(&self) -> Option<f64> {
        let naive = self.named("naive")?.mean(Measured::later_seconds);
        let comparable = self.row.runs.iter().all(|run| run.updates.len() > 1);
        comparable.then(|| self.row.mean(Measured::later_seconds) / naive)
    }

    /// The last update, against retraining on everything at that time.
    fn of_retraining(&self) -> Option<f64> {
        let retraining = self.named("retrain")?.mean(Measured::last_seconds);
        Some(self.row.mean(Measured::last_seconds) / retraining)
    }

    /// `yes`, or what is missing; none where nothing is asked.
    fn verdict(&self) -> Option<String> {
        let accuracy = self.row.mean(|run| run.accuracy);
        let mut missed = Vec::new();
        match self.reach()? {
            Reach::Accuracy { percent, most_forgetting } => {
                let short = percent - 100.0 * accuracy;
                missed.extend((short > 0.0).then(|| format!("accuracy {short:.1} short")));
                let forgetting = self.row.forgetting().map(|share| 100.0 * share);
                let over = forgetting.zip(*most_forgetting).filter(|(is, most)| is > most);
                missed.extend(over.map(|(is, most)| format!("forgetting {:.1} over", is - most)));
            }
            Reach::NotBelow(other) => {
                let short = self.named(other)?.mean(|run| run.accuracy) - accuracy;
                missed.extend((short > NOISE).then(|| format!("{:.1} below", 100.0 * short)));
            }
        }
        if !Configuration::is_control(&self.row.name) {
            let dear = |ratio: Option<f64>, most: f64| ratio.filter(|&ratio| ratio > most);
            let naive = dear(self.of_naive(), MOST_OF_NAIVE);
            missed.extend(naive.map(|_| format!("over {MOST_OF_NAIVE} x naive")));
            let retraining = dear(self.of_retraining(), MOST_OF_RETRAINING);
            missed.extend(retraining.map(|_| format!("over {MOST_OF_RETRAINING} x retraining")));
        }
        Some(match missed.is_empty() {
            true => "yes".to_owned(),
            false => format!("no: {}", missed.join(", ")),
        })
    }
}
