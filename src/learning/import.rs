//! A state from weights that were trained elsewhere: a safetensors file as PyTorch's names and layouts
//! have it.
//!
//! Layers are `nn.Linear`, `nn.Conv2d` of 3 × 3 (`padding=1, padding_mode="replicate"`) and `nn.GroupNorm`,
//! in the order of the model's network; an image was flattened channel by channel. Nothing in a file is
//! believed: whatever is missing, over, of another type or shape, or not finite is named.

use std::collections::BTreeSet;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::domain::Invalid;
use crate::domain::input::{ImageSchema, InputSchema};
use crate::domain::label::{Label, MAX_LABELS};
use crate::domain::settings::{ModelSettings, NetworkSettings, Strategy};

use super::checkpoint::{floats, manifest_of};
use super::moments::Moments;
use super::network::Dense;
use super::shape::Shape;
use super::state::LearnerState;

/// What a file says of itself, as JSON under `manifest` in its metadata.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// The labels, in the order of the head's outputs.
    labels: Vec<String>,
    /// What is subtracted from each number before the first layer; from each channel of an image.
    mean: Vec<f64>,
    /// What each is divided by then.
    deviation: Vec<f64>,
    /// How many samples these are of: the statistics of new ones are merged into them.
    #[serde(default = "default_samples")]
    samples: f64,
    /// Names of the layers from the first to the head: their tensors are `NAME.weight`, `NAME.bias`.
    /// Unset: numbers, ascending, as `nn.Sequential` counts.
    layers: Option<Vec<String>>,
}

/// Samples that statistics are taken to be of, where the manifest does not say.
fn default_samples() -> f64 {
    10_000.0
}

/// The state of a model with `settings` that answers as the network in `file` does.
///
/// # Errors
/// [`Invalid`], with the pointer of what is wrong: `/NAME.weight`, or `/manifest/labels`.
pub fn import(file: &[u8], settings: &ModelSettings) -> Result<LearnerState, Invalid> {
    let schema = &settings.input;
    let is_offered =
        !matches!(settings.network, NetworkSettings::Moe(_) | NetworkSettings::Text(_));
    if !is_offered || schema.n_categories() > 0 {
        let detail = "weights can be imported into a network of kind mlp or cnn that reads numbers or \
                      images, without categories";
        return Err(Invalid::new(detail));
    }
    if settings.learning.strategy == Strategy::Analytic {
        let detail = "a model whose learning.strategy is analytic answers by sums of its samples, which \
                      weights do not hold: the first update would lose what is imported";
        return Err(Invalid::new(detail));
    }
    let manifest: Manifest = manifest_of(file).map_err(|error| {
        let why = std::error::Error::source(&error).map(ToString::to_string);
        let detail = format!(
            "the file's metadata has no usable `manifest`, JSON with labels, mean and deviation: {}",
            why.unwrap_or_else(|| error.to_string())
        );
        Invalid::at("/manifest", detail)
    })?;
    let tensors = SafeTensors::deserialize(file)
        .map_err(|_| Invalid::new("the body is not a whole safetensors file"))?;
    let labels = labels(&manifest)?;
    let shape = Shape::of(&settings.network, schema);
    let head = (shape.n_hidden(), labels.len());
    let sizes: Vec<_> = shape.body(schema.n_numeric()).into_iter().chain([head]).collect();
    let names = names(&manifest, &tensors, sizes.len())?;
    let mut layers = Vec::with_capacity(sizes.len());
    for (place, (name, &(n_in, n_out))) in names.iter().zip(&sizes).enumerate() {
        layers.push(layer(&tensors, name, layout(&shape, schema, place), (n_in, n_out))?);
    }
    let known: BTreeSet<String> =
        names.iter().flat_map(|name| [format!("{name}.weight"), format!("{name}.bias")]).collect();
    if let Some(other) = tensors.names().into_iter().find(|&name| !known.contains(name)) {
        return Err(Invalid::at(format!("/{other}"), "the network has no such tensor"));
    }
    let mut state = LearnerState::blank(settings);
    state.moments = statistics(&manifest, schema)?;
    rescale(&mut layers[0], &manifest.deviation, &state.moments.scale(schema).deviation)?;
    state.frequencies = vec![manifest.samples / labels.len() as f64; labels.len()];
    state.labels = labels;
    state.layers = layers;
    // It was trained, if not here.
    state.lineage.steps = 1;
    Ok(state)
}

