//! Tensors and a manifest, on their way into a file and out of it.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CheckpointError, inconsistent};
use crate::learning::moments::Moments;
use crate::learning::network::Dense;

/// The metadata entry that holds the manifest.
const MANIFEST: &str = "manifest";

/// Tensors on their way into a file.
#[derive(Default)]
pub(in crate::learning) struct Tensors(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

/// A number that a tensor holds.
pub(in crate::learning) trait Number: Copy {
    const DTYPE: Dtype;
    fn append_to(self, bytes: &mut Vec<u8>);
}

impl Number for f32 {
    const DTYPE: Dtype = Dtype::F32;
    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

impl Number for f64 {
    const DTYPE: Dtype = Dtype::F64;
    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

impl Tensors {
    /// Adds one.
    pub(in crate::learning) fn push<T: Number>(
        &mut self,
        name: String,
        shape: Vec<usize>,
        numbers: &[T],
    ) {
        let mut bytes = Vec::with_capacity(size_of_val(numbers));
        numbers.iter().for_each(|number| number.append_to(&mut bytes));
        self.0.push((name, T::DTYPE, shape, bytes));
    }

    /// Adds statistics.
    pub(super) fn moments(&mut self, name: &str, moments: &Moments) {
        let parts = [("count", &moments.count), ("mean", &moments.mean), ("m2", &moments.m2)];
        for (part, numbers) in parts {
            self.push(format!("{name}.{part}"), vec![numbers.len()], numbers);
        }
    }

    /// Adds layers.
    pub(in crate::learning) fn layers(&mut self, name: &str, layers: &[Dense]) {
        for (index, layer) in layers.iter().enumerate() {
            let shape = vec![layer.n_in, layer.n_out];
            self.push(format!("{name}.{index}.weight"), shape, &layer.weight);
            self.push(format!("{name}.{index}.bias"), vec![layer.n_out], &layer.bias);
        }
    }

    /// The file that holds them and `manifest`: the same of both, the same bytes.
    pub(in crate::learning) fn into_file(self, manifest: &impl Serialize) -> Vec<u8> {
        let manifest = serde_json::to_string(manifest).expect("a manifest is plain JSON");
        let views = self.0.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name, view.expect("as many bytes as the shape says"))
        });
        let metadata = HashMap::from([(MANIFEST.to_owned(), manifest)]);
        safetensors::serialize(views, Some(metadata)).expect("a header within the format's limits")
    }
}

/// The manifest of a file.
pub(in crate::learning) fn manifest_of<T: DeserializeOwned>(
    file: &[u8],
) -> Result<T, CheckpointError> {
    let (_, header) = SafeTensors::read_metadata(file).map_err(CheckpointError::Safetensors)?;
    let manifest = header.metadata().as_ref().and_then(|metadata| metadata.get(MANIFEST));
    let manifest = manifest.ok_or(CheckpointError::Manifest(None))?;
    serde_json::from_str(manifest).map_err(|error| CheckpointError::Manifest(Some(error)))
}

/// Layers of these inputs and outputs.
pub(in crate::learning) fn layers(
    tensors: &SafeTensors<'_>,
    name: &str,
    shapes: impl Iterator<Item = (usize, usize)>,
) -> Result<Vec<Dense>, CheckpointError> {
    let layer = |(index, (n_in, n_out))| {
        let weight = floats(tensors, &format!("{name}.{index}.weight"), &[n_in, n_out])?;
        let bias = floats(tensors, &format!("{name}.{index}.bias"), &[n_out])?;
        Ok(Dense { n_in, n_out, weight, bias })
    };
    shapes.enumerate().map(layer).collect()
}

/// Places on and below the diagonal of a square, row by row.
pub(super) fn lower(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(|row| (0..=row).map(move |column| (row, column)))
}

/// The numbers of a tensor of 32 bits each, all finite.
pub(in crate::learning) fn floats(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, CheckpointError> {
    let numbers = read(tensors, name, Dtype::F32, shape, f32::from_le_bytes)?;
    match numbers.iter().all(|number| number.is_finite()) {
        true => Ok(numbers),
        false => inconsistent(format!("{name} is not finite")),
    }
}

/// The numbers of a tensor of 64 bits each, all finite.
pub(in crate::learning) fn doubles(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f64>, CheckpointError> {
    let numbers = read(tensors, name, Dtype::F64, shape, f64::from_le_bytes)?;
    match numbers.iter().all(|number| number.is_finite()) {
        true => Ok(numbers),
        false => inconsistent(format!("{name} is not finite")),
    }
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
