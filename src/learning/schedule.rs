//! How long an update trains, and how fast.
//!
//! New labels take a number of steps, however few samples bring them; more samples of known labels
//! take a few passes, or the newest would count for more than all the others.

use std::f32::consts::PI;

use crate::domain::input::InputSchema;
use crate::domain::settings::LearningSettings;

use super::minibatch::HALF;
use super::shape::Shape;

/// Passes over all that is trained on, new and replayed,
const PASSES: usize = 5;
/// but at least this many steps of a first update, and of a mixture, whose experts share them,
const LEAST_STEPS: usize = 500;
/// this many of another later one, which begins with what the parent knows,
const LEAST_LATER_STEPS: usize = 300;
/// and where much is known that may be forgotten, about this many at most,
const MOST_STEPS: usize = 700;
/// or of images this many: each takes the time of ten, and the closed form beside it knows as much.
const MOST_IMAGE_STEPS: usize = 300;
/// An update trains on this share of what learning all anew would go over, at most: with all that is done
/// besides, it is to take half the time.
const SHARE_OF_ANEW: f64 = 0.4;
/// Much is known where the new samples are at most so many times as many as those that were learnt.
const MUCH: f64 = 2.0;
/// The most passes over exemplars: they are few, and always the same;
const EXEMPLAR_PASSES: usize = 30;
/// of texts, which are learnt fast.
const TEXT_PASSES: usize = 9;
/// The fewest steps beside exemplars.
const EXEMPLAR_STEPS: usize = 100;
/// The fewest steps over new samples of known labels, of which there are else no more than as many
/// passes: more of them learn the newest by heart, which in a stream that drifts costs a point.
const KNOWN_STEPS: usize = 30;
/// What new samples count beside the replayed ones.
const NEW_SHARE: f32 = 0.5;
/// Peak learning rate where the settings give none, of networks that look at images and where meanings move,
/// which faster ones follow too far;
const RATE: f32 = 1e-3;
/// of texts, whose every bucket is read seldom: lower ones do not learn it in as few steps;
const TEXT_RATE: f32 = 5e-3;
/// of the others more, the fewer numbers they read: each weight is changed by about the rate, whatever its
/// gradient (Adam), so few move the network less; this at so many,
const WIDE_RATE: f32 = 2e-3;
const WIDE: f32 = 784.0;
/// at most this.
const MOST_RATE: f32 = 5e-3;
/// Until so many samples have shown whether meanings move, known labels are learnt at the lowest rate: a
/// stream that drifts is followed worse for good after it was first learnt fast.
const SETTLED: f64 = 2_500.0;
/// More passes over exemplars than this share of the most are many,
const MANY: f64 = 2.0 / 3.0;
/// and where new labels come the peak rate is multiplied by this: old labels that look different have to be
/// learnt from the new samples all the same.
const MANY_PASSES_RATE: f32 = 0.3;
/// The share of the peak rate that the cosine ends at.
const FINAL_RATE: f32 = 0.02;

/// How long to train and how fast.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schedule {
    pub(super) epochs: usize,
    pub(super) steps_per_epoch: usize,
    /// Peak rate.
    pub(super) rate: f32,
    /// Steps in which the rate rises to its peak.
    pub(super) warm_up: usize,
    /// Whether it is long enough for exemplars to be learnt by heart.
    pub(super) many: bool,
}

/// What an update has to learn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    /// New samples, at least one.
    pub(super) n_new: usize,
    /// Old ones beside them.
    pub(super) n_replayed: usize,
    /// Whether these are few and the same each time.
    pub(super) exemplars: bool,
    /// Whether labels come that are not known.
    pub(super) new_labels: bool,
    /// Whether there is no version before.
    pub(super) first: bool,
    /// What the samples weigh that were learnt before; none where there is nothing to forget.
    pub(super) n_learnt: Option<f64>,
    /// What reads them.
    pub(super) reads: Reads,
    /// Whether meanings move.
    pub(super) moves: bool,
    /// Whether experts learn them.
    pub(super) mixture: bool,
}