fn labels(manifest: &Manifest) -> Result<Vec<Label>, Invalid> {
    let at = |index: usize| format!("/manifest/labels/{index}");
    if !(1..=MAX_LABELS).contains(&manifest.labels.len()) {
        return Err(Invalid::at("/manifest/labels", format!("give 1 to {MAX_LABELS} labels")));
    }
    let mut seen = BTreeSet::new();
    let labels =
        manifest.labels.iter().enumerate().map(|(index, label)| match seen.insert(label) {
            true => Label::parse(label.as_str()).map_err(|error| error.within(&at(index))),
            false => Err(Invalid::at(at(index), "a label is given twice")),
        });
    labels.collect()
}

/// The names of the layers, in order.
fn names(manifest: &Manifest, tensors: &SafeTensors<'_>, n: usize) -> Result<Vec<String>, Invalid> {
    let names = match &manifest.layers {
        Some(names) => names.clone(),
        None => {
            let prefixes = tensors.names().into_iter().filter_map(|name| name.rsplit_once('.'));
            let numbers: Option<BTreeSet<u32>> =
                prefixes.map(|(prefix, _)| prefix.parse().ok()).collect();
            let Some(numbers) = numbers else {
                let detail = "the tensors' names are no numbers: name the layers, from the first to \
                              the head";
                return Err(Invalid::at("/manifest/layers", detail));
            };
            numbers.into_iter().map(|number| number.to_string()).collect()
        }
    };
    match names.len() == n {
        true => Ok(names),
        false => {
            let detail = format!("there are {} layers, the model's network has {n}", names.len());
            Err(Invalid::at("/manifest/layers", detail))
        }
    }
}

/// Changes `first`, whose rows read numbers of these deviations in turn, so that it says the same of what
/// is divided by `ours`: those that are small beside the others are raised. No factor is bounded, as it is
/// where a normaliser moves: all else would be another network than that in the file.
fn rescale(first: &mut Dense, theirs: &[f64], ours: &[f64]) -> Result<(), Invalid> {
    for row in 0..first.n_in {
        let index = row % theirs.len();
        let stretch = ours[index] / theirs[index];
        for weight in first.row_mut(row) {
            *weight = (f64::from(*weight) * stretch) as f32;
            if !weight.is_finite() {
                let pointer = format!("/manifest/deviation/{index}");
                return Err(Invalid::at(pointer, "a deviation is too small beside the others"));
            }
        }
    }
    Ok(())
}

fn statistics(manifest: &Manifest, schema: &InputSchema) -> Result<Moments, Invalid> {
    let n = schema.n_scales();
    let Manifest { mean, deviation, samples, .. } = manifest;
    for (name, numbers) in [("mean", mean), ("deviation", deviation)] {
        if numbers.len() != n {
            let detail = format!("there are {} numbers, the model takes {n}", numbers.len());
            return Err(Invalid::at(format!("/manifest/{name}"), detail));
        }
    }
    if !(1.0..=1e12).contains(samples) {
        return Err(Invalid::at("/manifest/samples", "samples is 1 to 1000000000000"));
    }
    if let Some(index) = deviation.iter().position(|d| !(f64::MIN_POSITIVE..1e30).contains(d)) {
        let pointer = format!("/manifest/deviation/{index}");
        return Err(Invalid::at(pointer, "a deviation is over 0"));
    }
    if let Some(index) = mean.iter().position(|mean| !(-1e30..1e30).contains(mean)) {
        return Err(Invalid::at(format!("/manifest/mean/{index}"), "a mean is a finite number"));
    }
    let count = samples * (schema.n_numeric() / n) as f64;
    Ok(Moments {
        count: vec![count; n],
        mean: mean.clone(),
        m2: deviation.iter().map(|deviation| deviation * deviation * count).collect(),
    })
}

