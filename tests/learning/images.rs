//! Images: labels that come later, a normaliser that moves, and sums that keep all.

use std::ops::ControlFlow;

use perennial::domain::input::{ImageSchema, InputSchema, Resize};
use perennial::domain::sample::Samples;
use perennial::domain::settings::{
    Augmentation, CnnSettings, LearningSettings, ModelSettings, NetworkSettings, Strategy,
};
use perennial::learning::{Device, LearnerState, Predictor, checkpoint, update};

use safetensors::SafeTensors;

use crate::invariants::old_answers_stay_when_the_normaliser_moves;
use crate::life::*;

/// A model of the digits as images of 8 × 8 pixels.
fn viewer(strategy: Strategy) -> ModelSettings {
    let image = ImageSchema { width: 8, height: 8, channels: 1, resize: Resize::Stretch };
    let settings = ModelSettings {
        input: InputSchema::Image(image),
        network: NetworkSettings::Cnn(CnnSettings { channels: vec![8], hidden: vec![32] }),
        ..plain(1, &[1])
    };
    settings.check().unwrap();
    // A fifth of what it would take by itself.
    let learning = LearningSettings { epochs: Some(20), ..settings.learning };
    with_strategy(ModelSettings { learning, ..settings }, strategy)
}

const PAIRS: [[&str; 2]; 5] = [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]];

fn lived(settings: ModelSettings) -> Life {
    let (mut life, given) = (Life::new(settings), given());
    PAIRS.iter().for_each(|pair| _ = life.learn(&of_labels(&given, pair)));
    life
}

#[test]
fn what_replays_or_keeps_sums_remembers_images_and_what_does_not_forgets() {
    let unseen = never_given();
    let accuracy = |strategy, memory| {
        let mut settings = viewer(strategy);
        settings.learning.memory = memory;
        lived(settings).accuracy(&unseen)
    };
    let naive = accuracy(Strategy::Naive, None);
    assert!(naive < 0.4, "naive keeps {naive}: the rest proves nothing");
    for (strategy, memory) in
        [(Strategy::Auto, None), (Strategy::Auto, Some(50)), (Strategy::Analytic, None)]
    {
        let accuracy = accuracy(strategy, memory);
        println!("{strategy:?} {memory:?}: {accuracy:.4}");
        assert!(accuracy > 0.95, "{strategy:?} {memory:?}: {accuracy}");
    }
}

#[test]
fn a_viewer_is_the_same_after_it_was_stored_on_any_number_of_threads_and_on_either_device() {
    let (mut life, given) = (Life::new(viewer(Strategy::Auto)), given());
    life.learn(&of_labels(&given, &PAIRS[0]));
    let state = life.state.as_ref().unwrap();
    let bytes = checkpoint::encode(state);
    let stored = checkpoint::decode(&bytes).unwrap();
    assert_eq!(checkpoint::encode(&stored), bytes);
    let unseen = never_given();
    let answers = |state: &LearnerState, device| {
        Predictor::new(state, device).predict(&unseen.inputs).unwrap()
    };
    let (one, other) = (answers(&stored, Device::Flex), answers(state, Device::NdArray));
    assert!(one.iter().zip(&other).all(|(one, other)| (one - other).abs() < 1e-4));
    let new = of_labels(&given, &PAIRS[1]);
    let on = |n_threads: usize, seed: u64| {
        let lesson = life.lesson(&shuffled(&new, seed));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| bytes_of(&lesson))
    };
    assert_eq!(on(1, 1), on(3, 2));
}

#[test]
fn a_moved_normaliser_leaves_what_a_viewer_says() {
    old_answers_stay_when_the_normaliser_moves(viewer(Strategy::Replay));
    let mut dense = viewer(Strategy::Replay);
    dense.network = plain(1, &[32]).network;
    old_answers_stay_when_the_normaliser_moves(dense);
}

