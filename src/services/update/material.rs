//! What one run of an update learns from: the live version, what is pending, and what is drawn from
//! the history.
//!
//! Invariant: every run of a job reads the same, as long as its parent is live and no sample is
//! deleted, whatever comes in meanwhile.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sqlx::PgConnection;

use super::{Context, Stop, UpdateError, history, live_version};
use crate::domain::evaluation::{AccuracyMatrix, Evaluation};
use crate::domain::label::Label;
use crate::domain::matrix::{span_of, widened};
use crate::domain::sample::{ContentHash, Samples};
use crate::domain::settings::Strategy;
use crate::learning::{self, LearnerState, Lesson, checkpoint};
use crate::storage::StorageError;
use crate::storage::checkpoints::CheckpointRef;
use crate::storage::jobs::horizon;
use crate::storage::models::{self, Model, ModelId};
use crate::storage::samples::{self, SampleRow};
use crate::storage::versions;

/// All that a run reads before it computes.
pub(super) struct Material {
    /// The model as it was.
    pub(super) model: Model,
    /// What it goes on from; none before version 1.
    pub(super) parent: Option<Parent>,
    /// What it begins with where it does not go on from the parent.
    body: Option<LearnerState>,
    /// Rows that no version has learnt, held-out ones too, in the order in which they arrived.
    pub(super) pending: Vec<SampleRow>,
    /// The last block that there is, pending or not.
    pub(super) last_block: Option<i64>,
    /// Rows drawn from the history.
    drawn: Vec<SampleRow>,
    seed: u64,
    /// What an earlier run of the same job left.
    pub(super) snapshot: Option<Bytes>,
}

/// The samples themselves, which learning takes over.
pub(super) struct Sets {
    experience: Samples,
    history: Samples,
    recent: Samples,
    held_out: Vec<Samples>,
    /// Whether the experience was drawn from the history.
    relearns: bool,
    /// The last arrival of those of the experience that came before the gate refused some.
    refused_until: Option<u64>,
}

/// The live version: what the update trains from.
pub(super) struct Parent {
    /// Its number.
    pub(super) version: i32,
    sha256: String,
    state: LearnerState,
    matrix: AccuracyMatrix,
}

/// The share of an update's memory that new inputs may take; the rest waits for the next update.
const EXPERIENCE_SHARE: u64 = 16;

impl Material {
    /// Reads what the update learns from, of pending samples those up to block `horizon`, where
    /// there is one. Each read is a statement of its own: what changes in between is noticed when
    /// the run publishes. While the parent stays and no sample is deleted, nothing that is read here
    /// changes but what lies beyond the horizon.
    pub(super) async fn gather(
        context: &Context,
        id: ModelId,
        forced: bool,
        horizon: Option<i64>,
    ) -> Result<(Self, Sets), UpdateError> {
        let mut db = context.pool.acquire().await?;
        let model = models::get(&mut db, id).await?.ok_or(UpdateError::Stopped(Stop::Lost))?;
        let settings = &model.settings;
        let experiences = versions::published(&mut db, id).await?;
        let parent = Parent::load(context, &mut db, &model, experiences.len() + 1).await?;
        let begins = parent.is_none() || settings.learning.strategy == Strategy::Retrain;
        let body = match versions::body(&mut db, id).await?.filter(|_| begins) {
            Some(checkpoint) => Some(read(context, &checkpoint, "what it begins with").await?),
            None => None,
        };
        let labels: HashMap<i32, Label> =
            models::labels(&mut db, id).await?.into_iter().map(|(label, n)| (n, label)).collect();
        let empty = Samples::empty(&settings.input);

        let most_bytes = context.update_bytes / EXPERIENCE_SHARE;
        let most_bytes = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        let typical_bytes = settings.input.sample_bytes();
        let limit = (most_bytes / typical_bytes).max(1);
        let last = horizon.unwrap_or(i64::MAX);
        let version = parent.as_ref().map(|parent| parent.version);
        let refused = horizon::refused(&mut db, id, version, learning::MAX_LOOKED_AT).await?;
        let refused = refused.unwrap_or(0).min(last);
        // What was refused takes half of the room at most: else what came after it would never be seen.
        let mut pending = samples::pending(&mut db, id, 0..=refused, limit / 2).await?;
        let read =
            samples::load(&mut db, pending.clone(), &labels, empty.clone(), most_bytes / 2).await?;
        // Of long texts fewer fit: the others wait, too.
        pending.truncate(read.len());
        let refused_until = read.arrived.last().copied();
        let room = limit - pending.len();
        let after = samples::pending(&mut db, id, refused + 1..=last, room).await?;
        pending.extend_from_slice(&after);
        let read = samples::load(&mut db, after, &labels, read, most_bytes).await?;
        pending.truncate(read.len());
        let last_block = samples::last_block(&mut db, id).await?;
        let sample_bytes = typical_bytes.max(read.inputs.size_bytes() / read.len().max(1));
        let fit = (most_bytes / sample_bytes).max(1);
        let places = |held_out: bool| -> Vec<usize> {
            (0..read.len()).filter(|&place| pending[place].held_out == held_out).collect()
        };
        let (own_held_out, new) = (read.select(&places(true)), read.select(&places(false)));
        drop(read);

        let n_labels = n_labels(&labels, &pending, parent.as_ref());
        let seed = u64::from(settings.learning.seed) << 32 | experiences.len() as u64;
        let state = parent.as_ref().map(|parent| &parent.state);
        let wanted = learning::Wanted::by(settings, state, new.len());
        let of_draw = if wanted.exemplars { u64::from(settings.learning.seed) } else { seed };
        let from = history::start_of_draw(of_draw);
        let most = wanted.history.min(fit);
        // Exemplars are all that is kept: they are shared by the labels that the parent knows. Of the
        // whole history each label has the share that it would have beside the new ones: more took a
        // tenth more time and was no better.
        let n_sharing = match (wanted.exemplars, state) {
            (true, Some(state)) => state.labels().len(),
            _ => n_labels,
        };
        let n_known = state.map_or(n_sharing, |state| state.labels().len());
        let most = most.min(most.div_ceil(n_sharing.max(1)) * n_known);
        let drawn = history::draw(&mut db, id, (most, n_known), from).await?;
        let mut history =
            samples::load(&mut db, drawn.clone(), &labels, empty.clone(), most_bytes).await?;
        let newest = samples::newest(&mut db, id, wanted.recent.min(fit)).await?;
        let recent =
            samples::load(&mut db, newest.clone(), &labels, empty.clone(), most_bytes).await?;
        let relearns = new.is_empty() && forced;
        let experience = if relearns { std::mem::replace(&mut history, empty) } else { new };

        let (labels, sizes) = ((&labels, n_labels), (sample_bytes, most_bytes));
        let mut held_out =
            context.held_out.of_experiences(&mut db, &model, &experiences, labels, sizes).await?;
        held_out.push(own_held_out);
        let sets = Sets { experience, history, recent, held_out, relearns, refused_until };
        let drawn = [drawn, newest].concat();
        Ok((Self { model, parent, body, pending, last_block, drawn, seed, snapshot: None }, sets))
    }