/// What a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// So many numbers and categories.
    Columns(usize),
    /// Texts.
    Texts,
    /// Images, as such.
    Images,
}

impl Reads {
    /// What one of this shape does, for such a model.
    pub(super) fn of(input: &InputSchema, shape: &Shape) -> Self {
        match (input, &shape.stages) {
            (InputSchema::Text(_), _) => Self::Texts,
            (_, Some(_)) => Self::Images,
            (schema, None) => Self::Columns(schema.n_numeric() + schema.n_categorical()),
        }
    }
}

impl Schedule {
    /// For an update.
    pub(super) fn of(settings: &LearningSettings, task: Task) -> Self {
        let steps_per_epoch = task.n_new.div_ceil(HALF);
        let passes = |steps: usize| (steps as f64 / steps_per_epoch as f64).round() as usize;
        let fitting = passes(task.steps()).max(1).min(task.most_passes(passes));
        let epochs = settings.epochs.map_or(fitting, |epochs| epochs as usize);
        let steps = epochs * steps_per_epoch;
        let many = task.exemplars && (steps * HALF) as f64 > MANY * task.most_replays() as f64;
        let lowers = many && task.new_labels && task.reads != Reads::Texts;
        let lowered = if lowers { MANY_PASSES_RATE } else { 1.0 };
        let rate = peak(task.reads, task.is_settled()) * lowered;
        Self {
            epochs,
            steps_per_epoch,
            rate: settings.learning_rate.unwrap_or(rate),
            warm_up: (steps as f32 * settings.warm_up.unwrap_or_default()) as usize,
            many,
        }
    }

    /// For `n_new` samples in about `n_steps` steps, or one pass.
    pub(super) fn within(
        settings: &LearningSettings,
        n_new: usize,
        n_steps: usize,
        reads: Reads,
    ) -> Self {
        let steps_per_epoch = n_new.div_ceil(HALF);
        Self {
            epochs: (n_steps / steps_per_epoch).max(1),
            steps_per_epoch,
            rate: settings.learning_rate.unwrap_or(peak(reads, true)),
            warm_up: 0,
            many: false,
        }
    }

    /// Steps over all epochs.
    pub(super) fn steps(&self) -> usize {
        self.epochs * self.steps_per_epoch
    }

    /// The rate at `step`: up to the peak in a straight line, then half a cosine down to 2 % of it
    /// (Loshchilov & Hutter 2017).
    pub(super) fn rate_at(&self, step: usize) -> f32 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f32 / (self.warm_up + 1) as f32;
        }
        let done = (step - self.warm_up) as f32 / (self.steps() - self.warm_up) as f32;
        self.rate * (FINAL_RATE + (1.0 - FINAL_RATE) * 0.5 * (1.0 + (PI * done).cos()))
    }

    /// The same at a tenth of the rate.
    pub(super) fn slower(&self) -> Self {
        Self { rate: self.rate / 10.0, ..self.clone() }
    }
}

/// The peak rate of a network.
fn peak(reads: Reads, is_settled: bool) -> f32 {
    match reads {
        Reads::Texts => TEXT_RATE,
        Reads::Columns(n) if is_settled => (WIDE_RATE * (WIDE / n as f32).sqrt()).min(MOST_RATE),
        Reads::Columns(_) | Reads::Images => RATE,
    }
}

impl Task {
    /// How much of what is known beforehand is worth keeping, 0 to 1: all of it but where many more samples
    /// are new than were ever learnt, as after a first version of a handful.
    pub(super) fn trust(&self) -> f64 {
        let n_learnt = self.n_learnt.unwrap_or_default();
        (MUCH * n_learnt / self.n_new as f64).min(1.0)
    }

    /// Whether what is learnt now is to be held to: new labels of a model that knows others, and what was
    /// seen not to move.
    fn is_settled(&self) -> bool {
        let n_seen = self.n_learnt.unwrap_or_default() + self.n_new as f64;
        !self.moves && (n_seen >= SETTLED || (self.new_labels && !self.first))
    }

