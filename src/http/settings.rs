//! How a client sets a model up and changes it: the settings of a new model, and their patches.
//!
//! Both are read so that a complaint points at the very field that is wrong.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::extract::parse_part;
use crate::domain::Invalid;
use crate::domain::input::InputSchema;
use crate::domain::name::ModelName;
use crate::domain::settings::{
    GateSettings, LearningSettings, ModelSettings, NetworkSettings, RetentionSettings,
    ScheduleSettings, SelectionSettings,
};
use crate::services::import::{Base, Head};

mod views;

pub use views::{InputView, NetworkView};

/// What a model learns to do.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// To name an input's label.
    #[default]
    Classification,
}

/// A model to be made: everything but `name` and `input` has a default that works well.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "digits", "input": {"kind": "tabular", "dim": 64}}))]
pub struct NewModel {
    /// The model's name.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: ModelName,
    /// What it learns to do.
    #[serde(default)]
    task: Task,
    /// What one input looks like. May be left out where there is a `base`, whose it is then.
    #[schema(value_type = Option<InputView>)]
    input: Option<Value>,
    /// The network's shape.
    #[schema(value_type = Option<NetworkView>)]
    network: Option<Value>,
    /// How an update trains.
    learning: Option<LearningSettings>,
    /// Which samples of an update are worth training on.
    selection: Option<SelectionSettings>,
    /// When an update is queued by itself.
    schedule: Option<ScheduleSettings>,
    /// What a version must show to be published.
    gate: Option<GateSettings>,
    /// What is kept.
    retention: Option<RetentionSettings>,
    /// Another model's version that this one goes on from.
    base: Option<BaseVersion>,
}

/// A version of another model.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseVersion {
    /// The model's name.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    model: ModelName,
    /// The version's number.
    #[schema(minimum = 1)]
    version: i32,
    /// What becomes of its labels.
    #[serde(default)]
    #[schema(inline)]
    head: BaseHead,
}

/// What becomes of the labels of a base.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum BaseHead {
    /// They are the model's first: the base is its version 1.
    #[default]
    Grow,
    /// They are left out: the first update begins with the base's other layers.
    Replace,
}

impl NewModel {
    /// What it is to begin with, if it is.
    pub fn base(&self) -> Option<Base> {
        let base = self.base.as_ref()?;
        let head = match base.head {
            BaseHead::Grow => Head::Grow,
            BaseHead::Replace => Head::Replace,
        };
        Some(Base { model: base.model.clone(), version: base.version, head })
    }

    /// The name, and the settings with their defaults filled in; `base` is what those of the base are.
    ///
    /// # Errors
    /// [`Invalid`] with the pointer of what is wrong.
    pub fn into_settings(
        self,
        base: Option<&ModelSettings>,
    ) -> Result<(ModelName, ModelSettings), Invalid> {
        let Task::Classification = self.task;
        let input = match (self.input, base) {
            (Some(input), _) => {
                parse_input_schema(input).map_err(|error| error.within("/input"))?
            }
            (None, Some(base)) => base.input.clone(),
            (None, None) => return Err(Invalid::at("/input", "say what one input looks like")),
        };
        let network = match (self.network, base) {
            (Some(network), _) => {
                parse_network(network, &input).map_err(|error| error.within("/network"))?
            }
            (None, Some(base)) => base.network.clone(),
            (None, None) => NetworkSettings::default_for(&input),
        };
        for (pointer, is_alike) in [
            ("/input", base.is_none_or(|base| base.input == input)),
            ("/network", base.is_none_or(|base| base.network == network)),
        ] {
            if !is_alike {
                let detail = "differs from that of the base: leave it out, or give the same";
                return Err(Invalid::at(pointer, detail));
            }
        }
        let settings = ModelSettings {
            input,
            network,
            learning: self.learning.unwrap_or_default(),
            selection: self.selection.unwrap_or_default(),
            schedule: self.schedule.unwrap_or_default(),
            gate: self.gate.unwrap_or_default(),
            retention: self.retention.unwrap_or_default(),
        };
        Ok((self.name, settings))
    }
}

/// By hand and not by serde's tag: so a complaint points at the field, and not at the whole input.
fn parse_input_schema(input: Value) -> Result<InputSchema, Invalid> {
    match take_kind(input)? {
        (Some(kind), rest) if kind == "tabular" => parse_part(rest).map(InputSchema::Tabular),
        (Some(kind), rest) if kind == "text" => parse_part(rest).map(InputSchema::Text),
        (Some(kind), rest) if kind == "image" => parse_part(rest).map(InputSchema::Image),
        _ => Err(Invalid::at("/kind", "kind must be tabular, text or image")),
    }
}

