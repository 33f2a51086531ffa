//! Predictors and checkpoints.

use std::cell::Cell;
use std::ops::ControlFlow;

use perennial::domain::input::{Feature, FeatureKind, Inputs, TabularSchema};
use perennial::domain::sample::Samples;
use perennial::learning::{Device, PredictError, Predictor, checkpoint, update};
use proptest::prelude::*;

use crate::life::*;

#[test]
fn answers_do_not_depend_on_the_device_or_on_company() {
    let mut life = Life::new(plain(64, &[128, 64]));
    life.learn(&of_labels(&given(), &["0", "1", "2", "3"]));
    let (state, inputs) = (life.state.as_ref().unwrap(), never_given().inputs);
    let together = life.predictor().predict(&inputs).unwrap();
    let other = Predictor::new(state, Device::NdArray).predict(&inputs).unwrap();
    let near = |a: &[f32], b: &[f32], by: f32| a.iter().zip(b).all(|(a, b)| (a - b).abs() < by);
    assert!(near(&together, &other, 1e-4));
    let (predictor, mut alone) = (life.predictor(), Inputs::with_shape(64, 0));
    for index in 0..inputs.len() {
        alone.clear();
        alone.push_from(&inputs, index);
        let answer = predictor.predict(&alone).unwrap();
        assert!(near(&answer, &together[index * 4..(index + 1) * 4], 1e-5));
    }
    assert!(predictor.predict(&Inputs::with_shape(63, 0)).is_err());
    assert!(predictor.predict(&Inputs::with_shape(64, 0)).unwrap().is_empty());
}

#[test]
fn an_answer_that_nobody_wants_any_more_is_not_computed_to_its_end() {
    let mut life = Life::new(plain(64, &[16]));
    life.learn(&of_labels(&given(), &["0", "1"]));
    let mut inputs = Inputs::with_shape(64, 0);
    (0..5_000).for_each(|i| inputs.push(&[i as f32; 64], &[]));
    let n_asked = Cell::new(0);
    let is_wanted = |so_long: usize| {
        n_asked.set(n_asked.get() + 1);
        n_asked.get() <= so_long
    };
    let predictor = life.predictor();
    let stopped = predictor.predict_while(&inputs, || is_wanted(2));
    assert!(matches!(stopped, Err(PredictError::Unwanted)));
    assert_eq!(n_asked.take(), 3);
    let whole = predictor.predict_while(&inputs, || is_wanted(usize::MAX)).unwrap();
    assert_eq!(whole.len(), 10_000);
    assert!(n_asked.get() > 3, "it is asked too seldom");
}

#[test]
fn training_on_either_device_ends_at_the_same_answers() {
    let mut settings = plain(64, &[32]);
    settings.learning.epochs = Some(2);
    let life = Life::new(settings);
    let samples = of_labels(&given(), &["0", "1"]);
    let trained_on = |device| {
        let mut lesson = life.lesson(&samples);
        lesson.device = device;
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        Predictor::new(&learnt.state.unwrap(), device).predict(&samples.inputs).unwrap()
    };
    let (flex, ndarray) = (trained_on(Device::Flex), trained_on(Device::NdArray));
    assert!(flex.iter().zip(&ndarray).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn a_checkpoint_holds_the_whole_state() {
    let mut life = Life::new(plain(64, &[32, 16]));
    let given = given();
    life.learn(&of_labels(&given, &["0", "1"]));
    life.learn(&of_labels(&given, &["2"]));
    let state = life.state.as_ref().unwrap();
    let bytes = checkpoint::encode(state);
    let back = checkpoint::decode(&bytes).unwrap();
    assert_eq!(&back, state);
    assert_eq!(checkpoint::encode(&back), bytes);
    let samples = of_labels(&given, &["3"]);
    let from_memory = bytes_of(&life.lesson(&samples));
    life.state = Some(back);
    assert_eq!(bytes_of(&life.lesson(&samples)), from_memory, "learning goes on from a file");
}

fn small_checkpoint() -> Vec<u8> {
    let feature = |name: &str, kind| Feature { name: name.into(), kind };
    let features = vec![feature("c", FeatureKind::Categorical), feature("x", FeatureKind::Numeric)];
    let mut settings = settings(TabularSchema { dim: None, features: Some(features) }, &[3]);
    settings.learning.epochs = Some(1);
    let mut samples = Samples { inputs: Inputs::new(&settings.input), ..Samples::default() };
    for i in 0..8 {
        push(&mut samples, &[i as f32], &[Some(format!("{}", i % 3).into())], ["a", "b"][i % 2]);
    }
    let mut life = Life::new(settings);
    life.learn(&samples);
    checkpoint::encode(life.state.as_ref().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_damaged_checkpoint_is_an_error_or_a_state_that_answers(
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..4),
        truncate in any::<bool>(),
    ) {
        static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(small_checkpoint);
        let mut bytes = BYTES.clone();
        for (index, bit) in &flips {
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(checkpoint::decode(&bytes).is_err());
        } else if let Ok(state) = checkpoint::decode(&bytes) {
            let predictor = Predictor::new(&state, Device::Flex);
            let mut inputs = Inputs::with_shape(1, 1);
            inputs.push(&[1.0], &[None]);
            let _ = predictor.predict(&inputs);
        }
    }
}
