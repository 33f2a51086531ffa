//! Which samples an update trains on when its budget does not cover all.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use perennial::domain::input::Inputs;
use perennial::domain::label::Label;
use perennial::domain::sample::{ContentHash, Samples};
use perennial::domain::settings::{Budget, Outliers, SelectionStrategy};
use perennial::domain::update::Decision;
use perennial::learning::{Learnt, SampleDecision, checkpoint, update};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::life::*;

const THAT_CHOOSE: [SelectionStrategy; 5] = [
    SelectionStrategy::Balanced,
    SelectionStrategy::Representative,
    SelectionStrategy::Diverse,
    SelectionStrategy::Uncertain,
    SelectionStrategy::Random,
];

fn with_budget(life: &mut Life, strategy: SelectionStrategy, budget: Budget) {
    life.settings.selection.strategy = strategy;
    life.settings.selection.budget = Some(budget);
}

fn selected(learnt: &Learnt) -> BTreeSet<ContentHash> {
    let selected = learnt.decisions.iter().filter(|each| each.decision == Decision::Selected);
    selected.map(|sample| sample.hash).collect()
}

/// Learns all of `samples` without holding any out, and goes on from there.
fn learn_all(life: &mut Life, samples: &Samples, seed: u64) -> Learnt {
    let mut lesson = life.lesson(samples);
    (lesson.experience, lesson.held_out, lesson.seed) = (samples.clone(), vec![], seed);
    let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
    drop(lesson);
    life.state = learnt.state.clone();
    (0..samples.len()).for_each(|index| life.history.push_from(samples, index));
    learnt
}

/// A quarter of `samples` learnt whole, then of each other quarter this share.
fn learnt_by_parts(
    samples: &Samples,
    strategy: SelectionStrategy,
    share: f64,
    seed: u64,
) -> (Life, Vec<Learnt>) {
    let mut life = Life::new(plain(64, &[64]));
    let samples = shuffled(samples, seed);
    learn_all(&mut life, &filter(&samples, |index| index % 4 == 0), seed);
    with_budget(&mut life, strategy, Budget::Share(share));
    let part = |part| filter(&samples, |index| index % 4 == part);
    let learnt = (1..4).map(|n| learn_all(&mut life, &part(n), seed)).collect();
    (life, learnt)
}

/// The mean accuracy of `lives` on `samples`.
fn mean(lives: &[Life], samples: &Samples) -> f64 {
    lives.iter().map(|life| life.accuracy(samples)).sum::<f64>() / lives.len() as f64
}

#[test]
fn at_equal_budget_the_default_learns_no_less_than_a_random_draw() {
    let (given, unseen) = (given(), never_given());
    let lives = |strategy| -> Vec<Life> {
        (0..4).map(|seed| learnt_by_parts(&given, strategy, 0.1, seed).0).collect()
    };
    let (default, random) = (lives(SelectionStrategy::default()), lives(SelectionStrategy::Random));
    let (of_default, of_random) = (mean(&default, &unseen), mean(&random, &unseen));
    println!("a tenth of each update: by default {of_default:.4}, drawn {of_random:.4}");
    // Four times 367 answers: half a point is noise.
    assert!(of_default >= of_random - 0.005, "{of_default} {of_random}");
    for label in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        let of_label = of_labels(&unseen, &[label]);
        let (default, random) = (mean(&default, &of_label), mean(&random, &of_label));
        println!("{label}: {default:.4} {random:.4}");
        // A tenth of the answers, of one label: three standard errors.
        assert!(default >= random - 0.08, "{label}: {default} {random}");
    }
}

#[test]
fn a_rare_label_has_its_share_of_the_budget_and_is_learnt_no_worse_than_by_a_random_draw() {
    let rare = ["3", "8"];
    let is_rare = |label: &Label| rare.contains(&label.as_str());
    let given = given();
    // One in eight of them is there.
    let given = filter(&given, |index| {
        !is_rare(&given.labels[index]) || given.hashes[index].0[14].is_multiple_of(8)
    });
    let unseen = of_labels(&never_given(), &rare);
    let of_rare: BTreeSet<ContentHash> = of_labels(&given, &rare).hashes.into_iter().collect();
    let by = |strategy| {
        let (mut lives, mut n_selected) = (Vec::new(), 0);
        for seed in 0..4 {
            let (life, learnt) = learnt_by_parts(&given, strategy, 0.3, seed);
            let of_parts =
                learnt.iter().map(|learnt| selected(learnt).intersection(&of_rare).count());
            n_selected += of_parts.sum::<usize>();
            lives.push(life);
        }
        (n_selected, mean(&lives, &unseen))
    };
    let (n_default, default) = by(SelectionStrategy::default());
    let (n_random, random) = by(SelectionStrategy::Random);
    println!("by default {n_default} are chosen, {default:.4}; drawn {n_random}, {random:.4}");
    assert!(n_default > 2 * n_random, "{n_default} {n_random}");
    assert!(default >= random - 0.03, "{default} {random}");
}

