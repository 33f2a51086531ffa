//! Texts: labels that come later, what naive fine-tuning forgets, and sums that keep all.

use std::collections::HashMap;
use std::ops::ControlFlow;

use perennial::domain::input::{InputSchema, Inputs, TextSchema};
use perennial::domain::sample::Samples;
use perennial::domain::settings::{ModelSettings, NetworkSettings, Strategy, TextNetworkSettings};
use perennial::domain::text;
use perennial::learning::{
    Device, LearnerState, LearningError, Predictor, checkpoint, plan, update,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::life::{
    Life, answers, by_label, bytes_of, hex, learnt_without_judges, plain, push, with_strategy,
};

/// Six topics, of whose words each half is another's too.
const TOPICS: [&str; 6] = ["sport", "money", "space", "cooking", "music", "travel"];

fn texts(topics: &[usize], n: usize, seed: u64) -> Samples {
    let mut draws = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut samples = Samples { inputs: Inputs::with_shape(0, 1), ..Samples::default() };
    for index in 0..n * topics.len() {
        let topic = topics[index % topics.len()];
        let mut words: Vec<String> = (0..4)
            .map(|_| draws.gen_range(0..20))
            .map(|word| {
                // Half of a topic's words are those of the next.
                format!(
                    "{}{}",
                    ["ba", "de", "fi", "go", "lu", "my", "ra"][topic + word % 2],
                    word * 37
                )
            })
            .collect();
        words.push(format!("the number {}", draws.gen_range(0..10_000)));
        words.shuffle(&mut draws);
        let text = [Some(text::clean(&words.join(" ")).unwrap())];
        push(&mut samples, &[], &text, TOPICS[topic]);
    }
    samples
}

fn reader(strategy: Strategy) -> ModelSettings {
    let text = TextNetworkSettings { embedding: 32, hidden: vec![] };
    let settings = ModelSettings {
        input: InputSchema::Text(TextSchema { buckets: 1 << 10, ..TextSchema::default() }),
        network: NetworkSettings::Text(text),
        ..plain(1, &[1])
    };
    settings.check().unwrap();
    with_strategy(settings, strategy)
}

fn lived(settings: ModelSettings, orders: &[[usize; 2]]) -> Life {
    let mut life = Life::new(settings);
    for (seed, topics) in orders.iter().enumerate() {
        life.learn(&texts(topics, 150, seed as u64));
    }
    life
}

const IN_ORDER: [[usize; 2]; 3] = [[0, 1], [2, 3], [4, 5]];

#[test]
fn what_replays_or_keeps_sums_remembers_texts_and_what_does_not_forgets() {
    let unseen = texts(&[0, 1, 2, 3, 4, 5], 50, 99);
    let accuracy = |strategy, memory| {
        let mut settings = reader(strategy);
        settings.learning.memory = memory;
        lived(settings, &IN_ORDER).accuracy(&unseen)
    };
    let naive = accuracy(Strategy::Naive, None);
    assert!(naive < 0.5, "naive keeps {naive}: the rest proves nothing");
    for (strategy, memory) in
        [(Strategy::Auto, None), (Strategy::Auto, Some(30)), (Strategy::Analytic, None)]
    {
        let accuracy = accuracy(strategy, memory);
        assert!(accuracy > 0.9, "{strategy:?} {memory:?}: {accuracy}");
    }
}

#[test]
fn a_reader_of_texts_is_the_same_after_it_was_stored_and_on_either_device() {
    let unseen = texts(&[0, 1, 2, 3], 20, 99);
    let life = lived(reader(Strategy::Auto), &IN_ORDER[..2]);
    let state = life.state.as_ref().unwrap();
    let bytes = checkpoint::encode(state);
    let stored = checkpoint::decode(&bytes).unwrap();
    assert_eq!(checkpoint::encode(&stored), bytes);
    let answers = |state: &LearnerState, device| {
        Predictor::new(state, device).predict(&unseen.inputs).unwrap()
    };
    let (one, other) = (answers(&stored, Device::Flex), answers(state, Device::NdArray));
    assert!(one.iter().zip(&other).all(|(one, other)| (one - other).abs() < 1e-4));
    let lesson = life.lesson(&unseen);
    assert_eq!(bytes_of(&lesson), bytes_of(&lesson));
}

#[test]
fn the_closed_form_of_texts_knows_no_order_and_forgets_what_is_taken_out() {
    let settings = reader(Strategy::Analytic);
    let learnt = |sets: &[&Samples]| learnt_without_judges(&settings, sets);
    let [one, two, mut more] = [(&[0, 1], 1), (&[2, 3], 2), (&[0, 3], 3)]
        .map(|(topics, seed): (&[usize; 2], u64)| texts(topics, 150, seed));
    // Each has the label of another, so that it matters whether they were learnt.
    more.labels.rotate_left(1);
    let all = learnt(&[&one, &two, &more]);
    let unseen = texts(&[0, 1, 2, 3], 20, 99).inputs;
    let is_near = |a: &LearnerState, b: &LearnerState| {
        let (a, b) = (by_label(a, &unseen), by_label(b, &unseen));
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4)
    };
    assert!(is_near(&all, &learnt(&[&two, &more, &one])));
    let without = learnt(&[&one, &two]);
    assert!(is_near(&all.without(&more), &without));
    assert!(!is_near(&all, &without), "it had learnt it");
}