/// A network without a kind is of the one that is the default for the input.
fn parse_network(network: Value, input: &InputSchema) -> Result<NetworkSettings, Invalid> {
    match take_kind(network)? {
        (None, rest) if rest.as_object().is_some_and(Map::is_empty) => {
            Ok(NetworkSettings::default_for(input))
        }
        (None, rest) => match NetworkSettings::default_for(input) {
            NetworkSettings::Text(_) => parse_part(rest).map(NetworkSettings::Text),
            NetworkSettings::Cnn(_) => parse_part(rest).map(NetworkSettings::Cnn),
            _ => parse_part(rest).map(NetworkSettings::Mlp),
        },
        (Some(kind), rest) if kind == "mlp" => parse_part(rest).map(NetworkSettings::Mlp),
        (Some(kind), rest) if kind == "moe" => parse_part(rest).map(NetworkSettings::Moe),
        (Some(kind), rest) if kind == "text" => parse_part(rest).map(NetworkSettings::Text),
        (Some(kind), rest) if kind == "cnn" => parse_part(rest).map(NetworkSettings::Cnn),
        _ => Err(Invalid::at("/kind", "kind must be mlp, moe, text or cnn")),
    }
}

/// What an object says its kind is, and the rest of it.
fn take_kind(value: Value) -> Result<(Option<String>, Value), Invalid> {
    let Value::Object(mut object) = value else {
        return Err(Invalid::new("must be an object"));
    };
    match object.remove("kind") {
        Some(Value::String(kind)) => Ok((Some(kind), Value::Object(object))),
        Some(_) => Err(Invalid::at("/kind", "kind must be a string")),
        None => Ok((None, Value::Object(object))),
    }
}

/// Changes of a model's settings: a section that is left out, and a setting that its section leaves
/// out, stay as they are. Null takes a section or a setting back to its default, and switches a
/// limit of `gate` off.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"schedule": {"min_samples": 1000}, "gate": {"max_drop": null}}))]
pub struct ModelPatch {
    /// How an update trains.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<LearningSettings>)]
    learning: Option<Value>,
    /// Which samples of an update are worth training on.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<SelectionSettings>)]
    selection: Option<Value>,
    /// When an update is queued by itself.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<ScheduleSettings>)]
    schedule: Option<Value>,
    /// What a version must show to be published.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<GateSettings>)]
    gate: Option<Value>,
    /// What is kept.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<RetentionSettings>)]
    retention: Option<Value>,
}

/// Tells a section that is null from one that is left out.
fn given<'de, D: Deserializer<'de>>(section: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(section).map(Some)
}

/// What null means for a setting.
#[derive(Clone, Copy, PartialEq)]
enum Null {
    Default,
    Off,
}

impl ModelPatch {
    /// Changes `settings` as the patch says.
    ///
    /// # Errors
    /// [`Invalid`] with the pointer of what is wrong.
    pub fn apply(self, settings: &mut ModelSettings) -> Result<(), Invalid> {
        merge(&mut settings.learning, self.learning, "/learning", Null::Default)?;
        merge(&mut settings.selection, self.selection, "/selection", Null::Default)?;
        merge(&mut settings.schedule, self.schedule, "/schedule", Null::Default)?;
        merge(&mut settings.gate, self.gate, "/gate", Null::Off)?;
        merge(&mut settings.retention, self.retention, "/retention", Null::Default)
    }
}

/// Merges a patch into one section of the settings (RFC 7396, one level deep).
fn merge<T: Serialize + DeserializeOwned + Default>(
    section: &mut T,
    patch: Option<Value>,
    at: &str,
    null: Null,
) -> Result<(), Invalid> {
    let patch = match patch {
        None => return Ok(()),
        Some(Value::Null) => Map::new(),
        Some(Value::Object(patch)) if patch.is_empty() => return Ok(()),
        Some(Value::Object(patch)) => patch,
        Some(_) => return Err(Invalid::at(at, "must be an object, or null")),
    };
    let mut merged = match serde_json::to_value(&*section) {
        Ok(Value::Object(settings)) if !patch.is_empty() => settings,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() && null == Null::Default && merged.remove(&name).is_some() {
            continue;
        }
        merged.insert(name, value);
    }
    *section = parse_part(Value::Object(merged)).map_err(|error| error.within(at))?;
    Ok(())
}

#[cfg(test)]
mod model_tests;
