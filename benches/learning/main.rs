//! What updates learn and what they forget, measured on real data through the service itself.
//!
//! Every figure comes from outside: batches are posted, updates asked for and test samples, which
//! the service never sees with their labels, answered by the live version, all over HTTP. Only the
//! seconds are the service's own, from the report of each update.
//!
//! `make bench-learning`, or `cargo bench --bench learning -- split --seeds 1 --only auto,naive`;
//! `-- --help` lists the rest, docs/learning.md says what the benchmarks are. Needs PostgreSQL's
//! programs, as the tests do.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

mod arguments;
mod benchmarks;
mod client;
mod configurations;
mod course;
mod fashion;
mod figures;
mod images;
mod page;
mod runs;
mod scenario;
mod styles;
mod table;
mod tables;
mod texts;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use arguments::Arguments;
use benchmarks::{Benchmark, Data};
use clap::Parser;
use configurations::Configuration;
use figures::{Measured, Row};
use runs::Runs;
use support::{Api, TestService};

fn main() {
    let arguments = Arguments::parse();
    let benchmarks = benchmarks::named(&arguments.benchmarks);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let service = TestService::start().await;
        let mut data = Data::default();
        let runs = Runs::read(arguments.runs.clone());
        for benchmark in benchmarks {
            measure(&service.api, &arguments, benchmark, &mut data, &runs).await;
        }
        service.stop().await;
    });
}

/// Runs one benchmark with each of its configurations, and shows what came out.
async fn measure(
    api: &Api,
    arguments: &Arguments,
    benchmark: &Benchmark,
    data: &mut Data,
    runs: &Runs,
) {
    println!("\n── {}: {} ──", benchmark.name, benchmark.about);
    let configurations = arguments.configurations(benchmark);
    let mut rows: Vec<Row> = configurations.iter().map(|it| Row::new(&it.name)).collect();
    for seed in arguments.seeds() {
        let scenario = match (benchmark.scenario)(data, seed.into()) {
            Ok(scenario) => scenario,
            Err(missing) => return println!("{}: skipped: {missing}", benchmark.name),
        };
        for (configuration, row) in configurations.iter().zip(&mut rows) {
            if row.failure.is_some() {
                continue;
            }
            if let Some(measured) = runs.find(benchmark, configuration, seed) {
                row.runs.push(measured);
                continue;
            }
            let began = Instant::now();
            let measured =
                course::run(api, configuration, &scenario, seed, arguments.verbose).await;
            match measured {
                Ok(measured) => {
                    let seconds = began.elapsed().as_secs_f64();
                    println!("{}", line(benchmark, configuration, seed, &measured, seconds));
                    runs.add(benchmark, configuration, seed, &measured);
                    row.runs.push(measured);
                }
                Err(failure) => {
                    println!("{} {}: {failure}", benchmark.name, configuration.name);
                    row.failure = Some(failure);
                }
            }
        }
    }
    let lines = figures::judge(benchmark, &rows);
    println!("\n{}", table::aligned(&lines));
    if let Some(file) = &arguments.write {
        let written = page::write(file, benchmark, &lines, &arguments.date(), arguments.seeds());
        println!("{}: {written}", file.display());
    }
}

/// What one run showed, in a line.
fn line(
    benchmark: &Benchmark,
    configuration: &Configuration,
    seed: u32,
    measured: &Measured,
    seconds: f64,
) -> String {
    let course: Vec<String> =
        measured.course.iter().map(|accuracy| format!("{:.1}", 100.0 * accuracy)).collect();
    let course = match course.len() {
        ..=10 => course.join(" "),
        _ => format!("{:.2}", 100.0 * measured.accuracy),
    };
    let forgetting =
        measured.forgetting.map_or("–".to_owned(), |share| format!("{:.1}", 100.0 * share));
    let rejected = match measured.rejected() {
        0 => String::new(),
        n => format!(", {n} REJECTED"),
    };
    format!(
        "{} {} seed {seed}: {course} | forgetting {forgetting} | {} updates{rejected} in {:.1} s, \
         {:.1} s of it training | {:.1} s besides",
        benchmark.name,
        configuration.name,
        measured.updates.len(),
        measured.seconds(),
        measured.training_seconds(),
        seconds - measured.seconds(),
    )
}
