//! The predictor: only what is needed to answer, shared by any number of threads.

use std::ops::{Range, RangeInclusive};

use rayon::prelude::*;

use crate::domain::input::Inputs;
use crate::domain::label::Label;
use crate::domain::update::AnsweredBy;

use super::analytic::ClosedForm;
use super::answerer::Answerer;
use super::features::Featurizer;
use super::network::parameters;
use super::{Device, LearnerState};

/// Rows computed at once, and before it is asked again whether somebody waits.
pub(super) const CHUNK: usize = 512;
/// Of these, rows that one thread computes: enough to be fast, few enough to stay in the cache.
pub(super) const AT_ONCE: usize = 64;
/// Multiply-adds that take as long as to find a bucket of a text.
const FINDING: usize = 64;
/// Temperatures that a version may have: beyond them there is nothing left to calibrate.
pub(super) const TEMPERATURES: RangeInclusive<f32> = 0.1..=10.0;

/// Answers for one version. Cheap to share: put it in an `Arc`.
#[derive(Debug)]
pub struct Predictor {
    labels: Vec<Label>,
    answered_by: AnsweredBy,
    featurizer: Featurizer,
    network: Answerer,
    closed_form: Option<ClosedForm>,
    temperature: f32,
    size_bytes: usize,
}

/// Why a prediction could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The inputs are of another shape than the model's.
    #[error(
        "inputs have {n_numeric} numbers and {n_categorical} categories, the model takes others"
    )]
    Shape {
        /// Numbers of one input given.
        n_numeric: usize,
        /// Categories of one input given.
        n_categorical: usize,
    },
    /// The network's answer left the finite numbers.
    #[error("the network's answer is not finite")]
    NotFinite,
    /// Nobody wants the answer any more.
    #[error("nobody waits for the answer any more")]
    Unwanted,
}

impl Predictor {
    /// A predictor of `state` that computes on `device`.
    pub fn new(state: &LearnerState, device: Device) -> Self {
        Self::answered_by(state, state.answered_by, device)
    }

    /// The same, answered by `answered_by`, for which `state` has what it takes.
    pub(super) fn answered_by(
        state: &LearnerState,
        answered_by: AnsweredBy,
        device: Device,
    ) -> Self {
        let closed_form = state
            .analytic
            .as_ref()
            .filter(|_| answered_by != AnsweredBy::Network)
            .map(|analytic| ClosedForm::new(analytic, &state.input));
        let parameters = parameters(&state.layers).map(Vec::len).sum::<usize>()
            + closed_form.as_ref().map_or(0, ClosedForm::n_parameters);
        Self {
            answered_by,
            labels: state.labels.clone(),
            featurizer: state.featurizer(),
            network: Answerer::new(&state.shape, &state.answering_layers(), device),
            closed_form,
            temperature: state.temperature,
            size_bytes: parameters * size_of::<f32>(),
        }
    }

    /// Known labels, in the order of the probabilities.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Probabilities, `[n, labels]` row-major; each row adds up to 1. They are calibrated: logits
    /// are divided by the version's temperature (Guo et al. 2017). A missing number counts as the
    /// mean, a category never seen as such.
    ///
    /// # Errors
    /// [`PredictError`] when the inputs have another shape, or a probability is not a number.
    pub fn predict(&self, inputs: &Inputs) -> Result<Vec<f32>, PredictError> {
        self.predict_while(inputs, || true)
    }