#[test]
fn a_version_says_how_texts_are_read_and_no_other_way_is_taken() {
    let mut settings = reader(Strategy::Analytic);
    let InputSchema::Text(text) = &mut settings.input else { panic!("texts are read") };
    (text.idf, text.stop_words) = (true, vec!["de".to_owned(), "en".to_owned()]);
    let state = learnt_without_judges(&settings, &[&texts(&[0, 1], 20, 1)]);
    let file = checkpoint::encode(&state);
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let manifest = &header.metadata().as_ref().unwrap()["manifest"];
    let manifest: Value = serde_json::from_str(manifest).unwrap();
    let stages = json!([
        "nfkc",
        "lower",
        "without de en",
        "words 1-2",
        "characters 3-5",
        "hash 1024",
        "log(1+n)",
        "length 1",
        "idf"
    ]);
    assert_eq!(manifest["stages"], stages);

    let with = |stages: Option<Value>| {
        let mut manifest = manifest.clone();
        match stages {
            Some(stages) => manifest["stages"] = stages,
            None => drop(manifest.as_object_mut().unwrap().remove("stages")),
        }
        let metadata = HashMap::from([("manifest".to_owned(), manifest.to_string())]);
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let file = safetensors::serialize(tensors.tensors(), Some(metadata)).unwrap();
        checkpoint::decode(&file).map(|state| checkpoint::encode(&state))
    };
    assert_eq!(with(Some(stages.clone())).unwrap(), file);
    assert_eq!(with(None).unwrap(), file, "as files were before");
    let mut others = stages;
    others.as_array_mut().unwrap().swap(1, 2);
    assert!(with(Some(others)).is_err(), "another order");
    assert!(with(Some(json!(["nfkc", "lower", "words 1-1"]))).is_err());
}

#[test]
fn the_closed_form_of_texts_reads_nothing_that_moves() {
    let settings = reader(Strategy::Analytic);
    let mut weighing = settings.clone();
    let InputSchema::Text(text) = &mut weighing.input else { panic!("texts are read") };
    text.idf = true;
    let sets = [texts(&[0, 1], 150, 1), texts(&[2, 3], 150, 2)];
    let unseen = texts(&[0, 1, 2, 3], 20, 99).inputs;
    let [plain, weighing] = [settings, weighing].map(|settings| {
        by_label(&learnt_without_judges(&settings, &[&sets[0], &sets[1]]), &unseen)
    });
    assert_eq!(plain, weighing);
}

#[test]
fn texts_are_read_by_the_tables_and_lists_that_versions_were_taught_with() {
    // Where one of these becomes another, older versions would see something else without anybody's
    // noticing: then what is done to texts gets another name in `stages`, which tells them apart.
    assert_eq!(unicode_normalization::UNICODE_VERSION, (18, 0, 0));
    assert_eq!(unicode_segmentation::UNICODE_VERSION, (17, 0, 0));
    let mut words = Sha256::new();
    for language in stop_words::available_languages() {
        for word in stop_words::lookup(language).unwrap() {
            words.update(format!("{word}\n"));
        }
    }
    let expected = "116f737732e421cc8cab9336539a3981dafc869362555b1ae1a1361626f76496";
    assert_eq!(hex(&words.finalize()), expected);
}

