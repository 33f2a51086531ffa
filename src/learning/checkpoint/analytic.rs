//! The closed-form learner in a checkpoint.

use ndarray::Array2;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::super::analytic::Analytic;
use super::super::patches::Grid;
use super::super::ridge::Sums;
use super::{CheckpointError, Manifest, Tensors};
use super::{dictionaries, doubles, floats, inconsistent, layers, lower, moments, words};

/// The most features.
const MAX_WIDTH: usize = 1 << 14;
/// How its tensors are named, as those of checkpoint.rs are.
const ANALYTIC: &str = "analytic";
const DICTIONARY: &str = "dictionary";

/// All of it that is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnalyticManifest {
    /// Seed of the random features.
    seed: u64,
    /// How many there are, the constant included.
    width: usize,
    ridge: f64,
    /// What its logits are multiplied by. Files from before they were weighed have none.
    #[serde(default = "unweighed")]
    scale: f32,
    /// Categories as the first version knew them.
    categories: Vec<Vec<Box<str>>>,
}

fn unweighed() -> f32 {
    1.0
}

impl AnalyticManifest {
    pub(super) fn of(analytic: &Analytic) -> Self {
        Self {
            seed: analytic.seed,
            width: analytic.sums.gram.nrows(),
            ridge: analytic.ridge,
            scale: analytic.scale,
            categories: words(&analytic.dictionaries),
        }
    }
}

/// Writes the tensors of `analytic`.
pub(super) fn push(tensors: &mut Tensors, analytic: &Analytic) {
    let (n_features, n_labels) = analytic.sums.targets.dim();
    tensors.moments(ANALYTIC, &analytic.moments);
    tensors.layers(DICTIONARY, analytic.dictionary.as_slice());
    let gram: Vec<f64> = lower(n_features).map(|at| analytic.sums.gram[at]).collect();
    tensors.push(format!("{ANALYTIC}.gram"), vec![gram.len()], &gram);
    let targets: Vec<f64> = analytic.sums.targets.iter().copied().collect();
    let shape = vec![n_features, n_labels];
    tensors.push(format!("{ANALYTIC}.targets"), shape.clone(), &targets);
    tensors.push(format!("{ANALYTIC}.weights"), shape, &analytic.weights);
}

/// How many tensors that is.
pub(super) fn n_tensors(analytic: &Analytic) -> usize {
    6 + 2 * usize::from(analytic.dictionary.is_some())
}

/// The closed-form learner that `manifest` and `tensors` hold, if any.
pub(super) fn read(
    tensors: &SafeTensors<'_>,
    manifest: &Manifest,
) -> Result<Option<Analytic>, CheckpointError> {
    let Some(AnalyticManifest { seed, width, ridge, scale, categories }) = &manifest.analytic
    else {
        return Ok(None);
    };
    let (width, n_labels) = (*width, manifest.labels.len());
    let is_scale = scale.is_finite() && *scale > 0.0;
    if !(2..=MAX_WIDTH).contains(&width) || !ridge.is_finite() || !is_scale {
        return inconsistent("the closed-form learner's numbers are out of range");
    }
    let named = |part: &str| format!("{ANALYTIC}.{part}");
    // Read first: a file that does not hold so many numbers gets no room for them.
    let packed = doubles(tensors, &named("gram"), &[width * (width + 1) / 2])?;
    let mut sums = Sums::none(width, 0);
    lower(width).zip(packed).for_each(|(at, number)| sums.gram[at] = number);
    let targets = doubles(tensors, &named("targets"), &[width, n_labels])?;
    sums.targets = Array2::from_shape_vec((width, n_labels), targets).expect("that shape was read");
    let grid = manifest.input.image().map(Grid::of);
    let sizes = grid.map(|grid| (grid.n_read(), grid.n_directions()));
    if grid.is_some_and(|grid| grid.n_features() + 1 != width) {
        return inconsistent("the closed-form learner does not suit such images");
    }
    Ok(Some(Analytic {
        dictionary: layers(tensors, DICTIONARY, sizes.into_iter())?.pop(),
        seed: *seed,
        moments: moments(tensors, ANALYTIC, manifest.input.n_scales())?,
        dictionaries: dictionaries(categories, &manifest.input)?,
        ridge: *ridge,
        scale: *scale,
        sums,
        weights: floats(tensors, &named("weights"), &[width, n_labels])?,
    }))
}
