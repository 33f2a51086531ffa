//! What a new model's settings may say, and what a patch does to them.

use serde_json::json;

use super::super::error::Problem;
use super::super::extract::parse_object;
use super::*;

fn new_model(body: Value) -> Result<ModelSettings, (String, String)> {
    let complaint = |problem: Problem| {
        let error = problem.errors()[0].clone();
        (error.pointer, error.detail)
    };
    let new: NewModel = parse_object(body.to_string().as_bytes()).map_err(complaint)?;
    let (_, settings) = new.into_settings(None).map_err(|error| complaint(error.into()))?;
    settings.check().map_err(|error| complaint(error.into()))?;
    Ok(settings)
}

#[test]
fn a_name_and_an_input_are_enough() {
    let input = json!({"kind": "tabular", "dim": 3});
    let least = new_model(json!({"name": "m", "input": input})).unwrap();
    assert_eq!(least.schedule, ScheduleSettings::default());
    let empty = new_model(json!({"name": "m", "task": "classification", "input": input,
        "network": {}, "learning": {}, "selection": {}, "schedule": {}, "gate": {}, "retention": {}}));
    assert_eq!(empty.unwrap(), least);
}

#[test]
fn what_is_wrong_with_a_model_is_pointed_at() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"name": "m", "input": {"kind": "tabular", "dim": 3}});
        body[name] = value;
        new_model(body).unwrap_err().0
    };
    for (name, value, at) in [
        ("name", json!("Upper"), "/name"),
        ("task", json!("regression"), "/task"),
        ("colour", json!(1), "/colour"),
        ("input", json!(null), "/input"),
        ("input", json!([]), "/input"),
        ("base", json!({"model": "m"}), "/base"),
        ("input", json!({"dim": 3}), "/input/kind"),
        ("input", json!({"kind": "audio"}), "/input/kind"),
        ("input", json!({"kind": "text", "buckets": 8}), "/input/buckets"),
        ("input", json!({"kind": "text", "dim": 8}), "/input/dim"),
        ("input", json!({"kind": "text", "stop_words": ["en", "xx"]}), "/input/stop_words/1"),
        ("input", json!({"kind": "text", "stop_words": ["en", "de", "en"]}), "/input/stop_words/2"),
        ("input", json!({"kind": "text", "stop_words": vec!["en"; 65]}), "/input/stop_words"),
        ("learning", json!({"frozen_layers": 3}), "/learning/frozen_layers"),
        ("learning", json!({"augmentation": {"shift": 1}}), "/learning/augmentation"),
        ("learning", json!({"augmentation": {"zoom": 1}}), "/learning/augmentation/zoom"),
        ("network", json!({"kind": "text"}), "/network/kind"),
        ("input", json!({"kind": "image", "width": 28, "height": 28}), "/input"),
        ("input", image(28, 28, 2), "/input/channels"),
        ("input", image(28, 7, 1), "/input/height"),
        ("input", image(257, 28, 1), "/input/width"),
        ("input", image(256, 256, 3), "/input"),
        ("input", json!({"kind": "image", "resize": "zoom"}), "/input/resize"),
        ("input", json!({"kind": "tabular"}), "/input"),
        ("input", json!({"kind": "tabular", "dim": 0}), "/input/dim"),
        ("input", json!({"kind": "tabular", "dim": "3"}), "/input/dim"),
        ("input", json!({"kind": "tabular", "dim": 3, "width": 2}), "/input/width"),
        (
            "input",
            json!({"kind": "tabular", "features": [{"name": "a", "type": "date"}]}),
            "/input/features/0/type",
        ),
        ("network", json!({"kind": "cnn"}), "/network/kind"),
        ("network", json!({"hidden": [0]}), "/network/hidden/0"),
        ("network", json!({"hidden": [8, "x"]}), "/network/hidden/1"),
        ("network", json!({"experts": 4}), "/network/experts"),
        ("network", json!({"kind": "moe", "experts": 1}), "/network/experts"),
        ("network", json!({"kind": "moe", "experts": 3, "top_k": 4}), "/network/top_k"),
        ("network", json!({"kind": "moe", "hidden": [0]}), "/network/hidden/0"),
        ("learning", json!({"epochs": 0}), "/learning/epochs"),
        ("learning", json!({"speed": 1}), "/learning/speed"),
        ("selection", json!({"budget": {"share": 2.0}}), "/selection/budget/share"),
        ("selection", json!({"budget": {"share": "x"}}), "/selection/budget/share"),
        ("schedule", json!({"min_samples": 0}), "/schedule/min_samples"),
        ("gate", json!({"max_drop": 2}), "/gate/max_drop"),
        ("retention", json!({"days": 2}), "/retention/days"),
        ("retention", json!({"versions": 0}), "/retention/versions"),
        ("retention", json!({"max_age_days": 365_001}), "/retention/max_age_days"),
        ("retention", json!({"updates": -1}), "/retention/updates"),
    ] {
        assert_eq!(with(name, value.clone()), at, "{name}: {value}");
    }
}