#[test]
fn the_closed_form_of_images_knows_no_order_and_forgets_what_is_taken_out() {
    let settings = viewer(Strategy::Analytic);
    let given = given();
    let [first, one, two] = [0, 1, 2].map(|pair| of_labels(&given, &PAIRS[pair]));
    let mut more = of_labels(&given, &["0", "2", "5"]);
    // Each has the label of another, so that it matters whether they were learnt.
    more.labels.rotate_left(1);
    // The first decides the patches that images are compared with.
    let learnt = |sets: &[&Samples]| learnt_without_judges(&settings, sets);
    let all = learnt(&[&first, &one, &two, &more]);
    let unseen = never_given().inputs;
    let is_near = |a: &LearnerState, b: &LearnerState| {
        let (a, b) = (by_label(a, &unseen), by_label(b, &unseen));
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4)
    };
    assert!(is_near(&all, &learnt(&[&first, &two, &more, &one])));
    let without = learnt(&[&first, &one, &two]);
    assert!(is_near(&all.without(&more), &without));
    assert!(!is_near(&all, &without), "it had learnt it");
}

#[test]
fn an_image_that_is_all_one_colour_and_one_label_alone_do_no_harm() {
    let settings = viewer(Strategy::Auto);
    let mut life = Life::new(settings);
    let mut samples = Samples::empty(&life.settings.input);
    for brightness in 0..40_u8 {
        push(&mut samples, &[f32::from(brightness); 64], &[], "grey");
    }
    life.learn(&samples);
    let given = of_labels(&given(), &["0", "1"]);
    let learnt = update(&life.lesson(&given), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(learnt.state.unwrap().labels().len(), 3);
}

/// The weights of layer `place` of a state.
fn weights(state: &LearnerState, place: usize) -> Vec<u8> {
    let file = checkpoint::encode(state);
    let tensors = SafeTensors::deserialize(&file).unwrap();
    tensors.tensor(&format!("layers.{place}.weight")).unwrap().data().to_vec()
}

#[test]
fn frozen_layers_stay_as_the_first_version_has_them() {
    let given = given();
    let moved = |frozen_layers: u32| {
        let mut settings = viewer(Strategy::Replay);
        settings.learning.frozen_layers = frozen_layers;
        settings.learning.epochs = Some(2);
        settings.check().unwrap();
        let mut life = Life::new(settings);
        life.learn(&of_labels(&given, &PAIRS[0]));
        let first = life.state.clone().unwrap();
        life.learn(&of_labels(&given, &PAIRS[1]));
        let second = life.state.unwrap();
        // The first layer is changed by the normaliser, not by training: it is not looked at.
        [1, 2].map(|place| weights(&first, place) != weights(&second, place))
    };
    assert_eq!(moved(0), [true, true]);
    assert_eq!(moved(1), [false, true]);
    assert_eq!(moved(2), [false, false]);
    let mut settings = viewer(Strategy::Replay);
    settings.learning.frozen_layers = 3;
    assert!(settings.check().is_err());
}

#[test]
fn augmented_training_is_the_same_each_time_and_learns() {
    let given = given();
    let mut settings = viewer(Strategy::Auto);
    settings.learning.augmentation =
        Augmentation { shift: 1, brightness: 0.3, contrast: 0.2, cutout: 2, flip: false };
    settings.check().unwrap();
    let mut life = Life::new(settings.clone());
    life.learn(&of_labels(&given, &PAIRS[0]));
    let lesson = life.lesson(&of_labels(&given, &PAIRS[1]));
    let bytes = bytes_of(&lesson);
    assert_eq!(bytes, bytes_of(&lesson));
    let unseen = of_labels(&never_given(), &["0", "1", "2", "3"]);
    let state = checkpoint::decode(&bytes).unwrap();
    let answers = answers(&Predictor::new(&state, Device::Flex), &unseen.inputs);
    let right = answers.iter().zip(&unseen.labels).filter(|(given, label)| given == label).count();
    assert!(right as f64 > 0.9 * unseen.len() as f64, "{right} of {}", unseen.len());
    settings.learning.augmentation.shift = 5;
    assert!(settings.check().is_err());
}
