//! Snapshots: a training between two epochs as bytes, so that another run goes on from there and
//! ends as if nothing had come between.
//!
//! A snapshot holds weights, the optimiser's memory and counters, the best epoch so far and the
//! reports. The state of the random draws is the lesson's seed and the number of epochs: whoever goes
//! on takes them again. A snapshot belongs to one lesson, which its digest names: settings, seed,
//! parent and every sample. One of another lesson or another release, or a damaged one, is none:
//! training begins anew.
//!
//! The file is the SHA-256 of the rest, then a safetensors file.

use std::cell::OnceCell;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::sample::Samples;
use crate::domain::update::EpochReport;

use super::Lesson;
use super::checkpoint::{CheckpointError, Tensors, doubles, layers, manifest_of};
use super::network::Dense;
use super::optimizer::Adam;
use super::stopping::Best;
use super::train::Course;

/// What is written, and the only one that is read.
const FORMAT: u32 = 1;
/// How tensors are named.
const LAYERS: &str = "layers";
const FIRST: &str = "first";
const SECOND: &str = "second";
const BEST: &str = "best";
const LOSSES: &str = "losses";

/// A training between two epochs. It costs nothing until it is encoded.
#[derive(Debug)]
pub struct Snapshot<'a> {
    pub(super) lesson: &'a Lesson<'a>,
    /// The lesson's digest, once somebody has asked for it.
    pub(super) digest: &'a OnceCell<String>,
    pub(super) course: &'a Course,
}

/// All of a snapshot that is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// The lesson's digest.
    lesson: String,
    slower: bool,
    /// Steps that the optimiser made.
    steps: i32,
    epochs: Vec<EpochReport>,
    best: Option<BestManifest>,
}

/// All of the best epoch that is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
struct BestManifest {
    epoch: usize,
    n_asked: usize,
    is_missed: bool,
}

impl Snapshot<'_> {
    /// The bytes to be given to [`Lesson::resume`].
    pub fn encode(&self) -> Vec<u8> {
        let Course { slower, layers, adam, epochs, best } = self.course;
        let mut tensors = Tensors::default();
        tensors.layers(LAYERS, layers);
        tensors.layers(FIRST, &adam.first);
        tensors.layers(SECOND, &adam.second);
        if let Some(best) = best {
            tensors.layers(BEST, &best.layers);
            tensors.push(LOSSES.to_owned(), vec![best.losses.len()], &best.losses);
        }
        let file = tensors.into_file(&Manifest {
            format: FORMAT,
            lesson: digest(self.lesson, self.digest).to_owned(),
            slower: *slower,
            steps: adam.steps,
            epochs: epochs.clone(),
            best: best.as_ref().map(|best| BestManifest {
                epoch: best.epoch,
                n_asked: best.losses.len(),
                is_missed: best.is_missed,
            }),
        });
        [&Sha256::digest(&file)[..], &file].concat()
    }
}

/// The training that `lesson` brings a snapshot of, where it fits; `begun` are the layers that it began
/// with.
pub(super) fn resumed(
    lesson: &Lesson<'_>,
    known_digest: &OnceCell<String>,
    begun: &[Dense],
) -> Option<Course> {
    let (sum, file) = lesson.resume?.split_first_chunk::<32>()?;
    if sum[..] != Sha256::digest(file)[..] {
        return None;
    }
    let manifest: Manifest = manifest_of(file).ok()?;
    let fits = manifest.format == FORMAT && manifest.lesson == digest(lesson, known_digest);
    fits.then(|| decode(file, manifest, begun).ok())?
}

fn decode(file: &[u8], manifest: Manifest, begun: &[Dense]) -> Result<Course, CheckpointError> {
    let tensors = SafeTensors::deserialize(file).map_err(CheckpointError::Safetensors)?;
    let like = |name| layers(&tensors, name, begun.iter().map(|layer| (layer.n_in, layer.n_out)));
    let best = manifest.best.map(|BestManifest { epoch, n_asked, is_missed }| {
        let losses = doubles(&tensors, LOSSES, &[n_asked])?;
        Ok(Best { epoch, layers: like(BEST)?, losses, is_missed })
    });
    Ok(Course {
        slower: manifest.slower,
        layers: like(LAYERS)?,
        adam: Adam { steps: manifest.steps, first: like(FIRST)?, second: like(SECOND)? },
        epochs: manifest.epochs,
        best: best.transpose()?,
    })
}

fn digest<'a>(lesson: &Lesson<'_>, known: &'a OnceCell<String>) -> &'a str {
    known.get_or_init(|| {
        let mut hasher = Sha256::new();
        // Another release may train in another way.
        hasher.update(env!("CARGO_PKG_VERSION"));
        let settings = serde_json::to_vec(lesson.settings).expect("settings are plain JSON");
        hasher.update(settings);
        hasher.update(format!("{:?} {} {:?}", lesson.device, lesson.seed, lesson.parent_digest));
        hasher.update(format!(" {:?}", lesson.refused_until));
        let sets = [&lesson.experience, &lesson.history, &lesson.recent];
        sets.into_iter().chain(&lesson.held_out).for_each(|set| hash_samples(set, &mut hasher));
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

fn hash_samples(samples: &Samples, hasher: &mut Sha256) {
    hasher.update(samples.len().to_le_bytes());
    for (index, label) in samples.labels.iter().enumerate() {
        // The content hash is of input and label; the label's own is of no weight beside it.
        hasher.update(samples.hashes[index].0);
        hasher.update(label.as_str().len().to_le_bytes());
        hasher.update(label.as_str());
        hasher.update(samples.weights[index].to_le_bytes());
        hasher.update(samples.arrived[index].to_le_bytes());
    }
}