#[test]
fn near_duplicates_take_nothing_of_the_budget() {
    let mut life = Life::new(plain(16, &[32]));
    learn_all(&mut life, &blobs(&["a", "b"], 100, 16, 1), 1);
    let mut samples = blobs(&["a", "b", "c"], 40, 16, 2);
    let n = samples.len();
    for copy in 1..5 {
        for index in 0..n {
            let row: Vec<f32> =
                samples.inputs.numbers(index).iter().map(|x| x + copy as f32 * 1e-6).collect();
            let label = samples.labels[index].clone();
            push(&mut samples, &row, &[], label.as_str());
        }
    }
    // Copies differ from their original in the sixth digit.
    let originals = |learnt: &Learnt| {
        let rows = (0..samples.len()).filter(|&i| selected(learnt).contains(&samples.hashes[i]));
        rows.map(|index| index % n).collect::<BTreeSet<_>>().len()
    };
    let choose = |strategy| {
        let mut life = Life { history: samples.empty_like(), ..Life::new(life.settings.clone()) };
        life.state = None;
        learn_all(&mut life, &blobs(&["a", "b"], 100, 16, 1), 1);
        with_budget(&mut life, strategy, Budget::Count(n as u32));
        learn_all(&mut life, &samples, 1)
    };
    for strategy in THAT_CHOOSE {
        let learnt = choose(strategy);
        let report = learnt.report.selection.as_ref().unwrap();
        assert!(report.near_duplicates >= 4 * n - 10, "{strategy:?}: {}", report.near_duplicates);
        match strategy {
            SelectionStrategy::Random => assert!(originals(&learnt) < n * 3 / 4, "the control"),
            _ => {
                assert!(originals(&learnt) >= n * 9 / 10, "{strategy:?}: {}", originals(&learnt));
                assert!(learnt.report.samples.dropped_by_reason["near duplicate"] >= 4 * n - 10);
            }
        }
    }

    let whole = learn_all(&mut life, &samples, 1);
    assert_eq!(whole.report.samples.used, 5 * n, "where there is room all are learnt");
    assert!(whole.report.selection.unwrap().near_duplicates >= 4 * n - 10, "and told of");
}

#[test]
fn natural_samples_are_no_near_duplicates_and_few_are_outliers() {
    let mut life = Life::new(plain(64, &[128, 128]));
    for part in 0..2 {
        let learnt = learn_all(&mut life, &filter(&given(), |index| index % 2 == part), 1);
        let report = learnt.report.selection.unwrap();
        assert!(report.described > 600);
        assert!(report.near_duplicates < 4, "{}", report.near_duplicates);
        assert!(report.outliers < report.described / 100, "{}", report.outliers);
    }
}

#[test]
fn a_thousand_new_labels_at_once_share_what_budget_there_is() {
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut samples = Samples { inputs: Inputs::with_shape(16, 0), ..Samples::default() };
    for label in 0..1_000 {
        let centre: Vec<f32> = (0..16).map(|_| draws.gen_range(-3.0..3.0)).collect();
        for _ in 0..3 {
            let row: Vec<f32> = centre.iter().map(|x| x + draws.gen_range(-0.1..0.1)).collect();
            push(&mut samples, &row, &[], &format!("label {label}"));
        }
    }
    for strategy in THAT_CHOOSE {
        let choose = |budget| {
            let mut settings = plain(16, &[32]);
            settings.learning.epochs = Some(1);
            let mut life = Life::new(settings);
            learn_all(&mut life, &blobs(&["a", "b"], 50, 16, 1), 1);
            with_budget(&mut life, strategy, Budget::Count(budget));
            let learnt = learn_all(&mut life, &samples, 1);
            assert_eq!(learnt.report.samples.used, budget as usize, "{strategy:?}");
            (learnt.report.new_labels.len(), learnt.report.selection.unwrap().labels_left_out)
        };
        assert_eq!(choose(3_000), (1_000, 0), "{strategy:?}");
        let (new, left_out) = choose(10);
        assert_eq!(new + left_out, 1_000);
        if strategy != SelectionStrategy::Random {
            assert_eq!(new, 10, "{strategy:?}");
            assert_eq!(choose(1_000), (1_000, 0), "{strategy:?}");
        }
    }
}

