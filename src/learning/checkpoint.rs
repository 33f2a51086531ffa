//! Checkpoints: a learner state as the bytes of a safetensors file, and back.
//!
//! Tensors hold the numbers; one metadata entry, `manifest`, holds the rest as JSON (one, because
//! the format's metadata has no order of its own and the same state must give the same bytes).
//! Nothing in a file is believed: shapes, types and finiteness are checked against the manifest, so
//! that a damaged or foreign file is an error and never a panic or a huge allocation.

use std::collections::{BTreeSet, HashMap};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::domain::input::InputSchema;
use crate::domain::label::{Label, MAX_LABELS};

use super::LearnerState;
use super::categories::Dictionary;
use super::features;
use super::network::Dense;
use super::normalize::Moments;
use super::predict::TEMPERATURES;
use super::state::Lineage;

/// The metadata entry that holds the manifest.
const MANIFEST: &str = "manifest";
/// The format that is written, and the only one that is read so far.
const FORMAT: u32 = 1;

/// Why bytes are not a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a whole safetensors file.
    #[error("not a safetensors file")]
    Safetensors(#[source] SafeTensorError),
    /// The manifest is missing or cannot be read.
    #[error("the manifest cannot be read")]
    Manifest(#[source] Option<serde_json::Error>),
    /// Written by a later release.
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
    hidden: Vec<usize>,
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
}

/// The bytes of `state`: the same state, the same bytes.
pub fn encode(state: &LearnerState) -> Vec<u8> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let statistics =
        [("count", &state.moments.count), ("mean", &state.moments.mean), ("m2", &state.moments.m2)];
    for (name, numbers) in statistics {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        tensors.push((statistic(name), Dtype::F64, vec![numbers.len()], bytes));
    }
    for (index, layer) in state.layers.iter().enumerate() {
        let bytes = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = vec![layer.n_in, layer.n_out];
        tensors.push((weight(index), Dtype::F32, shape, bytes(&layer.weight)));
        tensors.push((bias(index), Dtype::F32, vec![layer.n_out], bytes(&layer.bias)));
    }
    let manifest = serde_json::to_string(&manifest(state)).expect("a manifest is plain JSON");
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name, view.expect("as many bytes as the shape says"))
    });
    let metadata = HashMap::from([(MANIFEST.to_owned(), manifest)]);
    safetensors::serialize(views, Some(metadata)).expect("a header within the format's limits")
}

/// The state that [`encode`] made `bytes` of.
///
/// # Errors
/// [`CheckpointError`] when `bytes` are damaged, incomplete, or of another origin.
pub fn decode(bytes: &[u8]) -> Result<LearnerState, CheckpointError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(CheckpointError::Safetensors)?;
    let manifest = header.metadata().as_ref().and_then(|metadata| metadata.get(MANIFEST));
    let manifest = manifest.ok_or(CheckpointError::Manifest(None))?;
    let manifest: Manifest =
        serde_json::from_str(manifest).map_err(|error| CheckpointError::Manifest(Some(error)))?;
    let dictionaries = check(&manifest)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(CheckpointError::Safetensors)?;
    let moments = moments(&tensors, manifest.input.n_numeric())?;
    let layers = layers(&tensors, &manifest, &dictionaries)?;
    if tensors.len() != 3 + 2 * layers.len() {
        return inconsistent(format!(
            "{} tensors, {} expected",
            tensors.len(),
            3 + 2 * layers.len()
        ));
    }
    let Manifest { input, hidden, labels, updates, steps, seed, parent, temperature, .. } =
        manifest;
    let lineage = Lineage { updates, steps, seed, parent };
    Ok(LearnerState { input, hidden, labels, moments, dictionaries, layers, temperature, lineage })
}

fn manifest(state: &LearnerState) -> Manifest {
    let Lineage { updates, steps, seed, parent } = state.lineage.clone();
    Manifest {
        format: FORMAT,
        input: state.input.clone(),
        hidden: state.hidden.clone(),
        labels: state.labels.clone(),
        categories: state.dictionaries.iter().map(|words| words.words().to_vec()).collect(),
        updates,
        steps,
        seed,
        parent,
        temperature: state.temperature,
    }
}

