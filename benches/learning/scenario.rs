//! What a model is given and asked, as the bodies of requests: made once, sent by every
//! configuration.

use bytes::Bytes;
use serde_json::Value;

/// Samples of one batch, and inputs of one request for predictions.
const SAMPLES_A_BODY: usize = 4_000;
const INPUTS_A_QUESTION: usize = 1_000;

/// A sample: its input as JSON, and its label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// JSON of the input.
    pub input: String,
    /// The true label.
    pub label: String,
}

/// All that a model goes through.
pub struct Scenario {
    /// The model's input schema.
    pub input: Value,
    /// Bodies of batches, an update an experience.
    pub experiences: Vec<Vec<Bytes>>,
    /// Samples that are never posted.
    pub tests: Vec<TestSet>,
    /// When they are asked about.
    pub examined: Examined,
}

/// When a model is examined, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// After each update, on the test sets of the experiences so far.
    AfterEach,
    /// After the last update, on all test sets.
    AfterLast,
    /// Before each experience but the first, on the inputs of that experience.
    BeforeEach,
}

/// Inputs to ask about, and the right answers.
pub struct TestSet {
    /// Bodies of requests for predictions.
    pub questions: Vec<Bytes>,
    /// The true label of each input, in order.
    pub labels: Vec<String>,
}

impl TestSet {
    /// Asks about these.
    pub fn new(samples: &[Sample]) -> Self {
        Self {
            questions: samples.chunks(INPUTS_A_QUESTION).map(question).collect(),
            labels: samples.iter().map(|sample| sample.label.clone()).collect(),
        }
    }
}

/// Those of `samples` that have one of `labels`.
pub fn of_labels(samples: &[Sample], labels: &[String]) -> Vec<Sample> {
    let is_of = |sample: &&Sample| labels.contains(&sample.label);
    samples.iter().filter(is_of).cloned().collect()
}

/// Bodies of NDJSON that hold these samples.
pub fn bodies(samples: &[Sample]) -> Vec<Bytes> {
    samples.chunks(SAMPLES_A_BODY).map(ndjson).collect()
}

fn ndjson(samples: &[Sample]) -> Bytes {
    let mut text = String::new();
    for Sample { input, label } in samples {
        text.extend(["{\"input\":", input, ",\"label\":\"", label, "\"}\n"]);
    }
    text.into()
}

fn question(samples: &[Sample]) -> Bytes {
    let inputs: Vec<&str> = samples.iter().map(|sample| sample.input.as_str()).collect();
    format!("{{\"inputs\":[{}]}}", inputs.join(",")).into()
}
