//! The gate: whether a version may be published, by what it and its parent answer to held-out
//! samples.
//!
//! A limit is broken only where the figures say so beyond noise (`noise.rs` has the tests), so with
//! few samples a version passes: there is nothing against it.
//!
//! What an update brings may be wrong, held-out samples and all. So forgetting and the recall of
//! known labels are judged on held-out samples of earlier updates alone, whose answers new samples
//! cannot excuse. Recall is compared for every label that the parent knows, and of many honest
//! comparisons some look bad by chance: Holm's procedure (1979) keeps the chance that any of them
//! does at 5 %. Of m labels the worst must stand out at 5 %/m, the next at 5 %/(m − 1), and so on.
//!
//! New labels may look like known ones, whose recall must then fall however well all are learnt (`alike.rs`).
//!
//! While meanings move, old held-out samples say what is no longer so, and would refuse every version
//! that follows: then only the newest are asked. Meanings that turn at once are refused until others that come
//! after say the same (`drift.rs`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::domain::evaluation::{GateCheck, GateDecision, GateRule};
use crate::domain::label::Label;
use crate::domain::settings::GateSettings;

use super::evaluate::{Answer, Answers};
use super::noise::{Drop, LEVEL, margin_of_share, quantile};

mod alike;

use alike::earlier;

/// The most labels whose fall is listed; the reason tells how many more there are.
const MOST_LISTED: usize = 10;

/// Held-out samples that are asked while meanings move: about so many, of the newest experiences.
const NEWEST: usize = 100;

/// Decides on a version by its `answers`, whose parent knew the labels `known`; `moves` says whether
/// meanings are held to move.
pub(super) fn decide(
    settings: &GateSettings,
    answers: &Answers<'_>,
    known: &[Label],
    moves: bool,
) -> GateDecision {
    let answers = match moves {
        true => Cow::Owned(newest(&answers.answers)),
        false => Cow::Borrowed(&answers.answers[..]),
    };
    let earlier = earlier(&answers, known);
    let mut checked: Vec<Checked> = Vec::new();
    if let Some(limit) = settings.min_accuracy {
        checked.push(least_accuracy(limit, &answers));
    }
    if let Some(limit) = settings.max_drop {
        checked.push(most_drop(GateRule::MaxDrop, "accuracy", limit, answers.iter()));
    }
    if let Some(limit) = settings.max_forgetting {
        let what = "accuracy on samples of earlier updates";
        checked.push(most_drop(GateRule::MaxForgetting, what, limit, earlier.iter()));
    }
    if let Some(limit) = settings.max_class_drop {
        checked.extend(most_class_drop(limit, known, earlier.iter()));
    }
    let (checks, reasons): (Vec<GateCheck>, Vec<Option<String>>) = checked.into_iter().unzip();
    let passed = checks.iter().all(|check| check.passed);
    GateDecision { passed, reasons: reasons.into_iter().flatten().collect(), checks }
}

/// Those of the newest experiences, as many of these as bring [`NEWEST`].
fn newest<'a>(answers: &[Answer<'a>]) -> Vec<Answer<'a>> {
    let mut experiences: Vec<usize> = answers.iter().map(|answer| answer.experience).collect();
    experiences.sort_unstable();
    let first = experiences[experiences.len().saturating_sub(NEWEST)..].first().copied();
    let is_new = |answer: &&Answer<'_>| first.is_some_and(|first| answer.experience >= first);
    answers.iter().filter(is_new).copied().collect()
}

/// A check, and why it failed if it did.
type Checked = (GateCheck, Option<String>);

