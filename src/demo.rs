//! `perennial demo`: a model learns handwritten digits, two labels at a time, before one's eyes.
//!
//! The service runs in this process; all that the demonstration does goes over HTTP, as another
//! system would do it. Every fifth digit is never sent: the accuracy shown is measured on those.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use serde_json::{Value, json};

use crate::app::{self, AppError, Service};
use crate::config::DemoArgs;
use crate::telemetry;

/// The 1,797 digits of the UCI archive that scikit-learn bundles; see data/README.md.
const DIGITS: &str = include_str!("../data/digits.csv");
/// Labels that arrive together, in order.
const GROUPS: [[&str; 2]; 5] = [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]];
/// Samples in one batch.
const BATCH: usize = 100;
/// What the last version must reach on digits that were never sent.
const EXPECTED_ACCURACY: f64 = 0.95;

/// Runs the demonstration, then leaves the service running unless `--once`.
///
/// # Errors
/// [`AppError`] when the service cannot start, answers otherwise than it should, or does not learn.
pub async fn run(args: &DemoArgs) -> Result<(), AppError> {
    let began = Instant::now();
    let mut settings = args.settings.clone();
    // Its own private PostgreSQL, whatever the environment says.
    settings.database_url = None;
    let temporary = settings.data_dir.is_none().then(temporary_dir);
    settings.data_dir = settings.data_dir.or(temporary.clone());
    if std::net::TcpListener::bind(settings.listen).is_err() {
        settings.listen.set_port(0);
    }
    telemetry::start_logging("warn", settings.log_format).map_err(AppError::Settings)?;

    println!("Perennial learns 1,797 handwritten digits, two labels at a time.\n");
    println!("Starting the service on a private PostgreSQL …");
    let service = Service::start(&settings, true, true).await?;
    let shown = tokio::select! {
        shown = show(&service, began) => shown,
        stopped = app::signal() => stopped.map(|()| None),
    };
    if let (Ok(Some(model)), false) = (&shown, args.once) {
        println!("\nThe service stays up — stop it with Ctrl-C. Try:\n{}", hints(model));
        app::signal().await?;
        println!("\nStopping …");
    }
    service.stop().await;
    if let Some(dir) = temporary {
        let _ = std::fs::remove_dir_all(dir);
    }
    shown.map(drop)
}

fn temporary_dir() -> PathBuf {
    std::env::temp_dir().join(format!("perennial-demo-{}", std::process::id()))
}

/// One digit: 64 brightnesses from 0 to 16, and which digit it is.
struct Digit {
    pixels: Vec<f64>,
    label: String,
}

fn digits() -> Result<Vec<Digit>, AppError> {
    let broken =
        |error: &dyn std::fmt::Display| AppError::Settings(format!("data/digits.csv: {error}"));
    let mut digits = Vec::new();
    for row in csv::Reader::from_reader(DIGITS.as_bytes()).records() {
        let row = row.map_err(|error| broken(&error))?;
        let label = row.get(64).unwrap_or_default().to_owned();
        let pixels = row.iter().take(64).map(str::parse).collect::<Result<_, _>>();
        digits.push(Digit { pixels: pixels.map_err(|error| broken(&error))?, label });
    }
    Ok(digits)
}

/// Streams all groups and shows what becomes of them; returns the model's address.
async fn show(service: &Service, began: Instant) -> Result<Option<String>, AppError> {
    let address = service.address.map_or_else(String::new, |address| format!("http://{address}"));
    println!("Listening on {address}\n");
    let mut api = Api { client: Client::new(), address, model: String::new() };
    api.create_model().await?;
    let (sent, unseen): (Vec<_>, Vec<_>) =
        digits()?.into_iter().enumerate().partition(|(i, _)| i % 5 != 4);
    let mut accuracy = 0.0;
    for (step, group) in GROUPS.iter().enumerate() {
        println!("── {} of 5: digits {} and {} arrive ──", step + 1, group[0], group[1]);
        let of_group = |digit: &&(usize, Digit)| group.contains(&digit.1.label.as_str());
        let batch: Vec<&Digit> = sent.iter().filter(of_group).map(|(_, digit)| digit).collect();
        api.send(&batch).await?;
        let update = api.update().await?;
        let seen: Vec<&str> = GROUPS[..=step].concat();
        let of_seen = |digit: &&(usize, Digit)| seen.contains(&digit.1.label.as_str());
        let asked: Vec<&Digit> = unseen.iter().filter(of_seen).map(|(_, digit)| digit).collect();
        accuracy = api.examine(&update, &asked).await?;
    }
    api.show_predictions(&unseen.iter().take(5).map(|(_, digit)| digit).collect::<Vec<_>>())
        .await?;
    println!(
        "\nAll ten digits in {:.0} s; accuracy {accuracy:.3} on digits never sent.",
        began.elapsed().as_secs_f64()
    );
    if accuracy < EXPECTED_ACCURACY {
        let detail =
            format!("the last version reaches {accuracy:.3}, {EXPECTED_ACCURACY} was expected");
        return Err(AppError::Settings(detail));
    }
    Ok(Some(api.url("")))
}