    /// The same for as long as the answer `is_wanted`, which is asked now and then.
    ///
    /// # Errors
    /// As [`Self::predict`], and [`PredictError::Unwanted`].
    pub fn predict_while(
        &self,
        inputs: &Inputs,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Vec<f32>, PredictError> {
        let logits = self.logits(inputs, is_wanted)?;
        self.probabilities(logits)
    }

    /// The same of several requests' inputs, each by itself: as [`Self::predict`] says it, to the bit.
    pub fn predict_each(&self, requests: &[Inputs]) -> Vec<Result<Vec<f32>, PredictError>> {
        let mut rows = self.featurizer.no_rows();
        for inputs in requests.iter().filter(|inputs| self.featurizer.fits(inputs)) {
            (0..inputs.len()).for_each(|index| self.featurizer.append(inputs, index, &mut rows));
        }
        let logits = self.network.logits(rows);
        let mut rest = &logits[..];
        let answer = |inputs: &Inputs| {
            self.check(inputs)?;
            let (own, others) = rest.split_at(inputs.len() * self.labels.len());
            rest = others;
            self.probabilities(own.to_vec())
        };
        requests.iter().map(answer).collect()
    }

    /// Whether requests are answered faster together: each of them reads all weights, which are more than
    /// stay near at hand meanwhile.
    pub fn gains_together(&self) -> bool {
        const NEAR_BYTES: usize = 64 << 10;
        self.closed_form.is_none() && self.network.is_dense() && self.size_bytes > NEAR_BYTES
    }

    /// Probabilities of logits, `[n, labels]` row-major.
    fn probabilities(&self, mut logits: Vec<f32>) -> Result<Vec<f32>, PredictError> {
        for row in logits.chunks_exact_mut(self.labels.len()) {
            row.iter_mut().for_each(|logit| *logit /= self.temperature);
            softmax(row);
        }
        match logits.iter().all(|probability| probability.is_finite()) {
            true => Ok(logits),
            false => Err(PredictError::NotFinite),
        }
    }

    /// Bytes that the weights take.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Multiply-adds, about, that an answer to `inputs` takes. How many weights there are does not tell: of
    /// an embedding a text reads next to none, and a convolution goes over each pixel.
    pub fn work(&self, inputs: &Inputs) -> usize {
        let (n, n_buckets) = (inputs.len(), self.featurizer.n_buckets(inputs));
        let of_network = self.network.work(n, n_buckets);
        let answering = match (&self.closed_form, self.answered_by) {
            (Some(closed_form), AnsweredBy::Analytic) => closed_form.work(n, n_buckets),
            (Some(closed_form), AnsweredBy::Both) => of_network + closed_form.work(n, n_buckets),
            _ => of_network,
        };
        n_buckets * FINDING + answering
    }

    /// What the network says before temperature and softmax, `[n, labels]` row-major.
    fn logits(
        &self,
        inputs: &Inputs,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Vec<f32>, PredictError> {
        self.check(inputs)?;
        let mut logits = Vec::with_capacity(inputs.len() * self.labels.len());
        for start in (0..inputs.len()).step_by(CHUNK) {
            if !is_wanted() {
                return Err(PredictError::Unwanted);
            }
            let end = inputs.len().min(start + CHUNK);
            if end - start <= AT_ONCE {
                logits.extend(self.logits_of(inputs, start..end));
                continue;
            }
            let starts: Vec<usize> = (start..end).step_by(AT_ONCE).collect();
            let part = |start: usize| self.logits_of(inputs, start..end.min(start + AT_ONCE));
            let parts: Vec<Vec<f32>> = starts.into_par_iter().map(part).collect();
            parts.iter().for_each(|part| logits.extend_from_slice(part));
        }
        Ok(logits)
    }

    fn check(&self, inputs: &Inputs) -> Result<(), PredictError> {
        if self.featurizer.fits(inputs) {
            return Ok(());
        }
        let (n_numeric, n_categorical) = (inputs.n_numeric(), inputs.n_categorical());
        Err(PredictError::Shape { n_numeric, n_categorical })
    }

    /// The same for inputs whose shape was checked: there is none to be wrong.
    pub(super) fn logits_of_checked(&self, inputs: &Inputs) -> Vec<f32> {
        self.logits(inputs, || true).unwrap_or_default()
    }

    /// The same of the inputs in `range`, by one thread.
    fn logits_of(&self, inputs: &Inputs, range: Range<usize>) -> Vec<f32> {
        let network =
            |range: Range<usize>| self.network.logits(self.featurizer.rows(inputs, range));
        match (&self.closed_form, self.answered_by) {
            (Some(closed_form), AnsweredBy::Analytic) => closed_form.logits(inputs, range),
            (Some(closed_form), AnsweredBy::Both) => {
                // A text is read once for both.
                let texts = self.featurizer.texts(inputs, range.clone());
                let read =
                    texts.and_then(|texts| Some((closed_form.logits_of_texts(&texts)?, texts)));
                match read {
                    Some((said, texts)) => {
                        added(self.network.logits(self.featurizer.weighed(texts)), &said)
                    }
                    None => added(network(range.clone()), &closed_form.logits(inputs, range)),
                }
            }
            _ => network(range),
        }
    }
}

/// The sum of the logits of both: what each holds for likely counts, as often as the other does. All
/// labels of a row may count as much more or less: no probability, no temperature and no order sees it.
pub(super) fn added(mut one: Vec<f32>, other: &[f32]) -> Vec<f32> {
    one.iter_mut().zip(other).for_each(|(one, other)| *one += other);
    one
}

/// Turns logits into probabilities.
pub(super) fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - most).exp();
        sum += *value;
    }
    row.iter_mut().for_each(|value| *value /= sum);
}

