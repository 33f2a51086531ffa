//! Samples a second that an update trains on, by the update path itself; benches/peers/train.py is the
//! same networks in PyTorch. And how fast texts are read.
//!
//! `make bench ARGS='--bench training'`. A step takes 64 new samples; with replay, 64 old ones beside them.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use perennial::domain::input::{
    ImageSchema, InputSchema, Inputs, Resize, TabularSchema, TextSchema,
};
use perennial::domain::label::Label;
use perennial::domain::sample::{ContentHash, Samples};
use perennial::domain::settings::{LearningSettings, ModelSettings, Strategy};
use perennial::domain::update::Phase;
use perennial::learning::{Event, Lesson, TextReader, update};
use rand::{Rng, SeedableRng};

const SIDE: usize = 28;
const SAMPLES: usize = 8_192;
const LABELS: usize = 10;

fn main() {
    let image = ImageSchema { width: SIDE, height: SIDE, channels: 1, resize: Resize::Stretch };
    let vector = TabularSchema { dim: Some(SIDE * SIDE), features: None };
    let inputs = [
        ("mlp 784-256-256", InputSchema::Tabular(vector)),
        ("cnn 16-32-128", InputSchema::Image(image)),
    ];
    for (name, input) in inputs {
        for n_threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let rate = pool.install(|| rate(&input));
            println!("{name}, minibatch 64, {n_threads} threads: {rate:.0} samples/s");
        }
    }
    read_texts();
}

/// Words and parts of words of short texts, by one thread.
fn read_texts() {
    const PASSES: usize = 10;
    let texts: Vec<&str> = include_str!("../data/questions.csv")
        .lines()
        .filter_map(|row| row.splitn(4, ',').nth(3))
        .collect();
    let n_bytes: usize = texts.iter().map(|text| text.len()).sum();
    let reader = TextReader::new(&TextSchema::default());
    let began = Instant::now();
    for text in texts.repeat(PASSES) {
        std::hint::black_box(reader.buckets(text));
    }
    let rate = (PASSES * n_bytes) as f64 / 1e6 / began.elapsed().as_secs_f64();
    println!("texts, 1 thread: {rate:.1} MB/s read and hashed");
}

/// Samples a second, of a first update of random images.
fn rate(input: &InputSchema) -> f64 {
    let learning = LearningSettings {
        strategy: Strategy::Naive,
        epochs: Some(3),
        early_stopping: false,
        counterfactual: false,
        ..LearningSettings::default()
    };
    let settings = ModelSettings { learning, ..ModelSettings::new(input.clone()) };
    let samples = samples(input);
    let lesson = Lesson::first(&settings, samples, 1);
    let mut began = Instant::now();
    let mut took = Duration::ZERO;
    let observe = &mut |event: Event<'_>| {
        match event {
            Event::Phase(Phase::Train) => began = Instant::now(),
            Event::Epoch(..) => took = began.elapsed(),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let learnt = update(&lesson, observe).unwrap();
    let n_epochs = learnt.report.epochs.len();
    (n_epochs * SAMPLES) as f64 / took.as_secs_f64()
}

fn samples(input: &InputSchema) -> Samples {
    let mut draws = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
    let mut samples = Samples { inputs: Inputs::new(input), ..Samples::default() };
    for index in 0..SAMPLES {
        let pixels: Vec<f32> = (0..SIDE * SIDE).map(|_| f32::from(draws.r#gen::<u8>())).collect();
        let label = Label::parse((index % LABELS).to_string()).unwrap();
        samples.hashes.push(ContentHash::of_input(&pixels, &[]).with_label(&label));
        samples.inputs.push(&pixels, &[]);
        samples.labels.push(label);
        samples.weights.push(1.0);
        samples.arrived.push(index as u64);
    }
    samples
}