#[test]
fn a_text_of_each_label_or_one_alone_is_enough_for_the_closed_form() {
    let settings = reader(Strategy::Analytic);
    let (two, more) = (texts(&[0, 1], 1, 1), texts(&[2, 3], 1, 2));
    let one = two.select(&[0]);
    for first in [&one, &two] {
        let state = learnt_without_judges(&settings, &[first]);
        let stored = checkpoint::decode(&checkpoint::encode(&state)).unwrap();
        assert_eq!(answers(&Predictor::new(&stored, Device::Flex), &first.inputs), first.labels);
        // Labels that come later make the solution wider.
        let state = learnt_without_judges(&settings, &[first, &more]);
        let stored = checkpoint::decode(&checkpoint::encode(&state)).unwrap();
        let mut all = (*first).clone();
        (0..more.len()).for_each(|index| all.push_from(&more, index));
        assert_eq!(answers(&Predictor::new(&stored, Device::Flex), &all.inputs), all.labels);
    }
    // Nor does it matter whether anything is left.
    let state = learnt_without_judges(&settings, &[&two]).without(&two);
    let stored = checkpoint::decode(&checkpoint::encode(&state)).unwrap();
    let said = Predictor::new(&stored, Device::Flex).predict(&two.inputs).unwrap();
    assert_eq!(said, [0.5; 4]);
}

#[test]
fn buckets_that_few_texts_have_count_more_and_older_weights_read_the_same() {
    let mut settings = reader(Strategy::Replay);
    let InputSchema::Text(text) = &mut settings.input else { panic!("texts are read") };
    (text.idf, text.stop_words) = (true, vec!["en".to_owned()]);
    settings.check().unwrap();
    let life = lived(settings.clone(), &IN_ORDER);
    assert!(life.accuracy(&texts(&[0, 1, 2, 3, 4, 5], 50, 99)) > 0.9);
    let state = life.state.as_ref().unwrap();
    assert_eq!(&checkpoint::decode(&checkpoint::encode(state)).unwrap(), state);

    // A rate so small that training changes nothing: all else of an update remains.
    let old = texts(&[0, 1], 50, 99);
    let mut life = Life::new(settings);
    let learnt = |life: &Life, samples: &Samples| {
        let mut lesson = life.lesson(samples);
        // No temperature is fitted, which would differ between the two.
        lesson.held_out.clear();
        update(&lesson, &mut |_| ControlFlow::Continue(())).unwrap().state
    };
    life.state = learnt(&life, &texts(&[0, 1], 150, 1));
    let before = life.predictor().predict(&old.inputs).unwrap();
    life.settings.learning.learning_rate = Some(1e-12);
    life.state = learnt(&life, &texts(&[2, 3], 150, 2));
    let after = life.predictor().predict(&old.inputs).unwrap();
    for (before, after) in before.chunks_exact(2).zip(after.chunks_exact(4)) {
        let of_old: f32 = after[..2].iter().sum();
        for (before, after) in before.iter().zip(after) {
            assert!((before - after / of_old).abs() < 1e-5, "{before} {}", after / of_old);
        }
    }
}

#[test]
fn an_update_of_long_texts_takes_what_they_do() {
    let life = Life::new(reader(Strategy::Auto));
    let planned = |n_words: usize| {
        let mut samples = Samples { inputs: Inputs::with_shape(0, 1), ..Samples::default() };
        for index in 0..40 {
            let text = text::clean(&format!("{index} {}", "word ".repeat(n_words))).unwrap();
            push(&mut samples, &[], &[Some(text)], TOPICS[index % 2]);
        }
        let mut lesson = life.lesson(&samples);
        lesson.most_bytes = 6 << 20;
        plan(&lesson).map(drop)
    };
    planned(100).unwrap();
    // 2.5 MB, which are held twice.
    assert!(matches!(planned(12_800), Err(LearningError::TooLarge { .. })));
}
