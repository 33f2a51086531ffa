//! "Here is a batch of labelled samples; keep it."
//!
//! Invariant: accepted means committed. The batch, its samples, the update that it queues and the
//! answer kept for its idempotency key are one transaction, held under the model's lock and only
//! while the samples are written: the client has sent everything by then.

use sqlx::{PgConnection, PgTransaction};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::requests::{self, UpdateRef};
use super::{Context, ServiceError, queues, registry};
use crate::domain::Invalid;
use crate::domain::batch::{Rejection, Verdicts};
use crate::domain::input::InputSchema;
use crate::domain::label::Label;
use crate::domain::name::ModelName;
use crate::domain::sample::{ContentHash, Samples};
use crate::domain::update::Trigger;
use crate::storage::batches::{self, Batch};
use crate::storage::database;
use crate::storage::idempotency::{self, GivenAnswer};
use crate::storage::models::{self, Model};
use crate::storage::samples;

mod writer;

pub(super) use writer::Writer;

/// A batch as it is read: its chunks in order, then the end. One that breaks off before its end is
/// not stored.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every part is the large one")]
pub enum Part {
    /// Some samples.
    Chunk(Chunk),
    /// Everything has been read.
    End,
}

/// Up to a block's worth of a batch, parsed and checked.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The good samples.
    pub samples: Samples,
    /// The client's id of each good sample.
    pub client_ids: Vec<Option<String>>,
    /// Whom each good sample is about.
    pub subjects: Vec<Option<String>>,
    /// Whether each good sample's input is held out of training.
    pub held_out: Vec<bool>,
    /// The place in the batch of each good sample, from 0.
    pub indices: Vec<u64>,
    /// The bad samples.
    pub rejections: Vec<Rejection>,
}

impl Chunk {
    /// Nothing yet, of inputs as `schema` says.
    pub fn new(schema: &InputSchema) -> Self {
        Self { samples: Samples::empty(schema), ..Self::default() }
    }

    /// Makes a good sample of the input that was added last; `index` is its place in the batch.
    pub fn tag_last(
        &mut self,
        label: Label,
        client_id: Option<String>,
        subject: Option<String>,
        weight: f32,
        index: u64,
    ) {
        let inputs = &self.samples.inputs;
        let last = inputs.len() - 1;
        let input = ContentHash::of_input(inputs.numbers(last), inputs.categories(last));
        self.held_out.push(input.is_held_out());
        self.samples.hashes.push(input.with_label(&label));
        self.samples.labels.push(label);
        self.samples.weights.push(weight);
        self.samples.arrived.push(index);
        self.client_ids.push(client_id);
        self.subjects.push(subject);
        self.indices.push(index);
    }
}

/// Whether a batch queues an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdatePolicy {
    /// The model's schedule decides.
    #[default]
    Auto,
    /// At once.
    Now,
    /// Not this time.
    Never,
}

/// How a batch is to be taken.
#[derive(Debug, Default)]
pub struct IngestOptions {
    /// One bad sample refuses the whole batch.
    pub strict: bool,
    /// Whether it queues an update.
    pub update: UpdatePolicy,
    /// The client's idempotency key, if it sent one.
    pub idempotency: Option<IdempotencyKey>,
}

/// An idempotency key with what it stands for.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// The key.
    pub key: String,
    /// SHA-256 of query and body.
    pub fingerprint: [u8; 32],
}

/// An answer, given now or given before under the same key.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<T> {
    /// Given now.
    New(T),
    /// Given before; the same again.
    Replayed(GivenAnswer),
}

/// A stored batch, and the update it was queued into.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// The batch.
    pub batch: Batch,
    /// The update, if there is one.
    pub update: Option<UpdateRef>,
}

/// Parts of a batch that wait to be written: a few, so that memory stays bounded and reading the
/// next one overlaps with writing this one.
const PARTS_AHEAD: usize = 2;

/// Stores a batch. `read` is called once there is a slot and the key is new; it sends the batch in
/// parts, from a thread of its own. `render` makes the answer that is kept for the key.
///
/// # Errors
/// [`ServiceError::Busy`] when too many batches wait; [`ServiceError::Invalid`] when `strict` and a sample is bad, or when there is no sample at all;
/// [`ServiceError::Conflict`] while the same key is being answered; [`ServiceError::KeyReused`];
/// [`ServiceError::Broken`] when the batch breaks off. Nothing is stored then.
pub async fn ingest(
    context: &Context,
    model: &Model,
    options: &IngestOptions,
    read: impl FnOnce(mpsc::Sender<Part>),
    render: impl FnOnce(&Ingested) -> GivenAnswer,
) -> Result<Answer<Ingested>, ServiceError> {
    let _slot = context.queues.batches.take(&model.name).await?;
    let tx = context.pool.begin().await?;
    let key = options.idempotency.as_ref();
    let mut tx = match given_before(tx, model, BATCHES, key).await? {
        Given::Before(given) => return Ok(Answer::Replayed(given)),
        Given::Never(tx) => tx,
    };
    let model = lock(&mut tx, model).await?;
    let id = Uuid::now_v7();
    batches::open(&mut tx, id, model.id).await?;
    let mut writer = Writer::new(&mut tx, &model, id).await?;
    let (sender, mut parts) = mpsc::channel(PARTS_AHEAD);
    read(sender);
    loop {
        match parts.recv().await {
            Some(Part::Chunk(chunk)) => writer.write(chunk).await?,
            Some(Part::End) => break,
            None => {
                return Err(ServiceError::Broken("the batch broke off while it was read".into()));
            }
        }
    }
    let verdicts = writer.verdicts;
    if verdicts.received == 0 {
        return Err(Invalid::at("/samples", "the batch is empty; send at least one sample").into());
    }
    if options.strict && verdicts.rejected > 0 {
        return Err(ServiceError::Invalid(refusals(&verdicts)));
    }
    let batch = batches::close(&mut tx, id, &verdicts).await?;
    let update = queue_update(&mut tx, &model, options.update).await?;
    let ingested = Ingested { batch, update };
    if let Some(key) = &options.idempotency {
        keep_answer(&mut tx, &model, BATCHES, key, render(&ingested)).await?;
    }
    tx.commit().await?;
    count(&ingested.batch.verdicts);
    Ok(Answer::New(ingested))
}

