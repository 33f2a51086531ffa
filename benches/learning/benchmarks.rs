//! The benchmarks: what data in which order, what is compared, and what is to be reached.

use std::fmt;

use crate::fashion::Fashion;
use crate::images::{self, LabelOrder, Seen};
use crate::scenario::Scenario;
use crate::{tables, texts};

/// One benchmark.
pub struct Benchmark {
    /// How the command line calls it.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Configurations that it compares.
    pub configurations: &'static [&'static str],
    /// What some of them are to reach.
    pub reach: &'static [(&'static str, Reach)],
    /// The data by a seed, or what is missing.
    pub scenario: fn(&mut Data, u64) -> Result<Scenario, String>,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub enum Reach {
    /// This accuracy, and no more than this forgetting.
    Accuracy {
        /// Least accuracy, %.
        percent: f64,
        /// Most forgetting, %.
        most_forgetting: Option<f64>,
    },
    /// The accuracy of another configuration, but for noise.
    NotBelow(&'static str),
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accuracy { percent, most_forgetting: None } => write!(f, "{percent}"),
            Self::Accuracy { percent, most_forgetting: Some(most) } => {
                write!(f, "{percent}, forgetting ≤ {most}")
            }
            Self::NotBelow(other) => write!(f, "{other}"),
        }
    }
}

const fn accuracy(percent: f64) -> Reach {
    Reach::Accuracy { percent, most_forgetting: None }
}

const ENDS_AND_MEMORIES: &[&str] =
    &["naive", "retrain", "auto", "memory-200", "memory-1000", "memory-2000", "analytic", "moe"];
/// Where what it costs to keep less, and to have experts, is known from `split`.
const ENDS_AND_BETWEEN: &[&str] = &["naive", "retrain", "auto", "memory-1000", "analytic"];
const AS_IMAGES: &[&str] = &["naive", "retrain", "auto", "memory-1000", "analytic", "mlp"];
const NEW_LABELS: &[(&str, Reach)] = &[
    ("auto", accuracy(87.0)),
    ("memory-200", accuracy(78.5)),
    ("memory-1000", Reach::Accuracy { percent: 83.5, most_forgetting: Some(12.0) }),
    ("memory-2000", accuracy(85.0)),
    ("analytic", accuracy(87.0)),
];

/// All benchmarks, in the order they run in.
const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "digits",
        about: "1,797 digits, two labels at a time",
        configurations: &["naive", "retrain", "auto", "memory-200", "analytic", "moe"],
        reach: &[("auto", accuracy(96.5))],
        scenario: |_, seed| Ok(tables::digits(seed)),
    },
    Benchmark {
        name: "split",
        about: "Fashion-MNIST, two labels at a time, in order",
        configurations: ENDS_AND_MEMORIES,
        reach: NEW_LABELS,
        scenario: |data, seed| {
            Ok(images::two_labels_at_a_time(
                data.fashion()?,
                seed,
                LabelOrder::Own,
                Seen::AsVectors,
            ))
        },
    },
    Benchmark {
        name: "labels",
        about: "Fashion-MNIST, two labels at a time, in an order drawn by the seed",
        configurations: ENDS_AND_BETWEEN,
        reach: NEW_LABELS,
        scenario: |data, seed| {
            Ok(images::two_labels_at_a_time(
                data.fashion()?,
                seed,
                LabelOrder::Drawn,
                Seen::AsVectors,
            ))
        },
    },
    Benchmark {
        name: "styles",
        about: "Fashion-MNIST, all labels in one style at a time",
        configurations: ENDS_AND_BETWEEN,
        reach: &[("memory-1000", accuracy(81.0))],
        scenario: |data, seed| Ok(images::styles(data.fashion()?, seed, Seen::AsVectors)),
    },
    Benchmark {
        name: "images",
        about: "Fashion-MNIST as images, two labels at a time, in order",
        configurations: AS_IMAGES,
        reach: &[("auto", Reach::Accuracy { percent: 88.5, most_forgetting: Some(7.0) })],
        scenario: |data, seed| {
            let (order, seen) = (LabelOrder::Own, Seen::AsImages);
            Ok(images::two_labels_at_a_time(data.fashion()?, seed, order, seen))
        },
    },
    Benchmark {
        name: "looks",
        about: "Fashion-MNIST as images, all labels in one style at a time",
        configurations: AS_IMAGES,
        reach: &[("memory-1000", accuracy(81.0))],
        scenario: |data, seed| Ok(images::styles(data.fashion()?, seed, Seen::AsImages)),
    },
    Benchmark {
        name: "joint",
        about: "Fashion-MNIST, ten batches of all labels",
        configurations: ENDS_AND_BETWEEN,
        reach: &[],
        scenario: |data, seed| Ok(images::mixed(data.fashion()?, seed)),
    },
    Benchmark {
        name: "curve",
        about: "Fashion-MNIST, ten batches of all labels, learnt in part: STRATEGY-PERCENT",
        configurations: &[
            "random-100",
            "random-10",
            "balanced-10",
            "uncertain-10",
            "representative-10",
            "diverse-10",
            "random-25",
            "balanced-25",
            "uncertain-25",
            "representative-25",
            "diverse-25",
            "random-50",
            "balanced-50",
            "uncertain-50",
            "representative-50",
            "diverse-50",
        ],
        reach: &[
            ("balanced-10", Reach::NotBelow("random-10")),
            ("balanced-25", Reach::NotBelow("random-25")),
            ("balanced-50", Reach::NotBelow("random-50")),
        ],
        scenario: |data, seed| Ok(images::mixed(data.fashion()?, seed)),
    },
    Benchmark {
        name: "banking",
        about: "Banking77, texts, eleven intents at a time",
        configurations: &["naive", "retrain", "auto", "memory-770", "analytic"],
        reach: &[("auto", accuracy(88.5)), ("memory-770", accuracy(88.5))],
        scenario: |_, _| texts::banking(),
    },
    Benchmark {
        name: "elec",
        about: "Elec2, an update every 500 rows, each asked about before it is posted",
        configurations: &["naive", "auto", "memory-2000", "analytic", "moe"],
        reach: &[("auto", accuracy(78.8))],
        scenario: |_, _| tables::elec(),
    },
    Benchmark {
        name: "table",
        about: "a table of one's own, BENCH_LABELS of its labels at a time in an order drawn by the seed",
        configurations: &["naive", "retrain", "auto", "memory-200", "analytic"],
        reach: &[],
        scenario: |_, seed| tables::own(seed),
    },
];

/// The benchmarks of these names, or all; ends the program on a name that there is not.
pub fn named(names: &[String]) -> Vec<&'static Benchmark> {
    let all: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
    if let Some(unknown) = names.iter().find(|name| !all.contains(&name.as_str())) {
        eprintln!("there is no benchmark {unknown}; there are {}", all.join(", "));
        std::process::exit(2);
    }
    let wanted = |benchmark: &&Benchmark| {
        names.is_empty() || names.iter().any(|name| name == benchmark.name)
    };
    BENCHMARKS.iter().filter(wanted).collect()
}

/// What is read once.
#[derive(Default)]
pub struct Data {
    fashion: Option<Result<Fashion, String>>,
}

impl Data {
    fn fashion(&mut self) -> Result<&Fashion, String> {
        let fashion = self.fashion.get_or_insert_with(Fashion::read);
        fashion.as_ref().map_err(Clone::clone)
    }
}
