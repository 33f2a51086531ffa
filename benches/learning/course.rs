//! One model's way through a scenario: learn, be examined, go on.

use crate::client::{Failure, Learner};
use crate::configurations::Configuration;
use crate::figures::{Measured, Update};
use crate::scenario::{Examined, Scenario};
use crate::support::Api;

/// Takes a new model through `scenario`.
///
/// # Errors
/// [`Failure`] when the settings are refused or the model breaks on the way.
pub async fn run(
    api: &Api,
    configuration: &Configuration,
    scenario: &Scenario,
    seed: u32,
    verbose: bool,
) -> Result<Measured, Failure> {
    let learner = Learner::create(api, configuration, scenario, seed).await?;
    let course = Course { learner: &learner, scenario, verbose };
    let measured = match scenario.examined {
        Examined::BeforeEach => course.examine_before().await,
        Examined::AfterEach | Examined::AfterLast => course.examine_after().await,
    };
    // The first thing that went wrong is the one to hear of.
    let deleted = learner.delete().await;
    let measured = measured?;
    deleted.map(|()| measured)
}

struct Course<'a> {
    learner: &'a Learner<'a>,
    scenario: &'a Scenario,
    verbose: bool,
}

impl Course<'_> {
    /// Updates, then examines on what was learnt so far; after the last update on everything.
    async fn examine_after(&self) -> Result<Measured, Failure> {
        let Scenario { experiences, tests, examined, .. } = self.scenario;
        let last = experiences.len() - 1;
        let mut measured = Measured::default();
        // matrix[j][i]: accuracy on test set i after update j.
        let mut matrix: Vec<Vec<f64>> = Vec::new();
        for (j, bodies) in experiences.iter().enumerate() {
            self.learner.send(bodies).await?;
            measured.updates.push(self.update(j).await?);
            let seen = match (j == last, examined) {
                (true, _) => tests.len(),
                (false, Examined::AfterEach) => j + 1,
                (false, _) => continue,
            };
            let (mut row, mut right, mut all) = (Vec::new(), 0, 0);
            for test in &tests[..seen] {
                let n = self.learner.examine(test).await?;
                row.push(share(n, test.labels.len()));
                right += n;
                all += test.labels.len();
            }
            measured.course.push(share(right, all));
            matrix.push(row);
        }
        measured.accuracy = measured.course.last().copied().unwrap_or_default();
        measured.forgetting = forgetting(&matrix);
        Ok(measured)
    }

    /// Examines on what comes next, then learns it.
    async fn examine_before(&self) -> Result<Measured, Failure> {
        let Scenario { experiences, tests, .. } = self.scenario;
        let mut measured = Measured::default();
        let (mut right, mut all) = (0, 0);
        for (j, bodies) in experiences.iter().enumerate() {
            if j > 0 {
                let n = self.learner.examine(&tests[j]).await?;
                measured.course.push(share(n, tests[j].labels.len()));
                right += n;
                all += tests[j].labels.len();
            }
            self.learner.send(bodies).await?;
            measured.updates.push(self.update(j).await?);
        }
        measured.accuracy = share(right, all);
        Ok(measured)
    }

    async fn update(&self, j: usize) -> Result<Update, Failure> {
        let update = self.learner.update().await?;
        if update.is_rejected() {
            println!("  update {} REJECTED by the gate: {}", j + 1, update.reasons.join("; "));
        }
        if self.verbose {
            println!("  update {}: {}", j + 1, update.summary);
        }
        Ok(update)
    }
}

fn share(n: usize, of: usize) -> f64 {
    n as f64 / of.max(1) as f64
}

/// Mean over the experiences before the last of the best accuracy before the last update less
/// that after it (Chaudhry et al. 2018, "Riemannian walk"); none where there is no such
/// experience.
fn forgetting(matrix: &[Vec<f64>]) -> Option<f64> {
    let (last, before) = matrix.split_last()?;
    let lost: Vec<f64> = (0..before.len())
        .filter_map(|i| {
            let earlier = before.iter().filter_map(|row| row.get(i)).copied();
            Some(earlier.reduce(f64::max)? - last.get(i)?)
        })
        .collect();
    (!lost.is_empty()).then(|| lost.iter().sum::<f64>() / lost.len() as f64)
}
