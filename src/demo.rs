//! `perennial demo`: a model learns, lesson after lesson, before one's eyes.
//!
//! The service runs in this process; all that the demonstration does goes over HTTP, as another
//! system would do it. A part of the data is never sent: the accuracy shown is measured on that.

use std::path::PathBuf;
use std::time::Instant;

use crate::app::{self, AppError, Service};
use crate::config::DemoArgs;
use crate::telemetry;

mod client;
mod courses;

use client::Api;
use courses::{Course, Sample};

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

    let course = Course::of(args.model)?;
    println!("Perennial learns {}.\n", course.about);
    println!("Starting the service on a private PostgreSQL …");
    let service = Service::start(&settings, true, true).await?;
    let shown = tokio::select! {
        shown = show(&service, &course, began) => shown.map(Some),
        stopped = app::signal() => stopped.map(|()| None),
    };
    if let (Ok(Some(model)), false) = (&shown, args.once) {
        println!("\nThe service stays up — stop it with Ctrl-C. Try:\n{}", hints(model, &course));
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

/// Streams all lessons and shows what becomes of them; returns the model's address.
async fn show(service: &Service, course: &Course, began: Instant) -> Result<String, AppError> {
    let address = service.address.map_or_else(String::new, |address| format!("http://{address}"));
    println!("Listening on {address}\n");
    let mut api = Api::new(address);
    api.create_model(course).await?;
    let n_lessons = course.lessons.len();
    let mut accuracy = 0.0;
    for (step, lesson) in course.lessons.iter().enumerate() {
        println!("── {} of {n_lessons}: {} arrive ──", step + 1, lesson.title);
        api.send(&lesson.sent).await?;
        let update = api.update().await?;
        let so_far = course.lessons[..=step].iter().flat_map(|lesson| &lesson.unseen);
        accuracy = api.examine(&update, &so_far.collect::<Vec<_>>()).await?;
    }
    let unseen: Vec<&Sample> = course.lessons.iter().flat_map(|lesson| &lesson.unseen).collect();
    let some = unseen.iter().step_by((unseen.len() / 5).max(1)).copied();
    api.show_predictions(&some.take(5).collect::<Vec<_>>()).await?;
    println!(
        "\nAll {n_lessons} lessons in {:.0} s; accuracy {accuracy:.3} on what was never sent.",
        began.elapsed().as_secs_f64()
    );
    let expected = course.expected_accuracy;
    if accuracy < expected {
        let detail = format!("the last version reaches {accuracy:.3}, {expected} was expected");
        return Err(AppError::Settings(detail));
    }
    Ok(api.url(""))
}

/// Three things to try on the model at this address.
fn hints(model: &str, course: &Course) -> String {
    format!(
        "  curl {model}\n  \
         curl '{model}/versions?limit=2'\n  \
         curl {model}/predict -H 'content-type: application/json' \\\n    \
         -d '{}'",
        courses::question(course)
    )
}
