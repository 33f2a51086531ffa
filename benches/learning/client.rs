//! A model of the service, as a client sees it.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::configurations::{Configuration, merge};
use crate::figures::Update;
use crate::scenario::{Scenario, TestSet};
use crate::support::{Answer, Api};

/// Limits of a gate, of which a release may have some.
const LIMITS: [&str; 4] = ["min_accuracy", "max_drop", "max_class_drop", "max_forgetting"];
/// Requests for predictions under way at a time.
const QUESTIONS_AT_A_TIME: usize = 2;
/// Waits of a minute until an update is given up.
const MOST_WAITS: usize = 120;

/// Why a configuration has no figures.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The service does not take the settings.
    #[error("not offered: {0}")]
    NotOffered(String),
    /// Something went wrong.
    #[error("FAILED: {0}")]
    Failed(String),
}

/// A model that learns.
pub struct Learner<'a> {
    api: &'a Api,
    path: String,
}

impl<'a> Learner<'a> {
    /// Creates the model.
    pub async fn create(
        api: &'a Api,
        configuration: &Configuration,
        scenario: &Scenario,
        seed: u32,
    ) -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("learner-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut model = json!({
            "name": name,
            "input": scenario.input,
            "schedule": {"paused": true},
            "learning": {"seed": seed},
        });
        merge(&mut model, &configuration.settings);
        let answer = api.post("/v1/models", model).await;
        if answer.status == 422 {
            return Err(Failure::NotOffered(answer.body["detail"].to_string()));
        }
        let created = expect(answer, 201)?;
        let learner = Self { api, path: format!("/v1/models/{name}") };
        if configuration.ungated {
            learner.open_gate(&created["gate"]).await?;
        }
        Ok(learner)
    }

    /// Switches off the limits that the gate has.
    async fn open_gate(&self, gate: &Value) -> Result<(), Failure> {
        let limits = LIMITS.iter().filter(|&&limit| gate.get(limit).is_some());
        let off: serde_json::Map<String, Value> =
            limits.map(|&limit| (limit.to_owned(), Value::Null)).collect();
        expect(self.api.patch(&self.path, json!({"gate": off})).await, 200).map(drop)
    }

    /// Removes the model with all that it learnt from.
    pub async fn delete(self) -> Result<(), Failure> {
        expect(self.api.delete(&self.path).await, 204).map(drop)
    }

    /// Sends one experience, one body after another: their order may matter to a learner.
    pub async fn send(&self, bodies: &[Bytes]) -> Result<(), Failure> {
        for body in bodies {
            let path = format!("{}/batches?update=never&strict=true", self.path);
            let request = self.api.request(Method::POST, &path);
            let request = request.header("content-type", "application/x-ndjson");
            expect(self.api.send(request.body(body.clone())).await, 202)?;
        }
        Ok(())
    }

    /// Asks for an update and waits for its end.
    pub async fn update(&self) -> Result<Update, Failure> {
        let queued = self.api.post(&format!("{}/updates", self.path), json!({})).await;
        let queued = expect(queued, 202)?;
        let path = format!("/v1/updates/{}?wait=60", queued["id"].as_str().unwrap_or_default());
        for _ in 0..MOST_WAITS {
            let update = expect(self.api.get(&path).await, 200)?;
            if !update["finished_at"].is_null() {
                return Update::read(&update);
            }
        }
        Err(Failure::Failed(format!("no end after {MOST_WAITS} minutes")))
    }

    /// How many of the test samples the live version answers rightly.
    pub async fn examine(&self, test: &TestSet) -> Result<usize, Failure> {
        let path = format!("{}/predict", self.path);
        let ask = |question: &Bytes| {
            let request = self.api.request(Method::POST, &path);
            let request = request.header("content-type", "application/json");
            let request = request.body(question.clone());
            async move { expect(self.api.send(request).await, 200) }
        };
        // Made before they are awaited: a closure that borrows its argument is of no one lifetime.
        let asked: Vec<_> = test.questions.iter().map(ask).collect();
        let answers: Vec<Value> =
            stream::iter(asked).buffered(QUESTIONS_AT_A_TIME).try_collect().await?;
        let predictions: Vec<&Value> = answers
            .iter()
            .filter_map(|answer| answer["predictions"].as_array())
            .flatten()
            .collect();
        if predictions.len() != test.labels.len() {
            let (got, asked) = (predictions.len(), test.labels.len());
            return Err(Failure::Failed(format!("{got} predictions for {asked} inputs")));
        }
        let answers = predictions.iter().zip(&test.labels);
        Ok(answers.filter(|(prediction, label)| prediction["label"] == label.as_str()).count())
    }
}

/// The body, where the status is this one.
fn expect(answer: Answer, status: u16) -> Result<Value, Failure> {
    match answer.status == status {
        true => Ok(answer.body),
        false => Err(Failure::Failed(format!("{}: {}", answer.status, answer.body))),
    }
}
