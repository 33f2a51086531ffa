//! What the demonstrations teach: real data that the program carries, in lessons.

use std::fmt::Display;
use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{ExtendedColorType, ImageEncoder};
use serde_json::{Value, json};

use crate::app::AppError;
use crate::config::DemoModel;

/// The 1,797 digits of the UCI archive that scikit-learn bundles; see data/README.md.
const DIGITS: &str = include_str!("../../data/digits.csv");
/// 2,000 questions to a bank, of Banking77; see data/README.md.
const QUESTIONS: &str = include_str!("../../data/questions.csv");
/// Points of a digit's side.
const SIDE: usize = 8;
/// Pixels of a point's side, where a digit is a picture.
const POINT: usize = 4;

/// One sample.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Its input, as JSON.
    pub(super) input: Value,
    /// What it is.
    pub(super) label: String,
    /// What it is counted under.
    pub(super) group: String,
    /// How it is called.
    pub(super) shown: String,
}

/// What is learnt in one update.
#[derive(Debug, Default)]
pub(super) struct Lesson {
    /// What arrives.
    pub(super) title: String,
    /// What is sent.
    pub(super) sent: Vec<Sample>,
    /// What is never sent, and asked about from then on.
    pub(super) unseen: Vec<Sample>,
}

/// A model, and what it learns.
#[derive(Debug)]
pub(super) struct Course {
    /// The model's name.
    pub(super) name: &'static str,
    /// What it is about.
    pub(super) about: &'static str,
    /// What one input looks like.
    pub(super) input: Value,
    /// One after another.
    pub(super) lessons: Vec<Lesson>,
    /// What the last version must reach on what was never sent.
    pub(super) expected_accuracy: f64,
}

impl Course {
    /// That of `kind`.
    ///
    /// # Errors
    /// When the data that the program carries is damaged.
    pub(super) fn of(kind: DemoModel) -> Result<Self, AppError> {
        match kind {
            DemoModel::Tabular => tabular(),
            DemoModel::Text => text(),
            DemoModel::Images => images(),
        }
    }
}

/// One digit: 64 points from 0 to 16, and which digit it is.
struct Digit {
    points: Vec<u8>,
    label: String,
}

fn broken(file: &str) -> impl Fn(&dyn Display) -> AppError {
    move |error| AppError::Settings(format!("data/{file}: {error}"))
}

/// Every fifth is never sent.
fn digits() -> Result<(Vec<Digit>, Vec<Digit>), AppError> {
    let broken = broken("digits.csv");
    let (mut sent, mut unseen) = (Vec::new(), Vec::new());
    for (index, row) in csv::Reader::from_reader(DIGITS.as_bytes()).records().enumerate() {
        let row = row.map_err(|error| broken(&error))?;
        let label = row.get(SIDE * SIDE).unwrap_or_default().to_owned();
        let points = row.iter().take(SIDE * SIDE).map(str::parse).collect::<Result<_, _>>();
        let digit = Digit { points: points.map_err(|error| broken(&error))?, label };
        if index % 5 == 4 { &mut unseen } else { &mut sent }.push(digit);
    }
    Ok((sent, unseen))
}

fn tabular() -> Result<Course, AppError> {
    let (sent, unseen) = digits()?;
    let lesson = |pair: [&str; 2]| {
        let of_pair = |digits: &[Digit]| -> Vec<Sample> {
            let of_pair = digits.iter().filter(|digit| pair.contains(&digit.label.as_str()));
            of_pair
                .map(|digit| Sample {
                    input: json!(digit.points),
                    label: digit.label.clone(),
                    group: digit.label.clone(),
                    shown: format!("a {}", digit.label),
                })
                .collect()
        };
        let title = format!("digits {} and {}", pair[0], pair[1]);
        Lesson { title, sent: of_pair(&sent), unseen: of_pair(&unseen) }
    };
    Ok(Course {
        name: "digits",
        about: "1,797 handwritten digits, two new ones at a time",
        input: json!({"kind": "tabular", "dim": SIDE * SIDE}),
        lessons: [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]].map(lesson).into(),
        expected_accuracy: 0.95,
    })
}