fn least_accuracy(limit: f64, answers: &[Answer<'_>]) -> Checked {
    let n = answers.len();
    let n_right = answers.iter().filter(|answer| answer.is_right()).count();
    let value = (n > 0).then(|| n_right as f64 / n as f64);
    let margin = value.map(|value| margin_of_share(value, n));
    let rule = GateRule::MinAccuracy;
    let failed = value.zip(margin).filter(|(value, margin)| value + margin < limit);
    let reason = failed.map(|(value, margin)| {
        format!("accuracy {value:.4} is below {limit:.4} (noise margin {margin:.4})")
    });
    let passed = reason.is_none();
    (GateCheck { rule, label: None, limit, value, margin, passed }, reason)
}

fn most_drop<'a>(
    rule: GateRule,
    what: &str,
    limit: f64,
    answers: impl Iterator<Item = &'a Answer<'a>>,
) -> Checked {
    let mut drop = Drop::default();
    for answer in answers {
        drop.add_answer(answer);
    }
    match drop.n {
        0 => (nothing_measured(rule, limit), None),
        _ => compared(rule, what, limit, drop, quantile(LEVEL)),
    }
}

/// Compares each known label's recall, the one that fell the most beyond noise first: a check for
/// each label that fell too far, else for the first.
fn most_class_drop<'a>(
    limit: f64,
    known: &'a [Label],
    answers: impl Iterator<Item = &'a Answer<'a>>,
) -> Vec<Checked> {
    let rule = GateRule::MaxClassDrop;
    let mut drops: BTreeMap<&Label, Drop> =
        known.iter().map(|label| (label, Drop::default())).collect();
    for answer in answers {
        if let Some(drop) = drops.get_mut(answer.label) {
            drop.add_answer(answer);
        }
    }
    let mut drops: Vec<(&Label, Drop)> = drops.into_iter().filter(|(_, drop)| drop.n > 0).collect();
    drops.sort_by(|(_, a), (_, b)| b.excess(limit).total_cmp(&a.excess(limit)));
    let n = drops.len();
    let mut checked = Vec::new();
    for (rank, (label, drop)) in drops.into_iter().enumerate() {
        let what = format!("recall of \"{label}\" on samples of earlier updates");
        let quantile = quantile(LEVEL / (n - rank) as f64);
        let (check, reason) = compared(rule, &what, limit, drop, quantile);
        let passed = check.passed;
        if rank == 0 || !passed {
            checked.push((GateCheck { label: Some(label.to_string()), ..check }, reason));
        }
        // Once one label passes, so do all that fell less.
        if passed {
            break;
        }
    }
    let n_left_out = checked.len().saturating_sub(MOST_LISTED);
    checked.truncate(MOST_LISTED);
    if let Some((_, Some(last))) = checked.last_mut().filter(|_| n_left_out > 0) {
        last.push_str(&format!("; {n_left_out} more labels fell too far"));
    }
    match checked.is_empty() {
        true => vec![(nothing_measured(rule, limit), None)],
        false => checked,
    }
}

/// Compares a drop with its limit, at a quantile.
fn compared(rule: GateRule, what: &str, limit: f64, drop: Drop, quantile: f64) -> Checked {
    let (value, margin) = (drop.value(), drop.margin(quantile));
    let passed = value - margin <= limit;
    let reason = (!passed).then(|| {
        let share = |right: usize| right as f64 / drop.n as f64;
        format!(
            "{what} {:.4} is {value:.4} below the parent's {:.4}, {limit:.4} is allowed \
             (noise margin {margin:.4})",
            share(drop.kept + drop.won),
            share(drop.kept + drop.lost),
        )
    });
    let (value, margin) = (Some(value), Some(margin));
    (GateCheck { rule, label: None, limit, value, margin, passed }, reason)
}

fn nothing_measured(rule: GateRule, limit: f64) -> GateCheck {
    GateCheck { rule, label: None, limit, value: None, margin: None, passed: true }
}

