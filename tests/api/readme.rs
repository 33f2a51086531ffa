//! What the README says to type, typed: its commands as they stand there, by curl, against a service. Rows, texts
//! and images are learnt side by side.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, StringArray};
use image::ImageFormat;
use serde_json::Value;

use crate::arrow::{batch, stream_of};
use crate::images::{file, png, stripes, zip};
use crate::support::{TestService, readable_dir};

const README: &str = include_str!("../../README.md");

/// The commands of the section "Use it", each as it is written.
fn commands() -> Vec<String> {
    let (_, rest) = README.split_once("\n## Use it\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let mut commands: Vec<String> = Vec::new();
    let mut is_quoted = false;
    for line in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        let goes_on = |command: &&mut String| is_quoted || command.ends_with('\\');
        match commands.last_mut().filter(goes_on) {
            Some(command) => command.push_str(&format!("\n{line}")),
            None => commands.push(line.to_owned()),
        }
        is_quoted ^= line.matches('\'').count() % 2 == 1;
    }
    commands
}

/// The files that these send.
fn write_files(dir: &Path) {
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(dir.join(name), bytes).unwrap();
    write("tom.jpg", file(&stripes("across", 1), ImageFormat::Jpeg));
    write("kitty.png", png("across", 2));
    write("rex.webp", file(&stripes("down", 3), ImageFormat::WebP));
    write("who.jpg", file(&stripes("down", 4), ImageFormat::Jpeg));
    write("pets.zip", zip(&[("cat/5.png", &png("across", 5)), ("dog/6.png", &png("down", 6))]));
    let visits: ArrayRef = Arc::new(Float64Array::from(vec![3.0, 30.0]));
    let plan: ArrayRef = Arc::new(StringArray::from(vec!["free", "pro"]));
    write("customers.arrows", stream_of(&[batch(&[("visits", visits), ("plan", plan)])]));
    write("customers.ndjson", b"{\"input\": {\"visits\": 3, \"plan\": \"free\"}}\n".to_vec());
}

/// Runs a command that begins with curl; a refusal fails it.
fn run(command: &str, dir: &Path) -> Output {
    let script = format!(
        "curl() {{ command curl -sS --noproxy '*' --fail-with-body --max-time 60 \"$@\"; }}\n\
         json='content-type: application/json'\n{command}"
    );
    Command::new("sh").args(["-c", &script]).current_dir(dir).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_says_to_type_does_what_it_says() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("SKIPPED: there is no curl");
        return;
    }
    let dir = readable_dir();
    write_files(dir.path());
    let service = TestService::start().await;
    let api = &service.api;
    let host = api.address.trim_start_matches("http://");
    let mut prediction = String::new();
    let mut models = Vec::new();
    for written in commands() {
        // A canary is a second version, which no command makes.
        if !written.starts_with("curl ") || written.contains("canary") {
            continue;
        }
        let is_followed = written.starts_with("curl -N ");
        let command = written
            .replace("localhost:8080", host)
            .replace("\"ID\"", &format!("\"{prediction}\""))
            .replace("curl -N ", "curl -N --max-time 2 ");
        let output = tokio::task::block_in_place(|| run(&command, dir.path()));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if is_followed {
            assert!(said.contains("event: end"), "{written}: {said}");
            continue;
        }
        assert!(output.status.success(), "{written}: {said}");
        let answer: Value = serde_json::from_str(&said).unwrap_or_default();
        if let Some(update) = answer["update"]["id"].as_str() {
            assert_eq!(api.wait(update).await["status"], "succeeded", "{written}");
        }
        if written.contains("/feedback ") {
            assert_eq!(answer["accepted"], 1, "{written}: {said}");
        }
        if let Some(id) = answer["predictions"][0]["id"].as_str() {
            prediction = id.to_owned();
        }
        if written.contains("/predict") && !answer["predictions"][0]["label"].is_null() {
            models.push(answer["model"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(models, ["churn", "news", "pets", "churn"]);
    service.stop().await;
}