/// How PyTorch lays a layer's weights out.
#[derive(Clone, Copy)]
enum Layout {
    /// `[out, in]`.
    Linear,
    /// The same, `in` being an image channel by channel: how many pixels, and channels.
    Flattened(usize, usize),
    /// `[out, channels, 3, 3]`.
    Convolution(usize),
    /// `[channels]`.
    Affine,
}

fn layout(shape: &Shape, schema: &InputSchema, place: usize) -> Layout {
    let image = |image: &ImageSchema| Layout::Flattened(image.width * image.height, image.channels);
    match (&shape.stages, schema.image()) {
        (Some(_), _) if shape.is_affine(place) => Layout::Affine,
        (Some(stages), _) if place < shape.n_front() => {
            Layout::Convolution(stages.depth_at(place / 2))
        }
        (Some(stages), _) if place == shape.n_front() => {
            let channels = stages.depth_at(stages.channels.len());
            Layout::Flattened(stages.n_outputs() / channels, channels)
        }
        (None, Some(schema)) if place == 0 => image(schema),
        _ => Layout::Linear,
    }
}

/// The layer called `name`.
fn layer(
    tensors: &SafeTensors<'_>,
    name: &str,
    layout: Layout,
    (n_in, n_out): (usize, usize),
) -> Result<Dense, Invalid> {
    let shape = match layout {
        Layout::Linear | Layout::Flattened(..) => vec![n_out, n_in],
        Layout::Convolution(depth) => vec![n_out, depth, 3, 3],
        Layout::Affine => vec![n_out],
    };
    let theirs = numbers(tensors, &format!("{name}.weight"), &shape)?;
    let bias = numbers(tensors, &format!("{name}.bias"), &[n_out])?;
    // Where what input `row` of ours reads lies among theirs of one output.
    let place = |row: usize| match layout {
        Layout::Linear | Layout::Affine => row,
        Layout::Flattened(n_pixels, depth) => row % depth * n_pixels + row / depth,
        Layout::Convolution(depth) => row % depth * 9 + row / depth,
    };
    let weight = (0..n_in)
        .flat_map(|row| (0..n_out).map(move |output| (row, output)))
        .map(|(row, output)| theirs[output * n_in + place(row)]);
    Ok(Dense { n_in, n_out, weight: weight.collect(), bias })
}