    /// What the new samples count beside replayed ones: as much as these. Of known labels a handful counts
    /// by their number: one sample is not to be learnt by heart at the cost of all others.
    pub(super) fn new_share(&self) -> f32 {
        let whole = if self.new_labels { HALF } else { self.n_new.min(HALF) };
        NEW_SHARE * whole as f32 / HALF as f32
    }

    /// How often exemplars are replayed at most, all together.
    fn most_replays(&self) -> usize {
        let passes = if self.reads == Reads::Texts { TEXT_PASSES } else { EXEMPLAR_PASSES };
        passes * self.n_replayed
    }

    /// Steps to aim at.
    fn steps(&self) -> usize {
        let most_steps = if self.reads == Reads::Images { MOST_IMAGE_STEPS } else { MOST_STEPS };
        if self.exemplars {
            return (self.most_replays() / HALF).clamp(EXEMPLAR_STEPS, LEAST_STEPS.min(most_steps));
        }
        let anew_of = |n: usize| (PASSES * n / HALF).max(LEAST_STEPS);
        let n_known = self.n_learnt.unwrap_or_default() as usize;
        let halves = if self.n_replayed > 0 { 2.0 } else { 1.0 };
        let most = anew_of(self.n_new + n_known) as f64 * SHARE_OF_ANEW / halves;
        let anew = anew_of(self.n_new);
        let fewest = if self.mixture { LEAST_STEPS } else { LEAST_LATER_STEPS };
        let fitting = PASSES * (self.n_new + self.n_replayed) / (2 * HALF);
        let later = fitting.clamp(fewest, fewest.max(most_steps)).min(most as usize);
        later + (anew.saturating_sub(later) as f64 * (1.0 - self.trust())) as usize
    }

