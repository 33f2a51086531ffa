//! Runs in a file, a line of JSON each: a benchmark of hours goes on where it was left, and what several processes
//! measured side by side comes together.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::benchmarks::Benchmark;
use crate::configurations::Configuration;
use crate::figures::Measured;

/// The runs of a file; none without one.
pub struct Runs {
    file: Option<PathBuf>,
    runs: Vec<Run>,
}

#[derive(Serialize, Deserialize)]
struct Run {
    benchmark: String,
    configuration: String,
    /// A configuration whose settings have changed is another.
    settings: Value,
    seed: u32,
    measured: Measured,
}

impl Runs {
    /// Reads `file`, where there is one yet.
    pub fn read(file: Option<PathBuf>) -> Self {
        let lines = file.as_ref().filter(|file| file.exists());
        let lines = lines.map(|file| std::fs::read_to_string(file).unwrap()).unwrap_or_default();
        let runs = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { file, runs }
    }

    /// What a run showed that was made before.
    pub fn find(
        &self,
        benchmark: &Benchmark,
        configuration: &Configuration,
        seed: u32,
    ) -> Option<Measured> {
        let same = |run: &&Run| {
            run.benchmark == benchmark.name
                && run.configuration == configuration.name
                && run.settings == configuration.settings
                && run.seed == seed
        };
        self.runs.iter().find(same).map(|run| run.measured.clone())
    }

    /// Adds a run to the file.
    pub fn add(
        &self,
        benchmark: &Benchmark,
        configuration: &Configuration,
        seed: u32,
        measured: &Measured,
    ) {
        let Some(file) = &self.file else { return };
        let run = Run {
            benchmark: benchmark.name.to_owned(),
            configuration: configuration.name.clone(),
            settings: configuration.settings.clone(),
            seed,
            measured: measured.clone(),
        };
        let line = serde_json::to_string(&run).unwrap() + "\n";
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
