//! The document says of every operation what holds for it.

use super::*;

#[test]
fn every_operation_has_a_name_a_tag_and_words() {
    let mut names = std::collections::HashSet::new();
    for (path, mut item) in crate::http::openapi().paths.paths {
        for (_, operation) in operations(&mut item) {
            let name = operation.operation_id.clone();
            assert!(name.is_some_and(|name| names.insert(name)), "{path}");
            assert!(operation.summary.is_some(), "{path}");
            let tags = operation.tags.iter().flatten();
            assert!(tags.clone().count() == 1, "{path}");
            assert!(tags.clone().all(|tag| TAGS.iter().any(|(name, _)| name == tag)), "{path}");
        }
    }
}

#[test]
fn words_are_documented_as_they_are_sent() {
    use crate::domain::update::{Decision, Outcome, UpdateStatus};
    let words = |schema: RefOr<Schema>| serde_json::to_value(schema).unwrap()["enum"].to_string();
    assert!(words(UpdateStatus::schema()).contains(UpdateStatus::Queued.as_str()));
    assert!(words(Decision::schema()).contains(Decision::HeldOut.as_str()));
    assert!(words(Outcome::schema()).contains(Outcome::NothingToLearn.as_str()));
}

#[test]
fn every_refusal_is_documented_as_it_is_sent() {
    for (path, mut item) in crate::http::openapi().paths.paths {
        for (_, operation) in operations(&mut item) {
            for (status, response) in &operation.responses.responses {
                if let RefOr::T(response) = response
                    && status.as_str() >= "400"
                    && path != "/readyz"
                {
                    let sent_as = if is_foreign(&path) { "application/json" } else { PROBLEM_JSON };
                    assert!(response.content.contains_key(sent_as), "{path} {status}");
                    assert!(!is_foreign(&path) || status != "422", "{path}");
                }
            }
        }
    }
}

#[test]
fn whoever_asks_an_alias_may_say_who_it_is() {
    let mut asked = Vec::new();
    for (_, mut item) in crate::http::openapi().paths.paths {
        for (_, operation) in operations(&mut item) {
            let says = operation.parameters.iter().flatten().any(|parameter| match parameter {
                RefOr::T(parameter) => parameter.name == "X-Client-Id",
                RefOr::Ref(_) => false,
            });
            if says {
                asked.extend(operation.operation_id.clone());
            }
        }
    }
    asked.sort_unstable();
    let expected =
        ["infer", "predict", "predictByAlias", "predictInstances", "predictInstancesByAlias"];
    assert_eq!(asked, expected);
}