fn text() -> Result<Course, AppError> {
    let broken = broken("questions.csv");
    let mut lessons: Vec<Lesson> = Vec::new();
    for row in csv::Reader::from_reader(QUESTIONS.as_bytes()).records() {
        let row = row.map_err(|error| broken(&error))?;
        let [theme, part, label, text] = [0, 1, 2, 3].map(|column| row.get(column).unwrap_or(""));
        let title = format!("questions about {theme}");
        if lessons.last().is_none_or(|lesson| lesson.title != title) {
            lessons.push(Lesson { title, ..Lesson::default() });
        }
        let sample = Sample {
            input: json!(text),
            label: label.to_owned(),
            group: theme.to_owned(),
            shown: format!("“{text}”"),
        };
        if let Some(lesson) = lessons.last_mut() {
            if part == "learn" { &mut lesson.sent } else { &mut lesson.unseen }.push(sample);
        }
    }
    Ok(Course {
        name: "questions",
        about: "2,000 questions to a bank, five new intents at a time",
        input: json!({"kind": "text"}),
        lessons,
        expected_accuracy: 0.85,
    })
}

/// What a picture of a point of so much ink, of 0 to 16, at (x, y) is made of: where it is taken from,
/// and how bright it is.
type Style = (&'static str, fn(usize, usize) -> usize, fn(u8) -> u8);

const STYLES: [Style; 3] = [
    ("chalk", |x, y| y * SIDE + x, |ink| ink * 15),
    ("ink", |x, y| y * SIDE + x, |ink| 250 - ink * 12),
    ("sideways", |x, y| x * SIDE + SIDE - 1 - y, |ink| ink * 15),
];

fn images() -> Result<Course, AppError> {
    let (sent, unseen) = digits()?;
    let mut lessons = Vec::new();
    for (style, (name, ..)) in STYLES.iter().enumerate() {
        // No digit comes in two styles.
        let in_style = |digits: &[Digit]| -> Result<Vec<Sample>, AppError> {
            let own = digits.iter().skip(style).step_by(STYLES.len());
            own.map(|digit| {
                let picture = BASE64_STANDARD.encode(picture(&digit.points, style)?);
                Ok(Sample {
                    input: json!(picture),
                    label: digit.label.clone(),
                    group: (*name).to_owned(),
                    shown: format!("a {} in {name}", digit.label),
                })
            })
            .collect()
        };
        let title = format!("digits in {name}");
        lessons.push(Lesson { title, sent: in_style(&sent)?, unseen: in_style(&unseen)? });
    }
    Ok(Course {
        name: "pictures",
        about: "1,797 pictures of digits, in one style after another",
        input: json!({"kind": "image", "width": 16, "height": 16, "channels": 1}),
        lessons,
        expected_accuracy: 0.9,
    })
}

/// A digit as a PNG file.
fn picture(points: &[u8], style: usize) -> Result<Vec<u8>, AppError> {
    let (_, place, brightness) = STYLES[style];
    let side = SIDE * POINT;
    let pixel =
        |index: usize| brightness(points[place(index % side / POINT, index / side / POINT)]);
    let pixels: Vec<u8> = (0..side * side).map(pixel).collect();
    let mut file = Cursor::new(Vec::new());
    image::codecs::png::PngEncoder::new(&mut file)
        .write_image(&pixels, side as u32, side as u32, ExtendedColorType::L8)
        .map_err(|error| AppError::Settings(format!("a picture cannot be written: {error}")))?;
    Ok(file.into_inner())
}

/// A body to send to `…/predict`, between the quotes of a shell.
pub(super) fn question(course: &Course) -> String {
    let first = course.lessons.first().and_then(|lesson| lesson.unseen.first());
    let input = first.map_or(Value::Null, |sample| sample.input.clone());
    json!({"inputs": [input], "top_k": 3}).to_string().replace('\'', "’")
}
