//! Mixtures of experts: they learn, remember and grow as a plain network does.

use std::ops::ControlFlow;

use perennial::domain::settings::{ModelSettings, MoeSettings, NetworkSettings};
use perennial::learning::{Device, Predictor, checkpoint, update};

use crate::invariants::old_answers_stay_when_the_normaliser_moves;
use crate::life::*;

fn mixture(dim: usize, moe: MoeSettings) -> ModelSettings {
    let mut settings = plain(dim, &[1]);
    settings.network = NetworkSettings::Moe(moe);
    settings.check().unwrap();
    settings
}

fn of(experts: usize, top_k: usize, grow: bool) -> MoeSettings {
    MoeSettings { hidden: vec![32], experts, top_k, grow }
}

#[test]
fn a_mixture_learns_new_labels_and_keeps_the_old() {
    let given = given();
    for moe in [of(4, 1, false), of(3, 2, false), of(2, 1, true)] {
        let mut life = Life::new(mixture(64, moe.clone()));
        let pairs = [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]];
        pairs.iter().for_each(|pair| _ = life.learn(&of_labels(&given, pair)));
        let accuracy = life.accuracy(&never_given());
        println!("{moe:?}: {accuracy:.4}");
        assert!(accuracy > 0.93, "{moe:?}: {accuracy}");
        let state = life.state.as_ref().unwrap();
        assert_eq!(&checkpoint::decode(&checkpoint::encode(state)).unwrap(), state);
    }
}

#[test]
fn new_labels_bring_an_expert_and_known_ones_do_not() {
    let given = given();
    let size = |life: &Life| life.predictor().size_bytes();
    let mut life = Life::new(mixture(64, of(2, 1, true)));
    let first = of_labels(&given, &["0", "1"]);
    life.learn(&filter(&first, |index| index % 2 == 0));
    let before = size(&life);
    life.learn(&filter(&first, |index| index % 2 == 1));
    assert_eq!(size(&life), before);
    life.learn(&of_labels(&given, &["2"]));
    // A gate's column, a hidden layer, and the new label's output.
    let numbers = (64 + 1) + (64 + 1) * 32 + (32 + 1);
    assert_eq!(size(&life), before + numbers * size_of::<f32>());
}

#[test]
fn a_mixture_is_deterministic_on_any_number_of_threads_and_either_device() {
    let given = given();
    let mut settings = mixture(64, of(3, 2, true));
    settings.learning.epochs = Some(2);
    let mut life = Life::new(settings);
    life.learn(&of_labels(&given, &["0", "1"]));
    let new = of_labels(&given, &["1", "2"]);
    let on = |n_threads: usize, seed: u64| {
        let lesson = life.lesson(&shuffled(&new, seed));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| bytes_of(&lesson))
    };
    assert_eq!(on(1, 1), on(3, 2));
    let learnt = update(&life.lesson(&new), &mut |_| ControlFlow::Continue(())).unwrap();
    let state = learnt.state.unwrap();
    let inputs = never_given().inputs;
    let [flex, ndarray] = [Device::Flex, Device::NdArray]
        .map(|device| Predictor::new(&state, device).predict(&inputs).unwrap());
    assert!(flex.iter().zip(&ndarray).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn a_moved_normaliser_leaves_what_a_mixture_says() {
    old_answers_stay_when_the_normaliser_moves(mixture(64, of(3, 2, false)));
}