/// The service, as a client sees it.
struct Api {
    client: Client,
    address: String,
    model: String,
}

impl Api {
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

    fn url(&self, path: &str) -> String {
        format!("{}/v1/models/{}{path}", self.address, self.model)
    }

    /// Creates the model `digits`, or `digits-2` … where that is taken.
    async fn create_model(&mut self) -> Result<(), AppError> {
        let url = format!("{}/v1/models", self.address);
        for number in 1..100 {
            self.model = if number == 1 { "digits".to_owned() } else { format!("digits-{number}") };
            let model = json!({
                "name": self.model,
                "input": {"kind": "tabular", "dim": 64},
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
    async fn send(&self, digits: &[&Digit]) -> Result<(), AppError> {
        for batch in digits.chunks(BATCH) {
            let lines: String = batch
                .iter()
                .map(|digit| format!("{}\n", json!({"input": digit.pixels, "label": digit.label})))
                .collect();
            let request = self
                .client
                .post(self.url("/batches"))
                .header("content-type", "application/x-ndjson")
                .body(lines);
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
    async fn update(&self) -> Result<Value, AppError> {
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

    /// Shows the version that an update made, measured on digits never sent; returns its accuracy.
    async fn examine(&self, update: &Value, unseen: &[&Digit]) -> Result<f64, AppError> {
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
        let mut by_label: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (digit, prediction) in unseen.iter().zip(&predictions) {
            let (right, all) = by_label.entry(&digit.label).or_default();
            *right += usize::from(prediction["label"] == digit.label.as_str());
            *all += 1;
        }
        let right: usize = by_label.values().map(|(right, _)| right).sum();
        let accuracy = right as f64 / unseen.len().max(1) as f64;
        let forgetting = report["evaluation"]["forgetting"].as_f64();
        println!(
            "  version {}: accuracy {accuracy:.3} on {} digits never sent, forgetting {}",
            update["version"],
            unseen.len(),
            forgetting.map_or("–".to_owned(), |forgetting| format!("{forgetting:.3}")),
        );
        let line = |title: &str, cell: &dyn Fn(&str, (usize, usize)) -> String| {
            let cells: String = by_label
                .iter()
                .map(|(label, &counts)| format!("{:>7}", cell(label, counts)))
                .collect();
            println!("    {title:<7}{cells}");
        };
        line("digit", &|label, _| label.to_owned());
        line("right", &|_, (right, all)| format!("{right}/{all}"));
        println!();
        Ok(accuracy)
    }

    async fn predict(&self, digits: &[&Digit]) -> Result<Vec<Value>, AppError> {
        let inputs: Vec<&[f64]> = digits.iter().map(|digit| digit.pixels.as_slice()).collect();
        let request =
            self.client.post(self.url("/predict")).json(&json!({"inputs": inputs, "top_k": 3}));
        let mut answer = self.call(request).await?;
        match answer["predictions"].take() {
            Value::Array(predictions) => Ok(predictions),
            _ => Err(AppError::Settings("the service gave no predictions".to_owned())),
        }
    }

    async fn show_predictions(&self, digits: &[&Digit]) -> Result<(), AppError> {
        println!("── some predictions ──");
        for (digit, prediction) in digits.iter().zip(self.predict(digits).await?) {
            let top: Vec<String> = prediction["top"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|answer| {
                    let probability = answer["probability"].as_f64().unwrap_or(0.0);
                    format!("{} {probability:.3}", answer["label"].as_str().unwrap_or_default())
                })
                .collect();
            println!("  a {}: {}", digit.label, top.join(", "));
        }
        Ok(())
    }
}

/// Three things to try on the model at this address.
fn hints(model: &str) -> String {
    let zero: Vec<&str> = DIGITS.lines().nth(1).unwrap_or_default().split(',').take(64).collect();
    let zero = zero.join(",");
    format!(
        "  curl {model}\n  \
         curl '{model}/versions?limit=2'\n  \
         curl {model}/predict -H 'content-type: application/json' \\\n    \
         -d '{{\"inputs\": [[{zero}]], \"top_k\": 3}}'"
    )
}
