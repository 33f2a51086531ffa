//! Checkpoints: a learner state as the bytes of a safetensors file, and back.
//!
//! Tensors hold the numbers; one metadata entry, `manifest`, holds the rest as JSON (one, because
//! the format's metadata has no order of its own and the same state must give the same bytes).
//! Nothing in a file is believed: shapes, types and finiteness are checked against the manifest, so
//! that a damaged or foreign file is an error and never a panic or a huge allocation.

use std::collections::BTreeSet;

use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::domain::input::{InputSchema, TextSchema};
use crate::domain::label::{Label, MAX_LABELS};
use crate::domain::settings::{CnnSettings, MAX_EXPERTS, NetworkSettings};
use crate::domain::update::AnsweredBy;

use super::LearnerState;
use super::categories::Dictionary;
use super::drift::Evidence;
use super::features;
use super::moments::Moments;
use super::predict::TEMPERATURES;
use super::shape::{self, Experts, Shape};
use super::state::Lineage;
use super::text::{self, Documents};

mod analytic;
#[cfg(test)]
mod fuzz_tests;
mod tensors;

use analytic::AnalyticManifest;
use tensors::lower;

pub(super) use tensors::{Tensors, doubles, floats, layers, manifest_of};

/// The format that is written, and the only one that is read so far.
const FORMAT: u32 = 3;

/// How tensors are named: the part, then what it is of it.
const NORMALIZER: &str = "normalizer";
/// How many texts there were, then how many of them fell into each bucket.
const DOCUMENTS: &str = "documents";
const LAYERS: &str = "layers";
const IMPORTANCE: &str = "importance";

/// Why bytes are not a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a whole safetensors file.
    #[error("not a safetensors file")]
    Safetensors(#[source] SafeTensorError),
    /// The manifest is missing or cannot be read.
    #[error("the manifest cannot be read")]
    Manifest(#[source] Option<serde_json::Error>),
    /// Written by another release.
    #[error("checkpoint format {0} is not known, only {FORMAT}")]
    Format(u32),
    /// The parts contradict each other.
    #[error("{0}")]
    Inconsistent(String),
}

/// All of a state that is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    input: InputSchema,
    /// Units of each hidden layer, of each expert where there are several.
    hidden: Vec<usize>,
    /// The experts of a mixture.
    experts: Option<Experts>,
    /// Channels of each stage of convolutions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    channels: Vec<usize>,
    /// What is done to texts, in order. Files from before it was written down have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stages: Vec<String>,
    labels: Vec<Label>,
    /// Known categories of each categorical feature.
    categories: Vec<Vec<Box<str>>>,
    updates: u64,
    steps: u64,
    seed: u64,
    /// SHA-256 of the parent's checkpoint, hexadecimal.
    parent: Option<String>,
    /// What logits are divided by before the softmax.
    temperature: f32,
    /// What was seen of meanings that move: only the newest right, only the history, of how many.
    drift: [f64; 3],
    /// Whether they are held to move.
    moves: bool,
    /// What the learnt samples of each label weigh together.
    frequencies: Vec<f64>,
    /// Whether the network was trained as if labels came equally often.
    levelled: bool,
    /// What answers.
    answered_by: AnsweredBy,
    /// Whether the importance of each weight is kept.
    importance: bool,
    /// The closed-form learner, where there is one.
    analytic: Option<AnalyticManifest>,
}

/// The bytes of `state`: the same state, the same bytes.
pub fn encode(state: &LearnerState) -> Vec<u8> {
    let mut tensors = Tensors::default();
    tensors.moments(NORMALIZER, &state.moments);
    if let Some(documents) = &state.documents {
        let counts = [&[documents.n], &documents.with[..]].concat();
        tensors.push(DOCUMENTS.to_owned(), vec![counts.len()], &counts);
    }
    tensors.layers(LAYERS, &state.layers);
    tensors.layers(IMPORTANCE, state.importance.as_deref().unwrap_or_default());
    if let Some(analytic) = &state.analytic {
        analytic::push(&mut tensors, analytic);
    }
    tensors.into_file(&manifest(state))
}