impl Drop {
    /// Takes in what the parent and the new version answered; nothing where there is no parent.
    fn add_answer(&mut self, answer: &Answer<'_>) {
        if let Some(before) = answer.parent_is_right() {
            self.add(before, answer.is_right());
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    const NONE: GateSettings = GateSettings {
        min_accuracy: None,
        max_drop: None,
        max_forgetting: None,
        max_class_drop: None,
        rollback: None,
    };

    /// What came of samples: whether they are earlier ones, their label, and of how many the
    /// parent alone was right, the new version alone, and both.
    type Fates<'a> = &'a [(bool, &'a str, [usize; 3])];

    fn decision(settings: GateSettings, fates: Fates<'_>) -> GateDecision {
        let wrong = Label::parse("wrong").unwrap();
        let labels: Vec<Label> = fates.iter().map(|(_, l, _)| Label::parse(*l).unwrap()).collect();
        let mut answers = Answers::default();
        for (label, &(is_earlier, _, counts)) in labels.iter().zip(fates) {
            let of = [(&wrong, label), (label, &wrong), (label, label)];
            for ((given, before), n) in of.into_iter().zip(counts) {
                let answer = || Answer {
                    label,
                    given,
                    parent: Some(before),
                    naive: None,
                    experience: 0,
                    is_earlier,
                };
                answers.answers.extend((0..n).map(|_| answer()));
            }
        }
        let mut known: Vec<Label> = labels.clone();
        known.sort();
        known.dedup();
        decide(&settings, &answers, &known, false)
    }

    #[test]
    fn while_meanings_move_only_the_newest_samples_count() {
        let (old, new) = (Label::parse("old").unwrap(), Label::parse("new").unwrap());
        let label = &new;
        let mut answers = Answers::default();
        // Right on the newest 600 where the parent is not, and wrong on all before.
        for experience in 0..30 {
            let (given, before) = if experience < 24 { (&old, &new) } else { (&new, &old) };
            let is_earlier = experience < 29;
            let parent = Some(before);
            let answer = Answer { label, given, parent, naive: None, experience, is_earlier };
            answers.answers.extend([answer; 100]);
        }
        let (settings, known) = (GateSettings::default(), std::slice::from_ref(&new));
        assert!(!decide(&settings, &answers, known, false).passed);
        assert!(decide(&settings, &answers, known, true).passed);
        answers.answers.retain(|answer| answer.experience < 24);
        assert!(!decide(&settings, &answers, known, true).passed, "also of the newest");
        assert!(decide(&settings, &Answers::default(), &[], true).passed);
    }

    #[test]
    fn a_drop_counts_only_beyond_noise() {
        let gate = GateSettings { max_drop: Some(0.02), ..NONE };
        let of = |fate| decision(gate.clone(), &[(true, "a", fate)]);
        for fate in [[0, 0, 0], [1, 0, 0], [3, 2, 95], [12, 1, 287], [40, 40, 20]] {
            assert!(of(fate).passed, "{fate:?}");
        }
        let refused = of([30, 1, 269]);
        assert_eq!(
            refused.reasons,
            [
                "accuracy 0.9000 is 0.0967 below the parent's 0.9967, 0.0200 is allowed (noise margin 0.0301)"
            ]
        );
        let [check] = &refused.checks[..] else { panic!("{refused:?}") };
        assert_eq!((check.rule, check.limit, check.passed), (GateRule::MaxDrop, 0.02, false));
        assert!((check.value.unwrap() - 29.0 / 300.0).abs() < 1e-12);
        assert!(check.value.unwrap() - check.margin.unwrap() > check.limit);
    }

    #[test]
    fn least_accuracy_has_a_margin_that_shrinks_with_the_samples() {
        let gate = GateSettings { min_accuracy: Some(0.9), ..NONE };
        let of = |right, wrong| decision(gate.clone(), &[(true, "a", [wrong, 0, right])]);
        assert!(of(17, 3).passed);
        assert!(of(950, 50).passed);
        let refused = of(850, 150);
        assert!(
            refused.reasons[0].starts_with("accuracy 0.8500 is below 0.9000 (noise margin 0.01"),
            "{refused:?}"
        );
        let check = &refused.checks[0];
        assert!(check.value.unwrap() + check.margin.unwrap() < check.limit && !check.passed);
    }

    #[test]
    fn samples_of_this_update_cannot_excuse_what_earlier_ones_show() {
        let gate = GateSettings { max_drop: Some(0.02), max_forgetting: Some(0.1), ..NONE };
        // 40 of 200 known samples are lost; 300 of the update's own are won.
        let fates = [(true, "a", [40, 0, 160]), (false, "a", [0, 300, 0])];
        let refused = decision(gate.clone(), &fates);
        assert_eq!(refused.checks.iter().map(|c| c.passed).collect::<Vec<_>>(), [true, false]);
        assert!(!refused.passed, "one broken limit is enough");
        assert!(refused.reasons[0].starts_with("accuracy on samples of earlier updates 0.8000 is"));
        // And the update's own losses alone do not count as forgetting.
        let own = [(true, "a", [0, 0, 200]), (false, "a", [300, 0, 0])];
        assert!(decision(GateSettings { max_drop: None, ..gate }, &own).passed);
    }

    #[test]
    fn every_label_that_falls_too_far_is_named_the_worst_first() {
        let gate = GateSettings { max_class_drop: Some(0.2), ..NONE };
        let fates = [
            (true, "a", [60, 0, 40]),
            (true, "b", [5, 5, 90]),
            (true, "c", [90, 0, 10]),
            (false, "d", [100, 0, 0]),
        ];
        let refused = decision(gate.clone(), &fates);
        let named: Vec<_> = refused.checks.iter().map(|c| c.label.as_deref().unwrap()).collect();
        assert_eq!(named, ["c", "a"]);
        assert!(refused.reasons[0].starts_with("recall of \"c\" on samples of earlier"));
        let passed = decision(gate.clone(), &fates[1..2]);
        assert_eq!(passed.checks[0].label.as_deref(), Some("b"), "the nearest to failing");
        assert!(passed.passed && passed.reasons.is_empty());

        let names: Vec<String> = (0..30).map(|n| format!("{n:02}")).collect();
        let fates: Vec<_> = names.iter().map(|name| (true, &**name, [50, 0, 0])).collect();
        let refused = decision(gate, &fates);
        assert_eq!((refused.checks.len(), refused.reasons.len()), (10, 10));
        assert!(refused.reasons[9].ends_with("; 20 more labels fell too far"));
    }

    /// Of 200 updates that cost each of 200 labels just what is allowed, the share that `z`
    /// standard errors would refuse, and that the gate does.
    #[test]
    fn many_labels_do_not_refuse_an_honest_update_by_chance() {
        const LIMIT: f64 = 0.2;
        let gate = GateSettings { max_class_drop: Some(LIMIT), ..NONE };
        let names: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
        let mut draws = Xoshiro256PlusPlus::seed_from_u64(1);
        let (mut refused, mut refused_uncorrected) = (0, 0);
        for _ in 0..200 {
            let mut fates = Vec::new();
            for name in &names {
                let lost = (0..25).filter(|_| draws.gen_bool(LIMIT)).count();
                fates.push((true, &**name, [lost, 0, 25 - lost]));
            }
            refused += usize::from(!decision(gate.clone(), &fates).passed);
            let alone = fates.iter().any(|&fate| !decision(gate.clone(), &[fate]).passed);
            refused_uncorrected += usize::from(alone);
        }
        assert!(refused <= 15, "{refused} of 200 honest updates are refused, 10 are expected");
        assert!(refused_uncorrected > 150, "{refused_uncorrected}: the correction does nothing");
        // One label in 200 that is truly lost is found all the same.
        let mut fates: Vec<_> = names.iter().map(|name| (true, &**name, [0, 0, 25])).collect();
        fates[77].2 = [20, 0, 5];
        assert_eq!(decision(gate, &fates).checks[0].label.as_deref(), Some("077"));
    }

    #[test]
    fn nothing_to_compare_is_nothing_against_it() {
        let all = GateSettings {
            min_accuracy: Some(1.0),
            max_drop: Some(0.0),
            max_forgetting: Some(0.0),
            max_class_drop: Some(0.0),
            rollback: None,
        };
        let nothing = decision(all.clone(), &[]);
        assert!(nothing.passed);
        assert_eq!(nothing.checks.len(), 4);
        assert!(nothing.checks.iter().all(|c| c.passed && c.value.is_none() && c.margin.is_none()));
        assert!(decide(&all, &Answers::default(), &[], false).passed);
        let all = GateSettings { min_accuracy: Some(0.7), ..all };
        assert!(decision(all, &[(true, "a", [1, 0, 0])]).passed, "one sample proves nothing");
        assert_eq!(decision(NONE, &[(true, "a", [500, 0, 0])]).checks, []);
    }
}
