//! The service as a client sees it, and what is shown of it.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use serde_json::{Value, json};

use super::courses::{Course, Sample};
use crate::app::AppError;

/// Samples in one batch.
const BATCH: usize = 100;

/// The service, as a client sees it.
pub(super) struct Api {
    client: Client,
    address: String,
    model: String,
}

impl Api {
    /// A client of the service at `address`.
    pub(super) fn new(address: String) -> Self {
        Self { client: Client::new(), address, model: String::new() }
    }

    /// Sends a request; anything but success ends the demonstration with what the service said.
    async fn call(&self, request: reqwest::RequestBuilder) -> Result<Value, AppError> {
        let failed =
            |error: reqwest::Error| AppError::Settings(format!("{}: {error}", self.address));
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(failed)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(AppError::Settings(format!("{status}: {}", body["detail"]))),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/v1/models/{}{path}", self.address, self.model)
    }

    /// Creates the course's model, under another name where its own is taken.
    pub(super) async fn create_model(&mut self, course: &Course) -> Result<(), AppError> {
        let url = format!("{}/v1/models", self.address);
        for number in 1..100 {
            let name = course.name;
            self.model = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            let model = json!({
                "name": self.model,
                "input": course.input,
                "schedule": {"paused": true},
            });
            let answer = self.client.post(&url).json(&model).send().await;
            let taken = matches!(&answer, Ok(answer) if answer.status() == 409);
            if !taken {
                let request = self.client.get(self.url(""));
                return self.call(request).await.map(drop);
            }
        }
        Err(AppError::Settings("no free name for the model".to_owned()))
    }

    /// Sends samples as batches of NDJSON.
    pub(super) async fn send(&self, samples: &[Sample]) -> Result<(), AppError> {
        for batch in samples.chunks(BATCH) {
            let line = |sample: &Sample| {
                format!("{}\n", json!({"input": sample.input, "label": sample.label}))
            };
            let request = self
                .client
                .post(self.url("/batches"))
                .header("content-type", "application/x-ndjson")
                .body(batch.iter().map(line).collect::<String>());
            let batch = self.call(request).await?["batch"].take();
            println!(
                "  batch {}: {} accepted, {} duplicates, {} rejected",
                batch["id"].as_str().unwrap_or_default(),
                batch["accepted"],
                batch["duplicates"],
                batch["rejected"]
            );
        }
        Ok(())
    }

    /// Asks for an update and shows it to its end.
    pub(super) async fn update(&self) -> Result<Value, AppError> {
        let queued = self.call(self.client.post(self.url("/updates"))).await?;
        let url =
            format!("{}/v1/updates/{}", self.address, queued["id"].as_str().unwrap_or_default());
        let bar = ProgressBar::new(100);
        if let Ok(style) = ProgressStyle::with_template("  update {bar:30} {pos:>3} % {msg}") {
            bar.set_style(style);
        }
        loop {
            let update = self.call(self.client.get(&url)).await?;
            bar.set_position((update["progress"].as_f64().unwrap_or(0.0) * 100.0) as u64);
            let phase = update["phase"].as_str().or(update["status"].as_str()).unwrap_or_default();
            bar.set_message(phase.to_owned());
            if !update["finished_at"].is_null() {
                bar.finish_and_clear();
                return Ok(update);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Shows the version that an update made, measured on what was never sent; returns its
    /// accuracy.
    pub(super) async fn examine(
        &self,
        update: &Value,
        unseen: &[&Sample],
    ) -> Result<f64, AppError> {
        let report = &update["report"];
        let seconds: f64 = report["seconds"]
            .as_object()
            .map_or(0.0, |phases| phases.values().filter_map(Value::as_f64).sum());
        println!(
            "  update {}: {} in {seconds:.1} s, {} samples learnt, {} replayed",
            update["status"].as_str().unwrap_or_default(),
            update["outcome"].as_str().unwrap_or("no outcome"),
            report["samples"]["used"],
            report["samples"]["replayed"],
        );
        if update["outcome"] != "published" {
            let why =
                format!("the update was not published: {} {}", update["error"], report["gate"]);
            return Err(AppError::Settings(why));
        }
        let predictions = self.predict(unseen).await?;
        let mut by_group: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (sample, prediction) in unseen.iter().zip(&predictions) {
            let (right, all) = by_group.entry(&sample.group).or_default();
            *right += usize::from(prediction["label"] == sample.label.as_str());
            *all += 1;
        }
        let right: usize = by_group.values().map(|(right, _)| right).sum();
        let accuracy = right as f64 / unseen.len().max(1) as f64;
        let forgetting = report["evaluation"]["forgetting"].as_f64();
        println!(
            "  version {}: accuracy {accuracy:.3} on {} never sent, forgetting {}",
            update["version"],
            unseen.len(),
            forgetting.map_or("–".to_owned(), |forgetting| format!("{forgetting:.3}")),
        );
        let counts = by_group.values().map(|(right, all)| format!("{right}/{all}"));
        let counts: Vec<String> = counts.collect();
        let cells = || by_group.keys().copied().chain(counts.iter().map(String::as_str));
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0) + 2;
        let padded: Vec<String> = cells().map(|cell| format!("{cell:>width$}")).collect();
        let (groups, counts) = padded.split_at(by_group.len());
        println!("         {}\n    right{}", groups.concat(), counts.concat());
        println!();
        Ok(accuracy)
    }

    async fn predict(&self, samples: &[&Sample]) -> Result<Vec<Value>, AppError> {
        let inputs: Vec<&Value> = samples.iter().map(|sample| &sample.input).collect();
        let request =
            self.client.post(self.url("/predict")).json(&json!({"inputs": inputs, "top_k": 3}));
        let mut answer = self.call(request).await?;
        match answer["predictions"].take() {
            Value::Array(predictions) => Ok(predictions),
            _ => Err(AppError::Settings("the service gave no predictions".to_owned())),
        }
    }

    /// Shows what the live version says of `samples`.
    pub(super) async fn show_predictions(&self, samples: &[&Sample]) -> Result<(), AppError> {
        println!("── some predictions ──");
        for (sample, prediction) in samples.iter().zip(self.predict(samples).await?) {
            let top: Vec<String> = prediction["top"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|answer| {
                    let probability = answer["probability"].as_f64().unwrap_or(0.0);
                    format!("{} {probability:.3}", answer["label"].as_str().unwrap_or_default())
                })
                .collect();
            println!("  {}: {}", sample.shown, top.join(", "));
        }
        Ok(())
    }
}
