//! What is not learnt from: contradictions, outliers, and how each is told of.

use std::collections::BTreeSet;

use perennial::domain::input::Inputs;
use perennial::domain::label::Label;
use perennial::domain::sample::{ContentHash, Samples};
use perennial::domain::settings::{Contradictory, Outliers, Strategy};
use perennial::domain::update::Decision;
use perennial::learning::Learnt;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::life::*;

/// The same inputs with `label` for each; they come after `samples`.
fn relabelled(samples: &Samples, mut label: impl FnMut(&Label) -> Label) -> Samples {
    let mut others = samples.empty_like();
    for (index, of) in samples.labels.iter().enumerate() {
        push(&mut others, samples.inputs.numbers(index), &[], label(of).as_str());
    }
    others.arrived.iter_mut().for_each(|arrived| *arrived += 1_000_000);
    others
}

fn next_digit(label: &Label) -> Label {
    let digit: u8 = label.as_str().parse().unwrap();
    Label::parse(((digit + 1) % 10).to_string()).unwrap()
}

fn together(one: &Samples, other: &Samples) -> Samples {
    let mut both = one.clone();
    (0..other.len()).for_each(|index| both.push_from(other, index));
    both
}

/// One label in so many is any of the ten.
fn with_noise(samples: &Samples, share: f64, seed: u64) -> Samples {
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    relabelled(samples, |label| match draws.r#gen::<f64>() < share {
        true => Label::parse(draws.gen_range(0..10).to_string()).unwrap(),
        false => label.clone(),
    })
}

fn hashes(learnt: &Learnt, decision: Decision) -> BTreeSet<ContentHash> {
    let decided = learnt.decisions.iter().filter(|sample| sample.decision == decision);
    decided.map(|sample| sample.hash).collect()
}

#[test]
fn a_correction_within_an_update_counts_and_the_mistake_does_not() {
    let truth = given();
    let corrected = together(&relabelled(&truth, next_digit), &truth);
    let learn = |contradictory, mistakes_last: bool| {
        let mut settings = plain(64, &[128]);
        settings.learning.contradictory = contradictory;
        let mut samples = corrected.clone();
        if !mistakes_last {
            let n = truth.len();
            samples.arrived[..n].fill(0);
            samples.arrived[n..].fill(1);
        }
        let mut life = Life::new(settings);
        let learnt = life.learn(&shuffled(&samples, 3));
        (life, learnt)
    };
    for contradictory in [Contradictory::Majority, Contradictory::Newest] {
        let (life, learnt) = learn(contradictory, false);
        let accuracy = life.accuracy(&never_given());
        assert!(accuracy > 0.95, "{contradictory:?}: {accuracy}");
        let counts = &learnt.report.samples;
        let n_inputs = counts.used + counts.held_out;
        assert_eq!(n_inputs, truth.len());
        assert_eq!(counts.dropped_by_reason["contradictory label"], n_inputs);
        assert_eq!(counted(&learnt, Decision::Contradictory), n_inputs);
        let evaluated = learnt.report.evaluation.unwrap();
        assert_eq!(evaluated.held_out, counts.held_out);
        assert!(
            evaluated.accuracy > Some(0.9),
            "what is held out is corrected, too: {evaluated:?}"
        );
        let misled = learn(contradictory, true).0.accuracy(&never_given());
        assert!(misled < 0.05, "the control: the mistake came last, and {misled} are right");
    }
    let (_, learnt) = learn(Contradictory::Reject, false);
    assert!(learnt.state.is_none(), "nothing is left");
    assert_eq!((learnt.report.samples.used, learnt.report.samples.held_out), (0, 0));
    assert_eq!(learnt.report.samples.dropped_by_reason["contradictory label"], {
        learnt.report.samples.dropped
    });
}

#[test]
fn the_heavier_label_wins_whatever_came_last() {
    let truth = given();
    let mut samples = together(&truth, &relabelled(&truth, next_digit));
    samples.weights[..truth.len()].fill(2.0);
    let mut life = Life::new(plain(64, &[128]));
    life.learn(&samples);
    assert!(life.accuracy(&never_given()) > 0.95);
}