/// The state that [`encode`] made `bytes` of.
///
/// # Errors
/// [`CheckpointError`] when `bytes` are damaged, incomplete, or of another origin.
pub fn decode(bytes: &[u8]) -> Result<LearnerState, CheckpointError> {
    let manifest: Manifest = manifest_of(bytes)?;
    let dictionaries = check(&manifest)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(CheckpointError::Safetensors)?;
    let moments = moments(&tensors, NORMALIZER, manifest.input.n_scales())?;
    let documents = documents(&tensors, &manifest.input)?;
    let layers_of = |name| layers(&tensors, name, shapes(&manifest, &dictionaries));
    let layers = layers_of(LAYERS)?;
    let importance = manifest.importance.then(|| layers_of(IMPORTANCE)).transpose()?;
    let analytic = analytic::read(&tensors, &manifest)?;
    let n_networks = 1 + usize::from(importance.is_some());
    let n_expected = 3
        + usize::from(documents.is_some())
        + 2 * layers.len() * n_networks
        + analytic.as_ref().map_or(0, analytic::n_tensors);
    if tensors.len() != n_expected {
        return inconsistent(format!("{} tensors, {n_expected} expected", tensors.len()));
    }
    let shape = shape(&manifest);
    let Manifest {
        input,
        labels,
        updates,
        steps,
        seed,
        parent,
        drift,
        moves,
        answered_by,
        frequencies,
        levelled,
        temperature,
        ..
    } = manifest;
    let lineage = Lineage { updates, steps, seed, parent };
    let [recent, history, answered] = drift;
    let drift = Evidence { recent, history, answered, moves };
    Ok(LearnerState {
        shape,
        input,
        labels,
        moments,
        documents,
        dictionaries,
        layers,
        importance,
        drift,
        analytic,
        frequencies,
        levelled,
        answered_by,
        temperature,
        lineage,
    })
}

fn manifest(state: &LearnerState) -> Manifest {
    let Lineage { updates, steps, seed, parent } = state.lineage.clone();
    Manifest {
        format: FORMAT,
        input: state.input.clone(),
        hidden: state.shape.hidden.clone(),
        experts: state.shape.experts,
        channels: state.shape.stages.as_ref().map_or(Vec::new(), |stages| stages.channels.clone()),
        stages: stages(&state.input),
        labels: state.labels.clone(),
        categories: words(&state.dictionaries),
        updates,
        steps,
        seed,
        parent,
        temperature: state.temperature,
        drift: [state.drift.recent, state.drift.history, state.drift.answered],
        moves: state.drift.moves,
        frequencies: state.frequencies.clone(),
        levelled: state.levelled,
        answered_by: state.answered_by,
        importance: state.importance.is_some(),
        analytic: state.analytic.as_ref().map(AnalyticManifest::of),
    }
}

fn stages(input: &InputSchema) -> Vec<String> {
    match input {
        InputSchema::Text(text) => text::stages(text),
        InputSchema::Tabular(_) | InputSchema::Image(_) => Vec::new(),
    }
}

fn words(dictionaries: &[Dictionary]) -> Vec<Vec<Box<str>>> {
    dictionaries.iter().map(|dictionary| dictionary.words().to_vec()).collect()
}

