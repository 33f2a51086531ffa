//! What goes on from weights that were trained elsewhere, of whose labels there is no sample.

use perennial::domain::input::{ImageSchema, InputSchema, Inputs, Resize};
use perennial::domain::sample::Samples;
use perennial::domain::settings::{CnnSettings, ModelSettings, NetworkSettings};
use perennial::domain::update::AnsweredBy;
use perennial::learning::import;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::life::{Life, answers, push};

const VIEWER: &[u8] = include_bytes!("../import/viewer.safetensors");
const WIDTH: usize = 13;
const NUMBERS: usize = WIDTH * 9 * 3;

fn viewer() -> ModelSettings {
    let image = ImageSchema { width: WIDTH, height: 9, channels: 3, resize: Resize::Stretch };
    let network = CnnSettings { channels: vec![4, 16], hidden: vec![10] };
    let settings = ModelSettings {
        network: NetworkSettings::Cnn(network),
        ..ModelSettings::new(InputSchema::Image(image))
    };
    settings.check().unwrap();
    settings
}

/// `n` images of each label, with a bright stripe around a column of its own.
fn striped(labels: &[(&str, usize)], n: usize, seed: u64) -> Samples {
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut samples = Samples { inputs: Inputs::with_shape(NUMBERS, 0), ..Samples::default() };
    for &(label, column) in labels {
        for _ in 0..n {
            let mut number = |at: usize| {
                let is_bright = (at / 3 % WIDTH).abs_diff(column) < 2;
                draws.gen_range(0..60) as f32 + if is_bright { 190.0 } else { 30.0 }
            };
            let numbers: Vec<f32> = (0..NUMBERS).map(&mut number).collect();
            push(&mut samples, &numbers, &[], label);
        }
    }
    samples
}

#[test]
fn labels_that_came_with_weights_are_still_answered_once_another_is_taught() {
    let mut life = Life::new(viewer());
    life.state = Some(import(VIEWER, &life.settings).unwrap());
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../import/viewer.json")).unwrap();
    let mut images = Inputs::with_shape(NUMBERS, 0);
    for image in file["inputs"].as_array().unwrap() {
        let numbers = image.as_array().unwrap().iter().map(|number| number.as_f64().unwrap());
        images.push(&numbers.map(|number| number as f32).collect::<Vec<_>>(), &[]);
    }
    let before = answers(&life.predictor(), &images);

    let learnt = life.learn(&striped(&[("yak", 2)], 60, 1));
    let answering = learnt.report.answering.unwrap();
    assert_eq!((answering.by, answering.analytic), (AnsweredBy::Network, None));
    assert!(!life.state.as_ref().unwrap().keeps_sums());
    let after = answers(&life.predictor(), &images);
    let n_kept = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert!(n_kept >= 4, "{before:?} {after:?}");

    // Sums begin with samples of all that the network knows.
    life.learn(&striped(&[("cat", 5), ("dog", 8), ("owl", 11)], 60, 2));
    assert!(life.state.as_ref().unwrap().keeps_sums());
}