#[test]
fn a_correction_in_a_later_update_is_learnt_and_what_it_corrects_is_not_replayed() {
    let truth = given();
    let is_wrong = |label: &Label| ["0", "1", "2"].contains(&label.as_str());
    let mistaken = relabelled(&truth, |label| match is_wrong(label) {
        true => Label::parse("7").unwrap(),
        false => label.clone(),
    });
    let mut life = Life::new(plain(64, &[128, 128]));
    life.learn(&mistaken);
    let wrong = filter(&never_given(), |index| is_wrong(&never_given().labels[index]));
    assert_eq!(life.accuracy(&wrong), 0.0);

    let correction = filter(&truth, |index| is_wrong(&truth.labels[index]));
    let learnt = life.learn(&correction);
    let replayed = hashes(&learnt, Decision::Replayed);
    assert!(replayed.len() > 500);
    let inputs =
        |samples: &Samples, index| ContentHash::of_input(samples.inputs.numbers(index), &[]);
    for index in 0..mistaken.len() {
        let is_corrected = is_wrong(&truth.labels[index]) && !inputs(&truth, index).is_held_out();
        assert!(!(is_corrected && replayed.contains(&mistaken.hashes[index])), "{index}");
    }
    let accuracy = life.accuracy(&wrong);
    assert!(accuracy > 0.9, "{accuracy}");
    assert!(life.accuracy(&never_given()) > 0.9);
}

#[test]
fn what_a_correction_takes_back_does_not_refuse_it() {
    let truth = given();
    let swapped = relabelled(&truth, |label| match label.as_str() {
        "3" => Label::parse("5").unwrap(),
        "5" => Label::parse("3").unwrap(),
        _ => label.clone(),
    });
    let mut life = Life::new(plain(64, &[128]));
    life.learn(&swapped);
    life.settings.learning.epochs = Some(80);
    let correction = of_labels(&truth, &["3", "5"]);
    let learnt = life.learn(&correction);
    let corrected = life.accuracy(&of_labels(&never_given(), &["3", "5"]));
    assert!(corrected > 0.8, "{corrected}");
    let gate = learnt.report.gate.unwrap();
    assert!(gate.passed, "held-out samples said what is no longer so: {gate:?}");
    let evaluated = learnt.report.evaluation.unwrap();
    let n_held_out = |samples: &Samples| life.lesson(samples).held_out.pop().unwrap().len();
    assert_eq!(evaluated.held_out, n_held_out(&truth), "each input once");
    assert!(evaluated.accuracy > Some(0.9), "{evaluated:?}");
}

/// Blobs of which `n_far` samples lie far out, each in a direction of its own.
fn with_far_ones(n_far: usize) -> (Samples, BTreeSet<ContentHash>) {
    let mut samples = blobs(&["a", "b"], 200, 8, 1);
    let n = samples.len();
    for direction in 0..n_far {
        let mut row = [0.0; 8];
        row[direction] = 60.0;
        push(&mut samples, &row, &[], "a");
    }
    let far = samples.hashes[n..].iter().copied().collect();
    (samples, far)
}

#[test]
fn far_samples_are_marked_and_kept_or_held_back_by_setting() {
    let (samples, far) = with_far_ones(6);
    let learn = |outliers| {
        let mut settings = plain(8, &[32]);
        settings.selection.outliers = outliers;
        let life = Life::new(settings);
        let mut lesson = life.lesson(&samples);
        lesson.experience = samples.clone();
        perennial::learning::update(&lesson, &mut |_| std::ops::ControlFlow::Continue(())).unwrap()
    };
    let learnt = [Outliers::Keep, Outliers::DownWeight, Outliers::HoldBack].map(learn);
    for each in &learnt {
        let marked = each.decisions.iter().filter(|sample| sample.outlier);
        let marked: BTreeSet<ContentHash> = marked.map(|sample| sample.hash).collect();
        assert_eq!(marked, far);
        assert_eq!(each.report.selection.as_ref().unwrap().outliers, 6);
    }
    let [kept, lighter, held_back] = &learnt;
    for used in [kept, lighter] {
        assert_eq!((used.report.samples.used, used.report.samples.dropped), (406, 0));
        assert!(far.is_subset(&hashes(used, Decision::Selected)));
    }
    assert_ne!(kept.state, lighter.state, "what they count differs");
    assert_eq!(hashes(held_back, Decision::Outlier), far);
    assert_eq!(held_back.report.samples.dropped_by_reason["outlier"], 6);
    assert_eq!((held_back.report.samples.used, held_back.report.samples.dropped), (400, 6));
}