/// Checks the manifest by itself; answers its dictionaries.
fn check(manifest: &Manifest) -> Result<Vec<Dictionary>, CheckpointError> {
    if manifest.format != FORMAT {
        return Err(CheckpointError::Format(manifest.format));
    }
    if let Err(invalid) = manifest.input.check() {
        return inconsistent(format!("input: {invalid}"));
    }
    let distinct = manifest.labels.iter().collect::<BTreeSet<_>>().len();
    if !(1..=MAX_LABELS).contains(&distinct) || distinct != manifest.labels.len() {
        return inconsistent("labels are missing, too many, or not distinct");
    }
    if manifest.hidden.is_empty() || manifest.hidden.contains(&0) {
        return inconsistent("a hidden layer is missing or empty");
    }
    if manifest.categories.len() != manifest.input.n_categorical() {
        return inconsistent("as many dictionaries as categorical features are expected");
    }
    let dictionaries = manifest.categories.iter().cloned().map(Dictionary::of).collect();
    let Some(dictionaries) = dictionaries else {
        return inconsistent("a dictionary is too long or repeats a category");
    };
    match TEMPERATURES.contains(&manifest.temperature) {
        true => Ok(dictionaries),
        false => inconsistent("the temperature is out of range"),
    }
}

fn moments(tensors: &SafeTensors<'_>, n_features: usize) -> Result<Moments, CheckpointError> {
    let numbers = |name: &str| -> Result<Vec<f64>, CheckpointError> {
        let numbers =
            read(tensors, &statistic(name), Dtype::F64, &[n_features], |bytes: [u8; 8]| {
                f64::from_le_bytes(bytes)
            })?;
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => inconsistent(format!("{} is not finite", statistic(name))),
        }
    };
    let moments = Moments { count: numbers("count")?, mean: numbers("mean")?, m2: numbers("m2")? };
    match moments.count.iter().chain(&moments.m2).all(|&number| number >= 0.0) {
        true => Ok(moments),
        false => inconsistent("a count or a sum of squares is negative"),
    }
}

fn layers(
    tensors: &SafeTensors<'_>,
    manifest: &Manifest,
    dictionaries: &[Dictionary],
) -> Result<Vec<Dense>, CheckpointError> {
    let mut n_in = features::width(manifest.input.n_numeric(), dictionaries);
    let mut layers = Vec::with_capacity(manifest.hidden.len() + 1);
    for (index, &n_out) in manifest.hidden.iter().chain([&manifest.labels.len()]).enumerate() {
        let numbers = |name: String, shape: &[usize]| -> Result<Vec<f32>, CheckpointError> {
            let numbers = read(tensors, &name, Dtype::F32, shape, f32::from_le_bytes)?;
            match numbers.iter().all(|number| number.is_finite()) {
                true => Ok(numbers),
                false => inconsistent(format!("{name} is not finite")),
            }
        };
        let weight = numbers(weight(index), &[n_in, n_out])?;
        layers.push(Dense { n_in, n_out, weight, bias: numbers(bias(index), &[n_out])? });
        n_in = n_out;
    }
    Ok(layers)
}

/// The numbers of the tensor `name`, which must have this type and shape.
fn read<T, const BYTES: usize>(
    tensors: &SafeTensors<'_>,
    name: &str,
    dtype: Dtype,
    shape: &[usize],
    number: impl Fn([u8; BYTES]) -> T,
) -> Result<Vec<T>, CheckpointError> {
    let tensor = tensors.tensor(name).map_err(CheckpointError::Safetensors)?;
    if tensor.dtype() != dtype || tensor.shape() != shape {
        return inconsistent(format!(
            "{name} is {:?} {:?}, {dtype:?} {shape:?} expected",
            tensor.dtype(),
            tensor.shape()
        ));
    }
    // The file's own header was checked: it holds as many bytes as the shape takes.
    let (chunks, _) = tensor.data().as_chunks();
    Ok(chunks.iter().map(|&bytes| number(bytes)).collect())
}

fn inconsistent<T>(detail: impl Into<String>) -> Result<T, CheckpointError> {
    Err(CheckpointError::Inconsistent(detail.into()))
}

fn statistic(name: &str) -> String {
    format!("normalizer.{name}")
}

fn weight(layer: usize) -> String {
    format!("layers.{layer}.weight")
}

fn bias(layer: usize) -> String {
    format!("layers.{layer}.bias")
}