    /// What learning is given.
    pub(super) fn lesson(&self, sets: Sets, context: &Context) -> Lesson<'_> {
        static NO_ROWS: AccuracyMatrix = Vec::new();
        Lesson {
            settings: &self.model.settings,
            device: context.device,
            parent: self.parent.as_ref().map(|parent| &parent.state),
            body: self.body.as_ref(),
            parent_digest: self.parent.as_ref().map(|parent| parent.sha256.as_str()),
            parent_matrix: self.parent.as_ref().map_or(&NO_ROWS, |parent| &parent.matrix),
            experience: sets.experience,
            history: sets.history,
            recent: sets.recent,
            relearns: sets.relearns,
            refused_until: sets.refused_until,
            held_out: sets.held_out,
            seed: self.seed,
            most_bytes: context.update_bytes,
            resume: self.snapshot.as_deref(),
        }
    }

    /// The last block that it looked at.
    pub(super) fn horizon(&self) -> i64 {
        self.pending.last().map_or(0, |row| row.block_id)
    }

    /// What names the pending samples.
    pub(super) fn pending_hashes(&self) -> Vec<Vec<u8>> {
        self.pending.iter().map(|row| row.hash.0.to_vec()).collect()
    }

    /// What clients call a sample: by their own id, else by its content hash.
    pub(super) fn sample_ids(&self) -> HashMap<ContentHash, String> {
        let named = |row: &SampleRow| Some((row.hash, row.client_id.clone()?));
        self.pending.iter().chain(&self.drawn).filter_map(named).collect()
    }
}

/// How many labels the pending samples and the parent know: those that have only come since the
/// horizon do not count.
fn n_labels(labels: &HashMap<i32, Label>, pending: &[SampleRow], parent: Option<&Parent>) -> usize {
    let of_pending: HashSet<i32> = pending.iter().map(|row| row.label).collect();
    let known = parent.map_or(&[][..], |parent| parent.state.labels());
    let known: HashSet<&Label> = known.iter().collect();
    let counts = |number, label| of_pending.contains(number) || known.contains(label);
    labels.iter().filter(|&(number, label)| counts(number, label)).count()
}

/// The state in a checkpoint, which is that of `what`.
async fn read(
    context: &Context,
    checkpoint: &CheckpointRef,
    what: &str,
) -> Result<LearnerState, StorageError> {
    let file = context.checkpoints.read(checkpoint).await?;
    checkpoint::decode(&file)
        .map_err(|error| StorageError::damaged(format!("checkpoint of {what}"), error))
}

impl Parent {
    async fn load(
        context: &Context,
        db: &mut PgConnection,
        model: &Model,
        n_experiences: usize,
    ) -> Result<Option<Self>, UpdateError> {
        let Some(version) = live_version(db, model.id).await? else { return Ok(None) };
        let row = versions::find(db, model.id, version)
            .await?
            .ok_or_else(|| StorageError::damaged("alias live", format!("no version {version}")))?;
        let state = read(context, &row.checkpoint, &format!("version {version}")).await?;
        let Evaluation { matrix, span, .. } = row.evaluation;
        let matrix = widened(matrix, span, span_of(n_experiences));
        Ok(Some(Self { version, sha256: row.checkpoint.sha256, state, matrix }))
    }
}