/// Checks the manifest by itself; answers its dictionaries.
fn check(manifest: &Manifest) -> Result<Vec<Dictionary>, CheckpointError> {
    if manifest.format != FORMAT {
        return Err(CheckpointError::Format(manifest.format));
    }
    if let Err(invalid) = manifest.input.check() {
        return inconsistent(format!("input: {invalid}"));
    }
    if !manifest.stages.is_empty() && manifest.stages != stages(&manifest.input) {
        return inconsistent("its texts were read in another way");
    }
    let distinct = manifest.labels.iter().collect::<BTreeSet<_>>().len();
    if !(1..=MAX_LABELS).contains(&distinct) || distinct != manifest.labels.len() {
        return inconsistent("labels are missing, too many, or not distinct");
    }
    if manifest.hidden.is_empty() || manifest.hidden.contains(&0) {
        return inconsistent("a hidden layer is missing or empty");
    }
    let channels = &manifest.channels;
    if !channels.is_empty() {
        let cnn = CnnSettings { channels: channels.clone(), hidden: manifest.hidden.clone() };
        if manifest.experts.is_some() || NetworkSettings::Cnn(cnn).check(&manifest.input).is_err() {
            return inconsistent("the channels do not fit the input");
        }
    }
    let is_mixture = |experts: Experts| {
        (1..=MAX_EXPERTS).contains(&experts.n) && (1..=experts.n).contains(&experts.top_k)
    };
    if !manifest.experts.is_none_or(is_mixture) {
        return inconsistent("the number of experts is out of range");
    }
    if manifest.answered_by != AnsweredBy::Network && manifest.analytic.is_none() {
        return inconsistent("what answers is not there");
    }
    let counts = &manifest.frequencies;
    if counts.len() != distinct || !counts.iter().all(|count| count.is_finite() && *count >= 0.0) {
        return inconsistent("as many frequencies as labels are expected");
    }
    if !manifest.drift.iter().all(|count| count.is_finite() && *count >= 0.0) {
        return inconsistent("what was seen of drift is no count");
    }
    if !TEMPERATURES.contains(&manifest.temperature) {
        return inconsistent("the temperature is out of range");
    }
    dictionaries(&manifest.categories, &manifest.input)
}

fn dictionaries(
    categories: &[Vec<Box<str>>],
    input: &InputSchema,
) -> Result<Vec<Dictionary>, CheckpointError> {
    if categories.len() != input.n_categories() {
        return inconsistent("as many dictionaries as categorical features are expected");
    }
    let dictionaries: Option<_> = categories.iter().cloned().map(Dictionary::of).collect();
    match dictionaries {
        Some(dictionaries) => Ok(dictionaries),
        None => inconsistent("a dictionary is too long or repeats a category"),
    }
}

fn moments(
    tensors: &SafeTensors<'_>,
    name: &str,
    n_features: usize,
) -> Result<Moments, CheckpointError> {
    let part = |part: &str| doubles(tensors, &format!("{name}.{part}"), &[n_features]);
    let moments = Moments { count: part("count")?, mean: part("mean")?, m2: part("m2")? };
    match moments.count.iter().chain(&moments.m2).all(|&number| number >= 0.0) {
        true => Ok(moments),
        false => inconsistent("a count or a sum of squares is negative"),
    }
}

fn documents(
    tensors: &SafeTensors<'_>,
    input: &InputSchema,
) -> Result<Option<Documents>, CheckpointError> {
    let InputSchema::Text(TextSchema { buckets, idf: true, .. }) = input else { return Ok(None) };
    let mut with = doubles(tensors, DOCUMENTS, &[buckets + 1])?;
    let n = with.remove(0);
    match with.iter().all(|with| (0.0..=n).contains(with)) {
        true => Ok(Some(Documents { n, with })),
        false => inconsistent("more texts have a bucket than there were"),
    }
}

fn shape(manifest: &Manifest) -> Shape {
    Shape {
        hidden: manifest.hidden.clone(),
        experts: manifest.experts,
        sparse: manifest.input.is_text(),
        stages: shape::stages(&manifest.channels, &manifest.input),
    }
}

/// Inputs and outputs of each layer.
fn shapes(
    manifest: &Manifest,
    dictionaries: &[Dictionary],
) -> impl Iterator<Item = (usize, usize)> {
    let shape = shape(manifest);
    let head = (shape.n_hidden(), manifest.labels.len());
    let width = features::width(&manifest.input, dictionaries);
    shape.body(width).into_iter().chain([head])
}

fn inconsistent<T>(detail: impl Into<String>) -> Result<T, CheckpointError> {
    Err(CheckpointError::Inconsistent(detail.into()))
}