/// The numbers of a tensor, or what is wrong with it.
fn numbers(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, Invalid> {
    let invalid = |detail: String| Invalid::at(format!("/{name}"), detail);
    let Ok(tensor) = tensors.tensor(name) else {
        return Err(invalid(format!("tensor {name} is missing")));
    };
    if tensor.dtype() != Dtype::F32 {
        return Err(invalid(format!("tensor {name} is of type {:?}, F32 is read", tensor.dtype())));
    }
    if tensor.shape() != shape {
        let theirs = tensor.shape();
        return Err(invalid(format!("tensor {name} is {theirs:?}, the network's is {shape:?}")));
    }
    floats(tensors, name, shape).map_err(|error| invalid(format!("tensor {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::cases;
    use crate::domain::input::{Inputs, TabularSchema};
    use crate::domain::settings::MlpSettings;
    use crate::learning::checkpoint::Tensors;
    use crate::learning::{Device, Predictor};

    const READER: &[u8] = include_bytes!("../../tests/import/reader.safetensors");

    fn settings() -> ModelSettings {
        let input = InputSchema::Tabular(TabularSchema { dim: Some(5), features: None });
        let network = NetworkSettings::Mlp(MlpSettings { hidden: vec![8, 6] });
        ModelSettings { network, ..ModelSettings::new(input) }
    }

    #[test]
    fn the_same_file_gives_the_same_state() {
        let state = import(READER, &settings()).unwrap();
        assert_eq!(state.labels().len(), 3);
        assert_eq!(state, import(READER, &settings()).unwrap());
    }

    /// A file of two layers for three numbers, as PyTorch has it.
    fn file(deviation: [f64; 3]) -> Vec<u8> {
        let mut tensors = Tensors::default();
        tensors.push("0.weight".into(), vec![4, 3], &FIRST);
        tensors.push("0.bias".into(), vec![4], &[0.1_f32, -0.2, 0.3, 0.0]);
        tensors.push("2.weight".into(), vec![2, 4], &HEAD);
        tensors.push("2.bias".into(), vec![2], &[0.25_f32, -0.25]);
        tensors.into_file(&json!({"labels": ["a", "b"], "mean": MEAN, "deviation": deviation}))
    }

    const FIRST: [f32; 12] = [0.9, -0.3, 0.2, -0.7, 0.4, 0.1, 0.5, 0.6, -0.8, -0.2, -0.9, 0.3];
    const HEAD: [f32; 8] = [1.0, -0.5, 0.25, 0.75, -1.0, 0.5, 0.8, -0.6];
    const MEAN: [f64; 3] = [7.0, 100.0, -40.0];

    fn of_three_numbers() -> ModelSettings {
        let input = InputSchema::Tabular(TabularSchema { dim: Some(3), features: None });
        let network = NetworkSettings::Mlp(MlpSettings { hidden: vec![4] });
        ModelSettings { network, ..ModelSettings::new(input) }
    }

    #[test]
    fn a_deviation_far_below_the_others_changes_no_answer() {
        // 0.5 is raised to a quarter of 80.
        let deviation = [0.5, 80.0, 60.0];
        let state = import(&file(deviation), &of_three_numbers()).unwrap();
        let predictor = Predictor::new(&state, Device::Flex);
        for raw in [[7.0, 100.0, -40.0], [6.2, 31.0, 20.0], [8.0, 250.0, -99.0]] {
            let normal: Vec<f64> =
                (0..3).map(|j| (f64::from(raw[j]) - MEAN[j]) / deviation[j]).collect();
            let says = |weights: &[f32], bias: f64, of: &[f64]| -> f64 {
                bias + weights.iter().zip(of).map(|(w, x)| f64::from(*w) * x).sum::<f64>()
            };
            let hidden: Vec<f64> = FIRST
                .chunks_exact(3)
                .zip([0.1, -0.2, 0.3, 0.0])
                .map(|(weights, bias)| says(weights, bias, &normal).max(0.0))
                .collect();
            let [a, b] = [(0, 0.25), (1, -0.25)]
                .map(|(label, bias)| says(&HEAD[4 * label..][..4], bias, &hidden).exp());
            let mut inputs = Inputs::with_shape(3, 0);
            inputs.push(&raw, &[]);
            let said = predictor.predict(&inputs).unwrap();
            assert!((f64::from(said[0]) - a / (a + b)).abs() < 1e-5, "{raw:?}: {said:?}");
        }
    }

    #[test]
    fn a_deviation_that_no_weight_can_make_up_for_is_named() {
        let invalid = import(&file([1e-60, 80.0, 60.0]), &of_three_numbers()).unwrap_err();
        assert_eq!(invalid.pointer, "/manifest/deviation/0");
    }

    proptest! {
        #![proptest_config(cases::usually(256))]

        #[test]
        fn no_damage_makes_an_import_panic(
            at in 0..READER.len(), byte: u8, cut in 0..READER.len(),
        ) {
            let mut file = READER.to_vec();
            file[at] = byte;
            let _ = import(&file, &settings());
            prop_assert!(import(&READER[..cut], &settings()).is_err());
        }

        #[test]
        fn no_bytes_are_taken_for_a_file(file in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(import(&file, &settings()).is_err());
        }
    }
}
