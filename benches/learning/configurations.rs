//! What is compared: named settings of a model.

use serde_json::{Value, json};

use crate::arguments::Change;

/// Settings under a name.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// How tables call it.
    pub name: String,
    /// What differs from a model's defaults.
    pub settings: Value,
    /// Whether the gate is off: the control must be published whatever it forgets.
    pub ungated: bool,
}

impl Configuration {
    /// The configuration of this name: `auto`, `naive`, `retrain`, `analytic`, `distill`, `moe`, `mlp`,
    /// `memory-N`, or `STRATEGY-PERCENT` of selection.
    pub fn named(name: &str) -> Self {
        let settings = match name {
            "auto" => json!({}),
            // All data, always, for selection would spare it some; and its cost is its own, without a comparison.
            "retrain" => json!({
                "learning": {"strategy": "retrain", "counterfactual": false},
                "selection": {"strategy": "all"},
            }),
            "moe" | "mlp" => json!({"network": {"kind": name}}),
            "naive" | "analytic" | "distill" => json!({"learning": {"strategy": name}}),
            _ => of_number(name),
        };
        Self { name: name.to_owned(), settings, ungated: name == "naive" }
    }

    /// The default with changes.
    pub fn default_with(name: &str, changes: &[Change]) -> Self {
        let mut configuration = Self::named("auto");
        name.clone_into(&mut configuration.name);
        changes.iter().for_each(|change| change.apply(&mut configuration.settings));
        configuration
    }

    /// Whether it is one of the two ends that the others are compared with.
    pub fn is_control(name: &str) -> bool {
        matches!(name, "naive" | "retrain")
    }
}

/// Settings whose name ends in a number.
fn of_number(name: &str) -> Value {
    let (what, number) = name.rsplit_once('-').unwrap();
    let number: u32 = number.parse().unwrap();
    match what {
        "memory" => json!({"learning": {"memory": number}}),
        strategy => json!({
            "selection": {"strategy": strategy, "budget": {"share": f64::from(number) / 100.0}},
        }),
    }
}

/// Puts what `from` says over what `into` says.
pub fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => into.clone_from(from),
    }
}