/// The place of the largest of `row`; the first of several.
pub(super) fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::input::{ImageSchema, InputSchema, Resize, TabularSchema, TextSchema};
    use crate::domain::settings::{
        CnnSettings, MlpSettings, ModelSettings, NetworkSettings, TextNetworkSettings,
    };
    use crate::learning::analytic::Analytic;
    use crate::learning::begin::hidden_layers;
    use crate::learning::ridge::Sums;
    use crate::learning::seed::{Draw, stream};
    use crate::learning::text::Documents;

    #[test]
    fn a_predictor_can_be_shared_by_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Predictor>();
        shared::<LearnerState>();
    }

    fn state(input: InputSchema, network: NetworkSettings) -> LearnerState {
        let settings = ModelSettings { network, ..ModelSettings::new(input) };
        let mut state = LearnerState::blank(&settings);
        state.layers = hidden_layers(&state, &mut stream(1, Draw::Layers));
        state.grow_head(&["a", "b", "c"].map(|label| Label::parse(label).unwrap()), 1);
        state
    }

    fn closed_form(state: &LearnerState, width: usize) -> Analytic {
        Analytic {
            seed: 1,
            moments: state.moments.clone(),
            dictionaries: Vec::new(),
            dictionary: None,
            ridge: 1.0,
            scale: 1.0,
            sums: Sums::none(width, 3),
            weights: vec![0.0; width * 3],
        }
    }

    #[test]
    fn together_each_is_told_what_it_is_told_alone() {
        let plain = InputSchema::Tabular(TabularSchema { dim: Some(90), features: None });
        let network = NetworkSettings::Mlp(MlpSettings { hidden: vec![120, 70] });
        let predictor = Predictor::new(&state(plain.clone(), network), Device::Flex);
        assert!(predictor.gains_together());
        let few = NetworkSettings::Mlp(MlpSettings { hidden: vec![12] });
        assert!(!Predictor::new(&state(plain, few), Device::Flex).gains_together());
        let request = |(width, numbers): (usize, &[f32])| {
            let mut inputs = Inputs::with_shape(width, 0);
            numbers.iter().for_each(|&number| inputs.push(&vec![number; width], &[]));
            inputs
        };
        let odd = [f32::MAX, f32::NAN];
        let requests =
            [(90, &[0.5, -2.0][..]), (3, &[0.5]), (90, &odd), (90, &[1.5; 9])].map(request);
        let together = predictor.predict_each(&requests);
        let of = |told: &Result<Vec<f32>, PredictError>| match told {
            Ok(told) => Ok(told.clone()),
            Err(error) => Err(error.to_string()),
        };
        for (request, told) in requests.iter().zip(&together) {
            assert_eq!(of(told), of(&predictor.predict(request)));
        }
        assert_eq!(together.iter().filter(|told| told.is_ok()).count(), 3);
    }

    #[test]
    fn work_is_what_is_computed_and_not_what_is_kept() {
        let of = |state: &LearnerState, inputs: &Inputs| {
            Predictor::new(state, Device::Flex).work(inputs)
        };
        let rows = |n: usize, n_numeric: usize| {
            let mut inputs = Inputs::with_shape(n_numeric, 0);
            (0..n).for_each(|_| inputs.push(&vec![0.0; n_numeric], &[]));
            inputs
        };
        let plain = InputSchema::Tabular(TabularSchema { dim: Some(5), features: None });
        let network = NetworkSettings::Mlp(MlpSettings { hidden: vec![8, 6] });
        let layers = 5 * 8 + 8 * 6 + 6 * 3;
        assert_eq!(of(&state(plain, network), &rows(4, 5)), 4 * layers);

        // Few weights, and each is used at thousands of pixels.
        let image = ImageSchema { width: 64, height: 32, channels: 3, resize: Resize::Stretch };
        let cnn = CnnSettings { channels: vec![8, 16], hidden: vec![10] };
        let (stages, dense) = (2_048 * 27 * 8 + 512 * 72 * 16, 16 * 8 * 16 * 10 + 10 * 3);
        let viewer = state(InputSchema::Image(image), NetworkSettings::Cnn(cnn));
        assert_eq!(of(&viewer, &rows(2, 64 * 32 * 3)), 2 * (stages + dense));

        // Many weights, of which a text reads a few rows.
        let text = TextSchema { buckets: 1 << 10, ..TextSchema::default() };
        let network = TextNetworkSettings { embedding: 32, hidden: vec![] };
        let mut reader = state(InputSchema::Text(text), NetworkSettings::Text(network));
        let mut texts = Inputs::with_shape(0, 1);
        texts.push(&[], &[Some("x".repeat(60).into())]);
        texts.push(&[], &[Some("y".repeat(40).into())]);
        assert_eq!(of(&reader, &texts), 400 * (FINDING + 32) + 2 * 32 * 3);
        reader.analytic = Some(closed_form(&reader, 513));
        reader.answered_by = AnsweredBy::Analytic;
        assert_eq!(of(&reader, &texts), 400 * FINDING + 402 * 3);
        reader.answered_by = AnsweredBy::Both;
        assert_eq!(of(&reader, &texts), 400 * (FINDING + 32) + 2 * 32 * 3 + 402 * 3);
    }

    #[test]
    fn both_say_of_a_text_what_each_says_and_the_network_alone_weighs_it() {
        let text = TextSchema { buckets: 1 << 10, idf: true, ..TextSchema::default() };
        let network = TextNetworkSettings { embedding: 32, hidden: vec![] };
        let mut reader = state(InputSchema::Text(text), NetworkSettings::Text(network));
        let weights = (0..513 * 3).map(|place| (place % 7) as f32 * 0.01).collect();
        reader.analytic = Some(Analytic { weights, ..closed_form(&reader, 513) });
        let mut texts = Inputs::with_shape(0, 1);
        for text in ["lost card", "exchange rates abroad"] {
            texts.push(&[], &[Some(text.into())]);
        }
        let logits = |reader: &LearnerState, by| {
            Predictor::answered_by(reader, by, Device::Flex).logits_of_checked(&texts)
        };
        let unweighed = [AnsweredBy::Network, AnsweredBy::Analytic].map(|by| logits(&reader, by));
        let with = (0..1 << 10).map(|bucket| f64::from(bucket % 10)).collect();
        reader.documents = Some(Documents { n: 9.0, with });
        let [network, analytic, both] =
            [AnsweredBy::Network, AnsweredBy::Analytic, AnsweredBy::Both]
                .map(|by| logits(&reader, by));
        assert_ne!(network, unweighed[0]);
        assert_eq!(analytic, unweighed[1]);
        let sums = network.iter().zip(&analytic).map(|(network, analytic)| network + analytic);
        assert!(both.iter().zip(sums).all(|(both, sum)| (both - sum).abs() < 1e-5));
    }

    #[test]
    fn softmax_survives_large_logits() {
        let mut row = [1000.0, 1000.0, -1000.0];
        softmax(&mut row);
        assert_eq!(row, [0.5, 0.5, 0.0]);
    }
}