#[test]
fn weights_count_in_the_choice_and_after_it() {
    let (given, unseen) = (given(), never_given());
    let accuracy = |weight_of_wrong: f32, budget: f64| {
        let mut samples = given.clone();
        for index in (0..samples.len()).filter(|index| index % 2 == 0) {
            let digit: u8 = samples.labels[index].as_str().parse().unwrap();
            samples.labels[index] = Label::parse(((digit + 1) % 10).to_string()).unwrap();
            samples.weights[index] = weight_of_wrong;
        }
        let mut life = Life::new(plain(64, &[128]));
        with_budget(&mut life, SelectionStrategy::default(), Budget::Share(budget));
        learn_all(&mut life, &samples, 1);
        life.accuracy(&unseen)
    };
    for budget in [1.0, 0.3] {
        let (light, equal) = (accuracy(0.001, budget), accuracy(1.0, budget));
        println!("{budget}: half wrong at weight 0.001 {light:.4}, at weight 1 {equal:.4}");
        assert!(light > 0.9, "{budget}: {light}");
        assert!(equal < 0.8, "the control: {budget}: {equal}");
    }
}

#[test]
fn awkward_samples_are_chosen_from_without_harm() {
    let one_label = blobs(&["a"], 30, 4, 1);
    let one_sample = filter(&one_label, |index| index == 0);
    let mut constant = Samples { inputs: Inputs::with_shape(4, 0), ..Samples::default() };
    let mut huge = constant.clone();
    for i in 0..40 {
        let label = ["a", "b", "c"][i % 3];
        push(&mut huge, &[1e30 * i as f32, -1e30, 3e38, i as f32], &[], label);
    }
    push(&mut constant, &[5.0; 4], &[], "a");
    // The same input again and again: in storage each is a sample of a label of its own.
    for label in ["b", "c", "d"] {
        push(&mut constant, &[5.0; 4], &[], label);
    }
    let single = filter(&blobs(&["a", "b"], 30, 4, 2), |index| index <= 30);
    for strategy in THAT_CHOOSE {
        for outliers in [Outliers::Keep, Outliers::DownWeight, Outliers::HoldBack] {
            for samples in [&one_label, &one_sample, &constant, &huge, &single] {
                let mut settings = plain(4, &[8]);
                settings.learning.epochs = Some(2);
                settings.selection.outliers = outliers;
                let mut life = Life::new(settings);
                with_budget(&mut life, strategy, Budget::Share(0.3));
                for seed in 0..2 {
                    let learnt = learn_all(&mut life, samples, seed);
                    let losses = learnt.report.epochs.iter().map(|epoch| epoch.loss);
                    assert!(losses.into_iter().all(f64::is_finite), "{strategy:?}");
                    assert!(learnt.report.samples.used >= 1);
                }
                checkpoint::decode(&checkpoint::encode(life.state.as_ref().unwrap())).unwrap();
            }
        }
    }
}

#[test]
fn a_large_update_is_chosen_from_whole_though_only_a_part_is_looked_at() {
    let mut settings = plain(2, &[4]);
    settings.learning.epochs = Some(1);
    let mut life = Life::new(settings);
    learn_all(&mut life, &blobs(&["a", "b"], 50, 2, 1), 1);
    with_budget(&mut life, SelectionStrategy::default(), Budget::Share(0.6));
    let learnt = learn_all(&mut life, &blobs(&["a", "b"], 7_000, 2, 2), 1);
    assert_eq!(learnt.report.samples.used, 8_400);
    let n_seen = learnt.report.selection.as_ref().unwrap().described;
    assert!(n_seen < 14_000, "{n_seen}");
    let unseen =
        |each: &&SampleDecision| each.decision == Decision::Selected && each.cluster.is_none();
    let n_unseen = learnt.decisions.iter().filter(unseen).count();
    let expected = 8_400 * (14_000 - n_seen) / 14_000;
    assert!(n_unseen.abs_diff(expected) <= 1, "{n_unseen}, their share is {expected}");
}
