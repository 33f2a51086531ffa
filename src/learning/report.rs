//! The report of an update and the decision on each of its samples, put together stage by stage.

use crate::domain::evaluation::{Evaluation, GateDecision};
use crate::domain::label::Label;
use crate::domain::sample::{ContentHash, Samples};
use crate::domain::update::{AnsweringReport, CompensationReport, Decision, Report, SampleCounts};

use super::given::Given;
use super::select::Selection;
use super::subset::Subset;
use super::train::Training;
use super::{Learnt, Lesson, Plan, SampleDecision};

/// What is to be trained on: known before training.
pub(super) struct Chosen<'a> {
    /// Samples fit to learn from, and the others.
    pub(super) given: &'a Given<'a>,
    /// Which of the new ones are trained on.
    pub(super) selection: &'a Selection,
    /// Old samples beside them.
    pub(super) replay: &'a Subset<'a>,
    /// Labels that the parent does not know.
    pub(super) new_labels: &'a [Label],
}

/// What came of an update in which no sample was fit to learn from.
pub(super) fn nothing_to_learn(lesson: &Lesson<'_>, given: &Given<'_>) -> Learnt {
    Learnt {
        state: None,
        report: first_report(lesson, given, None),
        decisions: first_decisions(given, None),
    }
}

/// What a dry run says.
pub(super) fn planned(lesson: &Lesson<'_>, chosen: &Chosen<'_>) -> Plan {
    let mut report = first_report(lesson, chosen.given, Some(chosen.selection));
    report.samples.replayed = chosen.replay.len();
    report.new_labels = chosen.new_labels.iter().map(Label::to_string).collect();
    let decisions = first_decisions(chosen.given, Some(chosen.selection));
    Plan { report, decisions }
}

/// What an update says once it is through, but for the state.
pub(super) fn learnt(
    lesson: &Lesson<'_>,
    chosen: &Chosen<'_>,
    training: Training,
    (compensation, answering): (Option<CompensationReport>, AnsweringReport),
    (evaluation, gate): (Evaluation, GateDecision),
) -> Learnt {
    let Plan { mut report, mut decisions } = planned(lesson, chosen);
    report.samples.replayed = training.replayed.len();
    let replayed = training.replayed.iter().map(|&place| chosen.replay.hash(place));
    decisions.extend(replayed.map(|hash| bare(hash, Decision::Replayed)));
    report.training = Some(training.report);
    report.compensation = compensation;
    report.answering = Some(answering);
    report.epochs = training.epochs;
    report.evaluation = Some(evaluation);
    report.gate = Some(gate);
    Learnt { state: None, report, decisions }
}

/// The report as far as it is known before training.
fn first_report(lesson: &Lesson<'_>, given: &Given<'_>, selection: Option<&Selection>) -> Report {
    let pending = lesson.experience.len() + lesson.held_out.last().map_or(0, Samples::len);
    let held_out = given.held_out.own().map_or(0, Subset::len);
    let used = selection.map_or(0, |selection| selection.selected.len());
    let dropped = pending - held_out - used;
    let mut counts = SampleCounts { pending, used, held_out, dropped, ..SampleCounts::default() };
    let faults = given.new.dropped.iter().chain(&given.held_out.dropped);
    let reasons = faults.map(|(_, fault)| fault.reason());
    for reason in reasons.chain(selection.iter().flat_map(|selection| selection.drop_reasons())) {
        *counts.dropped_by_reason.entry(reason.to_owned()).or_default() += 1;
    }
    let selection = selection.map(|selection| selection.report.clone());
    Report { samples: counts, selection, ..Report::default() }
}

/// What became of the experience and of its held-out samples.
fn first_decisions(given: &Given<'_>, selection: Option<&Selection>) -> Vec<SampleDecision> {
    let dropped = given.new.dropped.iter().chain(&given.held_out.dropped);
    let mut decisions: Vec<SampleDecision> =
        dropped.map(|&(hash, fault)| bare(hash, fault.decision())).collect();
    if let Some(selection) = selection {
        decisions.extend(selection.decisions(&given.new.good));
    }
    let held_out = given.held_out.own().into_iter();
    let held_out = held_out.flat_map(|own| (0..own.len()).map(move |place| own.hash(place)));
    decisions.extend(held_out.map(|hash| bare(hash, Decision::HeldOut)));
    decisions
}

fn bare(hash: ContentHash, decision: Decision) -> SampleDecision {
    SampleDecision { hash, decision, cluster: None, distance: None, outlier: false }
}