const BATCHES: &str = "batches";

/// Counts what became of samples, once it is committed.
pub(super) fn count(verdicts: &Verdicts) {
    for (verdict, count) in [
        ("accepted", verdicts.accepted),
        ("duplicate", verdicts.duplicates),
        ("rejected", verdicts.rejected),
    ] {
        metrics::counter!("perennial_samples_total", "verdict" => verdict).increment(count);
    }
}

fn refusals(verdicts: &Verdicts) -> Vec<Invalid> {
    let refusal = |bad: &Rejection| Invalid::at(format!("/samples/{}", bad.index), &bad.reason);
    verdicts.rejections.iter().map(refusal).collect()
}

/// Takes the model's lock, for which a batch does not wait forever.
pub(super) async fn lock(db: &mut PgConnection, model: &Model) -> Result<Model, ServiceError> {
    database::limit_waits(db, queues::LONG).await?;
    models::lock(db, model.id)
        .await?
        .ok_or_else(|| ServiceError::NotFound(format!("model {}", model.name)))
}

/// Queues an update where the batch asks for one, or the schedule says that it is time. Until then
/// a batch belongs to the update that is queued already, if there is one.
pub(super) async fn queue_update(
    db: &mut PgConnection,
    model: &Model,
    policy: UpdatePolicy,
) -> Result<Option<UpdateRef>, ServiceError> {
    let schedule = &model.settings.schedule;
    let due = match policy {
        UpdatePolicy::Never => return Ok(None),
        UpdatePolicy::Now => samples::count_pending(db, model.id).await? > 0,
        UpdatePolicy::Auto if schedule.paused => false,
        UpdatePolicy::Auto => {
            samples::count_fresh(db, model.id).await? >= i64::from(schedule.min_samples)
        }
    };
    let trigger = if policy == UpdatePolicy::Now { Trigger::Batch } else { Trigger::Schedule };
    match due {
        true => Ok(Some(requests::enqueue(db, model.id, trigger, false).await?)),
        false => requests::queued(db, model.id).await,
    }
}

/// Whether a key was answered before.
pub(super) enum Given<'t> {
    /// It was, in this way.
    Before(GivenAnswer),
    /// It was not: the transaction holds it until it ends.
    Never(PgTransaction<'t>),
}

/// The answer given before under this key, if any. The key is free again before that is told: a
/// client that has been answered may use it at once.
///
/// # Errors
/// [`ServiceError::Conflict`] while another transaction holds it, [`ServiceError::KeyReused`] when
/// it stood for another request.
pub(super) async fn given_before<'t>(
    mut tx: PgTransaction<'t>,
    model: &Model,
    route: &str,
    key: Option<&IdempotencyKey>,
) -> Result<Given<'t>, ServiceError> {
    let Some(IdempotencyKey { key, fingerprint }) = key else { return Ok(Given::Never(tx)) };
    if !idempotency::try_lock(&mut tx, model.id, route, key).await? {
        let detail = "a request with this Idempotency-Key is being answered; try again shortly";
        return Err(ServiceError::Conflict(detail.to_owned()));
    }
    let Some(given) = idempotency::find(&mut tx, model.id, route, key).await? else {
        return Ok(Given::Never(tx));
    };
    tx.rollback().await?;
    match given.fingerprint == fingerprint {
        true => Ok(Given::Before(given)),
        false => Err(ServiceError::KeyReused),
    }
}

/// Keeps an answer for its key, in the transaction that it reports.
pub(super) async fn keep_answer(
    db: &mut PgConnection,
    model: &Model,
    route: &str,
    key: &IdempotencyKey,
    mut answer: GivenAnswer,
) -> Result<(), ServiceError> {
    answer.fingerprint = key.fingerprint.to_vec();
    Ok(idempotency::insert(db, model.id, route, &key.key, &answer).await?)
}

/// A model's batches before the one of id `before`, newest first.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model.
pub async fn list(
    context: &Context,
    name: &ModelName,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Batch>, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = registry::find_in(&mut db, name).await?;
    Ok(batches::list(&mut db, model.id, before, limit).await?)
}

/// One batch of a model.
///
/// # Errors
/// [`ServiceError::NotFound`] when there is no such model or batch.
pub async fn get(context: &Context, name: &ModelName, id: Uuid) -> Result<Batch, ServiceError> {
    let mut db = context.pool.acquire().await?;
    let model = registry::find_in(&mut db, name).await?;
    batches::find(&mut db, model.id, id)
        .await?
        .ok_or_else(|| ServiceError::NotFound(format!("batch {id} of model {name}")))
}