    /// The most passes over the new samples, where `passes` takes a number of steps.
    fn most_passes(&self, passes: impl Fn(usize) -> usize) -> usize {
        match self.new_labels {
            true => usize::MAX,
            false => passes(KNOWN_STEPS).max(PASSES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n_new: usize, n_replayed: usize) -> Task {
        Task {
            n_new,
            n_replayed,
            exemplars: false,
            new_labels: true,
            first: false,
            n_learnt: Some(10_000.0),
            reads: Reads::Columns(784),
            moves: false,
            mixture: false,
        }
    }

    fn steps(task: Task) -> usize {
        Schedule::of(&LearningSettings::default(), task).steps()
    }

    #[test]
    fn new_labels_take_as_many_steps_however_few_samples_bring_them() {
        let much = |n_new, n_replayed| Task { n_learnt: Some(1e5), ..task(n_new, n_replayed) };
        for (n_new, n_replayed, expected) in
            [(1, 2_000, 300), (1_000, 2_000, 304), (10_800, 10_800, 676), (20_000, 20_000, 626)]
        {
            assert_eq!(steps(much(n_new, n_replayed)), expected, "{n_new}");
        }
        assert_eq!(steps(Task { mixture: true, ..much(1, 2_000) }), 500);
        assert_eq!(steps(Task { reads: Reads::Images, ..much(10_800, 10_800) }), 338);
        let first = |n_new| Task { n_learnt: None, ..task(n_new, 0) };
        assert_eq!((steps(first(100)), steps(first(54_000))), (500, 4_220));
        // After a first version of 50 samples nearly as many as if there were none.
        let after = |n_learnt| Task { n_learnt: Some(n_learnt), ..task(54_000, 50) };
        assert_eq!((steps(after(50.0)), steps(after(13_500.0))), (4_220, 2_532));
        assert_eq!((steps(after(27_000.0)), steps(after(1e6))), (844, 844));
        assert!(after(50.0).trust() < 0.01 && after(27_000.0).trust() == 1.0);
        let settings = LearningSettings { epochs: Some(3), ..LearningSettings::default() };
        assert_eq!(Schedule::of(&settings, task(640, 640)).steps(), 30);
    }

    #[test]
    fn an_update_is_shorter_than_to_learn_all_anew() {
        // Which takes 500 steps of half as many samples, and 1,203.
        for (n, n_learnt, expected) in [(1_000, 500.0, 96), (5_400, 10_000.0, 255)] {
            let task = Task { n_learnt: Some(n_learnt), ..task(n, n) };
            assert_eq!(steps(task), expected, "{n_learnt}");
        }
    }

    #[test]
    fn known_labels_take_a_few_passes() {
        for (n_new, expected) in [(1, 30), (500, 40), (5_400, 255)] {
            assert_eq!(
                steps(Task { new_labels: false, ..task(n_new, 6_000) }),
                expected,
                "{n_new}"
            );
        }
    }

    #[test]
    fn a_handful_of_known_labels_counts_by_its_number() {
        let known = |n_new| Task { new_labels: false, ..task(n_new, 2_000) }.new_share();
        assert_eq!((known(1), known(32), known(64), known(5_000)), (0.5 / 64.0, 0.25, 0.5, 0.5));
        assert_eq!(task(1, 2_000).new_share(), 0.5);
    }

    #[test]
    fn few_exemplars_are_not_learnt_by_heart() {
        let beside = |n_replayed| Task { exemplars: true, ..task(10_800, n_replayed) };
        assert_eq!((steps(beside(200)), steps(beside(2_000))), (169, 507));
        let texts = |n_replayed| Task { reads: Reads::Texts, n_new: 1_280, ..beside(n_replayed) };
        assert_eq!((steps(texts(100)), steps(texts(770)), steps(texts(2_000))), (100, 100, 280));
        assert_eq!(steps(Task { reads: Reads::Images, ..beside(2_000) }), 338);
        let schedule = |task| Schedule::of(&LearningSettings::default(), task);
        assert!(schedule(texts(770)).many && !schedule(texts(8_000)).many);
        let rate = |task| schedule(task).rate;
        assert_eq!(rate(beside(1_000)), WIDE_RATE * MANY_PASSES_RATE);
        assert_eq!(rate(Task { new_labels: false, ..beside(1_000) }), WIDE_RATE);
        assert_eq!(rate(beside(2_000)), WIDE_RATE);
        assert_eq!(rate(task(10_800, 10_800)), WIDE_RATE);
        let reads = |reads| rate(Task { reads, ..task(10_800, 10_800) });
        assert_eq!((reads(Reads::Columns(8)), reads(Reads::Images)), (MOST_RATE, RATE));
        assert!(reads(Reads::Columns(3_136)) < WIDE_RATE && reads(Reads::Columns(400)) > WIDE_RATE);
        let moves = Task { moves: true, reads: Reads::Columns(8), ..task(450, 450) };
        assert_eq!(rate(moves), RATE);
        let narrow = Task { reads: Reads::Columns(8), ..task(400, 400) };
        let first = Task { n_learnt: None, first: true, ..narrow };
        let early = Task { n_learnt: Some(400.0), new_labels: false, ..narrow };
        assert_eq!([first, early].map(rate), [RATE; 2]);
        let of_many = Task { n_new: 3_000, ..first };
        let late = Task { n_learnt: Some(4_000.0), ..early };
        let new_labels = Task { new_labels: true, ..early };
        let anew = Task { first: false, ..first };
        assert_eq!([of_many, late, new_labels, anew].map(rate), [MOST_RATE; 4]);
        let settings = LearningSettings { learning_rate: Some(0.1), ..LearningSettings::default() };
        assert_eq!(Schedule::of(&settings, beside(1_000)).rate, 0.1);
    }

    #[test]
    fn the_rate_rises_to_the_peak_and_falls_to_a_fiftieth() {
        let schedule =
            Schedule { epochs: 10, steps_per_epoch: 100, rate: 0.5, warm_up: 100, many: false };
        assert!(schedule.rate_at(0) < 0.01);
        assert!((0..99).all(|step| schedule.rate_at(step) < schedule.rate_at(step + 1)));
        assert_eq!(schedule.rate_at(100), 0.5);
        assert!((schedule.rate_at(1_000) - 0.01).abs() < 1e-6);
    }
}