#[test]
fn label_noise_and_heavy_tails_lose_at_most_a_twentieth() {
    let mut heavy = Samples { inputs: Inputs::with_shape(4, 0), ..Samples::default() };
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(1);
    for i in 0..2_000 {
        // A Cauchy variable has neither mean nor variance.
        let mut cauchy = || (std::f32::consts::PI * (draws.r#gen::<f32>() - 0.5)).tan();
        let row: Vec<f32> = (0..4).map(|_| cauchy() + (i % 2) as f32 * 20.0).collect();
        push(&mut heavy, &row, &[], ["a", "b"][i % 2]);
    }
    let (heavy_life, noisy_life) = (plain(4, &[32]), plain(64, &[128]));
    let noisy = with_noise(&given(), 0.4, 1);
    for (mut settings, samples) in [(heavy_life, heavy), (noisy_life, noisy)] {
        settings.selection.outliers = Outliers::HoldBack;
        let mut life = Life::new(settings);
        for part in 0..2 {
            let learnt = life.learn(&filter(&samples, |index| index % 2 == part));
            let n = learnt.report.samples.used + learnt.report.samples.dropped;
            let held_back = counted(&learnt, Decision::Outlier);
            assert!(held_back <= n / 20, "{held_back} of {n}");
        }
    }
}

#[test]
fn two_labels_in_five_wrong_are_learnt_through() {
    let (truth, unseen) = (given(), never_given());
    let accuracy = |samples: &Samples| {
        let mut settings = plain(64, &[128]);
        settings.gate.max_drop = None;
        let mut life = Life::new(settings);
        for part in 0..2 {
            life.learn(&filter(samples, |index| index % 2 == part));
        }
        life.accuracy(&unseen)
    };
    let through = accuracy(&with_noise(&truth, 0.4, 1));
    let mut shuffled = truth.clone();
    shuffled.labels.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(1));
    let nothing = accuracy(&shuffled);
    println!("40 % of the labels random: {through:.4}; all of them: {nothing:.4}");
    assert!(through > 0.7, "{through}");
    assert!(nothing < 0.3, "the control: {nothing}");
}

#[test]
fn outliers_that_are_held_back_are_in_no_sums_either() {
    let (all, far) = with_far_ones(6);
    let usual = filter(&all, |index| !far.contains(&all.hashes[index]));
    let dim = all.inputs.n_numeric();
    let asked = filter(&usual, |index| index % 4 == 0);
    let learn = |samples: &Samples, outliers| {
        let mut settings = with_strategy(plain(dim, &[8]), Strategy::Analytic);
        settings.selection.outliers = outliers;
        let mut life = Life::new(settings);
        // The features are fixed by these.
        life.learn(&filter(&usual, |index| index % 2 == 0));
        let mut lesson = life.lesson(samples);
        // All are learnt from, and none judges.
        (lesson.experience, lesson.held_out) = (samples.clone(), vec![samples.empty_like(); 2]);
        let learnt =
            perennial::learning::update(&lesson, &mut |_| std::ops::ControlFlow::Continue(()))
                .unwrap();
        life.state.clone_from(&learnt.state);
        let answers = life.predictor().predict(&asked.inputs).unwrap();
        (hashes(&learnt, Decision::Outlier), answers)
    };
    let (held_back, without) = learn(&all, Outliers::HoldBack);
    assert_eq!(held_back, far);
    let (_, with) = learn(&all, Outliers::Keep);
    let (_, never) = learn(&usual, Outliers::Keep);
    let apart =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let (kept_out, taken_in) = (apart(&without, &never), apart(&with, &never));
    println!("{kept_out} {taken_in}");
    assert!(kept_out < 1e-4 && taken_in > 10.0 * kept_out, "{kept_out} {taken_in}");
}