#[test]
fn the_network_suits_the_input() {
    let text = |network: Value| {
        new_model(json!({"name": "m", "input": {"kind": "text"}, "network": network}))
    };
    let least = new_model(json!({"name": "m", "input": {"kind": "text"}})).unwrap();
    assert_eq!(text(json!({"kind": "text"})).unwrap(), least);
    for (network, pointer, detail) in [
        (json!({"kind": "mlp"}), "/network/kind", "the network of such input is of kind text"),
        (json!({"kind": "text", "embedding": 8}), "/network/embedding", "embedding is 16 to 1024"),
        (
            json!({"kind": "text", "hidden": [0]}),
            "/network/hidden/0",
            "a hidden layer has 1 to 4096 units",
        ),
        (
            json!({"kind": "text", "hidden": [1, 1, 1, 1, 1, 1, 1, 1]}),
            "/network/hidden",
            "give 0 to 7 hidden layers",
        ),
    ] {
        assert_eq!(text(network).unwrap_err(), (pointer.into(), detail.into()));
    }
    assert_eq!(text(json!({})).unwrap(), least);
    let images = |side: usize, network: Value| {
        new_model(json!({"name": "m", "input": image(side, side, 1), "network": network}))
    };
    let channels = |side| images(side, json!({})).unwrap().network.channels().to_vec();
    assert_eq!((channels(8), channels(28)), (vec![16], vec![16, 32]));
    assert_eq!(channels(256), [16, 32, 64, 64, 64]);
    assert!(images(28, json!({"kind": "mlp"})).is_ok());
    for (network, pointer) in [
        (json!({"kind": "text"}), "/network/kind"),
        (json!({"channels": []}), "/network/channels"),
        (json!({"channels": [8, 2]}), "/network/channels/1"),
        (json!({"channels": [8, 8, 8, 8, 8]}), "/network/channels"),
        (json!({"channels": [8], "hidden": []}), "/network/hidden"),
    ] {
        assert_eq!(images(28, network.clone()).unwrap_err().0, pointer, "{network}");
    }
}

fn image(width: usize, height: usize, channels: usize) -> Value {
    json!({"kind": "image", "width": width, "height": height, "channels": channels})
}

fn patched(patch: Value) -> Result<ModelSettings, String> {
    let mut settings = new_model(json!({
        "name": "m", "input": {"kind": "tabular", "dim": 3},
        "learning": {"seed": 7, "epochs": 3}, "schedule": {"min_samples": 9},
        "selection": {"budget": {"share": 0.5}},
    }))
    .unwrap();
    let patch: ModelPatch = parse_object(patch.to_string().as_bytes())
        .map_err(|problem| problem.errors()[0].pointer.clone())?;
    patch.apply(&mut settings).map_err(|error| error.pointer)?;
    Ok(settings)
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let before = patched(json!({})).unwrap();
    assert_eq!(patched(json!({"learning": {}, "gate": {}})).unwrap(), before);
    let after = patched(json!({"learning": {"epochs": 5}, "schedule": {"paused": true}})).unwrap();
    assert_eq!((after.learning.seed, after.learning.epochs), (7, Some(5)));
    assert_eq!((after.schedule.min_samples, after.schedule.paused), (9, true));
    assert_eq!(after.gate, before.gate);
    let after = patched(json!({"selection": {"budget": {"count": 8}}})).unwrap();
    assert_eq!(serde_json::to_value(after.selection.budget).unwrap(), json!({"count": 8}));
}

#[test]
fn null_is_the_default_and_no_limit_in_the_gate() {
    let after = patched(json!({"learning": {"seed": null, "epochs": null}})).unwrap();
    assert_eq!(after.learning, LearningSettings::default());
    let after = patched(json!({"schedule": null, "gate": {"max_drop": null}})).unwrap();
    assert_eq!(after.schedule, ScheduleSettings::default());
    assert_eq!((after.gate.max_drop, after.gate.max_class_drop), (None, Some(0.2)));
}

#[test]
fn a_wrong_patch_is_pointed_at() {
    for (patch, at) in [
        (json!({"learning": {"speed": 1}}), "/learning/speed"),
        (json!({"learning": {"speed": null}}), "/learning/speed"),
        (json!({"learning": {"epochs": "x"}}), "/learning/epochs"),
        (json!({"learning": 1}), "/learning"),
        (json!({"input": {"kind": "tabular", "dim": 4}}), "/input"),
        (json!({"name": "other"}), "/name"),
    ] {
        assert_eq!(patched(patch.clone()).unwrap_err(), at, "{patch}");
    }
}
