//! What else might have been published: the parent, plain fine-tuning, the network merged with its
//! parent.

use perennial::domain::evaluation::Counterfactual;
use perennial::domain::settings::Strategy;
use perennial::learning::Learnt;

use crate::life::*;

fn counterfactual(learnt: &Learnt) -> Option<Counterfactual> {
    learnt.report.evaluation.clone().unwrap().counterfactual
}

#[test]
fn an_update_tells_what_plain_fine_tuning_would_have_forgotten() {
    let given = given();
    let mut life = Life::new(plain(64, &[64]));
    let first = life.learn(&of_labels(&given, &["0", "1", "2", "3", "4"]));
    assert_eq!(counterfactual(&first), None, "a first version has no parent");
    let second = life.learn(&of_labels(&given, &["5", "6", "7", "8", "9"]));
    let evaluation = second.report.evaluation.clone().unwrap();
    let Counterfactual { parent, naive, naive_steps } = counterfactual(&second).unwrap();
    let naive = naive.unwrap();
    assert_eq!(parent.accuracy, evaluation.parent_accuracy);
    assert!((1..=second.report.training.unwrap().steps / 4).contains(&naive_steps));
    let (own, plainly) = (evaluation.forgetting.unwrap(), naive.forgetting.unwrap());
    println!("forgetting {own:.3}, plainly {plainly:.3}, the parent {parent:?}");
    assert!(own < 0.1 && plainly > own + 0.1, "{own} {plainly}");
    assert!(parent.accuracy < evaluation.accuracy, "it does not know the new");
    assert_eq!(parent.forgetting, Some(0.0));
}

#[test]
fn the_comparison_changes_nothing_and_can_be_left_out() {
    let given = given();
    let mut settings = plain(64, &[32]);
    settings.learning.epochs = Some(10);
    let mut life = Life::new(settings);
    life.learn(&of_labels(&given, &["0", "1"]));
    let new = of_labels(&given, &["2", "3"]);
    let with = bytes_of(&life.lesson(&new));
    life.settings.learning.counterfactual = false;
    assert_eq!(with, bytes_of(&life.lesson(&new)));
    let without = counterfactual(&life.learn(&new)).unwrap();
    assert_eq!((without.naive, without.naive_steps), (None, 0));
    assert!(without.parent.accuracy.is_some());
}

#[test]
fn merging_with_the_parent_keeps_what_was_forgotten_and_only_where_it_helps() {
    let given = given();
    let learn = |strategy, compensation| {
        let mut settings = with_strategy(plain(64, &[64]), strategy);
        settings.learning.compensation = compensation;
        let mut life = Life::new(settings);
        life.learn(&of_labels(&given, &["0", "1", "2", "3", "4"]));
        let learnt = life.learn(&of_labels(&given, &["5", "6", "7"]));
        (learnt.report.compensation, life.accuracy(&never_given()))
    };
    // Without replay the trained network has forgotten; with it there is nothing to win back.
    let (off, forgot) = learn(Strategy::Ewc, false);
    assert_eq!(off, None);
    let (report, kept) = learn(Strategy::Ewc, true);
    println!("{forgot:.3} and compensated {kept:.3}: {report:?}");
    let report = report.unwrap();
    assert!(report.kept && report.merged > report.trained, "{report:?}");
    assert!(kept > forgot + 0.05, "{kept} {forgot}");
    let (report, with) = learn(Strategy::Auto, true);
    let (_, without) = learn(Strategy::Auto, false);
    println!("{report:?}: {with:.3} {without:.3}");
    let report = report.unwrap();
    assert!(report.kept || with == without, "{report:?}");
}
