//! Samples a second that an update trains on, by the update path itself; benches/peers/train.py is the
//! same networks in PyTorch. How fast texts are read, and points clustered, as the selection does it;
//! benches/peers/cluster.py is scikit-learn on the same points, which BENCH_POINTS=FILE leaves in a file.
//!
//! `make bench-train`, which asks both of these, too, where they are installed. A step takes 64 new samples; with
//! replay, 64 old ones beside them.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mimalloc::MiMalloc;
use perennial::domain::input::{
    ImageSchema, InputSchema, Inputs, Resize, TabularSchema, TextSchema,
};
use perennial::domain::label::Label;
use perennial::domain::sample::{ContentHash, Samples};
use perennial::domain::settings::{LearningSettings, ModelSettings, Strategy};
use perennial::domain::update::Phase;
use perennial::learning::{Event, Lesson, Points, TextReader, cluster, update};
use rand::{Rng, SeedableRng};

/// The service's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    cluster_points();
}

/// Points of one label in a hidden space, about as many middles as there are clusters to be found.
fn cluster_points() {
    const POINTS: usize = 8_192;
    const MIDDLES: usize = 64;
    const DIMENSIONS: usize = 64;
    let mut draws = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(2);
    let mut draw = |n: usize, scale: f32| -> Vec<f32> {
        // About normal: a sum of twelve has the variance 1.
        let mut one = || (0..12).map(|_| draws.gen_range(-0.5..0.5)).sum::<f32>() * scale;
        (0..n).map(|_| one()).collect()
    };
    let middles = draw(MIDDLES * DIMENSIONS, 1.0);
    let mut numbers = draw(POINTS * DIMENSIONS, 1.0);
    for (point, middle) in
        numbers.chunks_exact_mut(DIMENSIONS).zip(middles.chunks_exact(DIMENSIONS).cycle())
    {
        point.iter_mut().zip(middle).for_each(|(number, middle)| *number += middle);
    }
    if let Ok(file) = std::env::var("BENCH_POINTS") {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        std::fs::write(file, bytes).unwrap();
    }
    let points = Points { dimensions: DIMENSIONS, numbers };
    let rows: Vec<usize> = (0..POINTS).collect();
    for seed in 0..3 {
        let draws = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
        let began = Instant::now();
        let (members, n_clusters) = cluster(&points, &rows, &draws);
        let took = began.elapsed();
        let inertia: f64 = members.iter().map(|member| f64::from(member.distance).powi(2)).sum();
        println!(
            "{POINTS} points of {DIMENSIONS} numbers: {n_clusters} clusters in {:.1} ms, inertia {inertia:.0}",
            took.as_secs_f64() * 1e3
        );
    }
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
