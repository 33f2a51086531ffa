//! The gate: it lets honest updates through and refuses what harms what was known, even where the
//! harmful samples are their own witnesses.

use std::f32::consts::PI;
use std::ops::ControlFlow;

use perennial::domain::evaluation::{GateDecision, GateRule};
use perennial::domain::label::Label;
use perennial::domain::sample::Samples;
use perennial::domain::settings::{GateSettings, Strategy};
use perennial::learning::{Lesson, update};

use crate::life::*;
use crate::strategies::market;

const LABELS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A life that has learnt five labels, and replays nothing: wrong samples have their full effect.
fn experienced() -> Life {
    let mut life = Life::new(with_strategy(plain(16, &[32, 32]), Strategy::Naive));
    life.learn(&blobs(&LABELS, 300, 16, 1));
    life
}

/// What the gate says of an update of `samples`, of which one in ten is held out as it is.
fn judged(life: &Life, samples: &Samples) -> GateDecision {
    let learnt = update(&life.lesson(samples), &mut |_| ControlFlow::Continue(())).unwrap();
    learnt.report.gate.unwrap()
}

fn relabelled(samples: &Samples, new: impl Fn(&str) -> &'static str) -> Samples {
    let mut relabelled = samples.clone();
    for label in &mut relabelled.labels {
        *label = Label::parse(new(label.as_str())).unwrap();
    }
    relabelled
}

fn failed(decision: &GateDecision) -> Vec<GateRule> {
    let failed = decision.checks.iter().filter(|check| !check.passed);
    failed.map(|check| check.rule).collect()
}

#[test]
fn samples_that_are_all_wrong_cannot_vouch_for_themselves() {
    let mut life = experienced();
    let fresh = blobs(&LABELS, 300, 16, 2);
    let honest = judged(&life, &fresh);
    assert!(honest.passed, "{honest:?}");
    let rules: Vec<GateRule> = honest.checks.iter().map(|check| check.rule).collect();
    assert_eq!(rules, [GateRule::MaxDrop, GateRule::MaxForgetting, GateRule::MaxClassDrop]);
    assert!(honest.checks.iter().all(|check| check.value.is_some() && check.margin.is_some()));

    // Every label is called the next one, in the samples that are held out too.
    let next = |label: &str| LABELS[(1 + LABELS.iter().position(|l| *l == label).unwrap()) % 5];
    let poison = relabelled(&fresh, next);
    let refused = judged(&life, &poison);
    println!("{refused:?}");
    assert!(failed(&refused).contains(&GateRule::MaxForgetting), "{refused:?}");
    // The limit on the whole sees what is won on the wrong samples too, and is content.
    assert!(!failed(&refused).contains(&GateRule::MaxDrop), "{refused:?}");
    life.settings.gate =
        GateSettings { max_forgetting: None, max_class_drop: None, ..GateSettings::default() };
    assert!(judged(&life, &poison).passed);
}

#[test]
fn meanings_that_turn_at_once_are_refused_until_samples_that_come_after_say_the_same() {
    let mut life = Life::new(plain(2, &[32]));
    life.learn(&market(2_000, 0.0, 1));
    life.settings.learning.epochs = Some(40);
    life.settings.gate.min_accuracy = Some(0.85);
    let turned = market(1_500, PI, 2);
    assert!(!judged(&life, &turned).passed, "they might be wrong labels");

    let after = |next: &Samples, refused_until| {
        let mut pending = turned.clone();
        (0..next.len()).for_each(|index| pending.push_from(next, index));
        pending.arrived.fill(1);
        pending.arrived[..turned.len()].fill(0);
        let lesson = Lesson { refused_until, ..life.lesson(&pending) };
        let learnt = update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap();
        let next = Life { state: learnt.state, ..Life::new(life.settings.clone()) };
        let right = next.accuracy(&market(500, PI, 9));
        println!("{right:.3} of the turned: {:?}", learnt.report.gate);
        (learnt.report.gate.unwrap().passed, right)
    };
    let (same, honest) = (market(1_500, PI, 3), market(1_500, 0.0, 3));
    let (passed, right) = after(&same, Some(0));
    assert!(passed && right > 0.9, "{right}");
    assert!(!after(&same, None).0, "a control: nobody has come after");
    assert!(!after(&honest, Some(0)).0, "who came after says otherwise");
}

#[test]
fn one_wrong_label_is_found_by_name() {
    let life = experienced();
    let wrong =
        |label: &str| LABELS.into_iter().find(|l| *l == label && label != "c").unwrap_or("d");
    let refused = judged(&life, &relabelled(&blobs(&LABELS, 300, 16, 2), wrong));
    println!("{refused:?}");
    assert!(failed(&refused).contains(&GateRule::MaxClassDrop), "{refused:?}");
    assert_eq!(refused.checks.last().unwrap().label.as_deref(), Some("c"));
}

#[test]
fn honest_updates_pass_whether_labels_are_new_or_known() {
    let given = given();
    for seed in 0..3 {
        let mut life = Life::new(plain(64, &[64, 64]));
        let mixed = shuffled(&given, seed);
        let part = |part: usize| filter(&mixed, |index| index % 4 == part);
        life.learn(&of_labels(&part(0), &["0", "1", "2", "3", "4"]));
        for samples in [part(1), of_labels(&part(2), &["7"]), part(3)] {
            let gate = life.learn(&samples).report.gate.unwrap();
            for check in &gate.checks {
                println!("{seed} {}: {:?} less {:?}", check.rule, check.value, check.margin);
            }
            assert!(gate.passed, "{seed}: {gate:?}");
        }
    }
}
