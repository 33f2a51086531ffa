//! The house keeps its shape: which layer may import which, and which crate belongs where.
//!
//! Reads the sources as text: a rule that a reader can check by eye needs no compiler.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

/// Each layer, and the layers that its files may name with `crate::`.
const LAYERS: &[(&str, &[&str])] = &[
    ("fault.rs", &[]),
    ("domain", &["domain"]),
    ("learning", &["learning", "domain"]),
    ("storage", &["storage", "domain", "fault"]),
    ("services", &["services", "learning", "storage", "domain", "fault"]),
    ("worker.rs", &["services", "storage", "domain", "fault"]),
    ("worker", &["worker", "services", "storage", "domain"]),
    ("http", &["http", "services", "storage", "learning", "domain"]),
    ("config.rs", &["learning", "postgres"]),
    ("config", &["domain"]),
    ("telemetry.rs", &["config"]),
    ("postgres", &["postgres"]),
    ("postgres.rs", &["postgres"]),
    ("demo.rs", &["app", "config", "telemetry"]),
    ("demo", &["app", "config"]),
    ("app.rs", &["config", "http", "postgres", "services", "storage", "worker", "telemetry"]),
    ("app", &["config", "http", "services", "storage", "domain"]),
    ("main.rs", &[]),
    ("lib.rs", &[]),
];

/// Crates that only some layers may name.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http", "app.rs", "app"]),
    ("tower_http", &["http"]),
    ("tonic", &["http"]),
    ("tonic_health", &["http"]),
    ("tonic_reflection", &["http"]),
    ("tonic_types", &["http"]),
    ("prost", &["http"]),
    ("governor", &["http"]),
    ("multer", &["http"]),
    ("half", &["http"]),
    ("arrow_array", &["http"]),
    ("arrow_buffer", &["http"]),
    ("arrow_ipc", &["http"]),
    ("arrow_schema", &["http"]),
    ("flatbuffers", &["http"]),
    ("zip", &["http"]),
    ("tar", &["http"]),
    ("sqlx", &["storage", "app.rs", "app", "services", "worker.rs", "worker"]),
    ("object_store", &["storage", "app"]),
    ("burn", &["learning"]),
    ("gemm", &["learning"]),
    ("linfa", &["learning"]),
    ("linfa_clustering", &["learning"]),
    ("clap", &["config.rs", "config"]),
    ("hyper", &["app"]),
    ("hyper_util", &["app"]),
    ("tokio_rustls", &["app"]),
    ("nix", &["postgres", "postgres.rs", "app"]),
    ("rustix", &["services"]),
    ("thread_priority", &["services"]),
    ("reqwest", &["app", "demo"]),
    ("indicatif", &["demo"]),
];

/// What pure code may not name: learning computes, and nothing else.
const IMPURE: &[&str] =
    &["tokio", "sqlx", "std::fs", "std::env", "std::net", "SystemTime", "Instant", "thread_rng"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file below `dir`, as its layer, its path and its code without comments and tests.
fn files(dir: &Path) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(source()).unwrap();
            let layer = relative.iter().next().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            let code: Vec<&str> = code.lines().filter(is_code).collect();
            found.push((layer, relative.display().to_string(), code.join("\n")));
        }
    }
    found
}

/// The words that follow `crate::` in a use or a path; in braces, each of them.
fn named_layers(code: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut named = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                named.extend(group.split('}').next().unwrap().split(',').map(|w| word(w.trim())))
            }
            None => named.push(word(rest)),
        }
    }
    named
}

#[test]
fn imports_go_one_way() {
    for (layer, path, code) in files(&source()) {
        let (_, allowed) = LAYERS.iter().find(|(name, _)| *name == layer).unwrap_or_else(|| {
            panic!("{path}: the layer {layer} is new; say in this test what it may import")
        });
        for named in named_layers(&code) {
            assert!(allowed.contains(&named.as_str()), "{path} may not import crate::{named}");
        }
    }
}

#[test]
fn each_crate_stays_in_its_layer() {
    for (layer, path, code) in files(&source()) {
        for (name, layers) in CRATES {
            let names_it =
                code.contains(&format!("{name}::")) || code.contains(&format!("use {name};"));
            let is_own_word = |at: usize| {
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            };
            let names_it =
                names_it && code.match_indices(&format!("{name}::")).any(|(at, _)| is_own_word(at));
            assert!(
                !names_it || layers.contains(&layer.as_str()),
                "{path} may not name the crate {name}"
            );
        }
    }
}

#[test]
fn learning_is_pure() {
    for (layer, path, code) in files(&source()) {
        for word in IMPURE {
            assert!(layer != "learning" || !code.contains(word), "{path} names {word}");
        }
    }
}

#[test]
fn only_storage_speaks_sql() {
    for (layer, path, code) in files(&source()) {
        let speaks = ["query!", "query_as!", "query_scalar!", "sqlx::query"]
            .iter()
            .any(|word| code.contains(word));
        assert!(layer == "storage" || !speaks, "{path} speaks SQL");
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    const MOST_LINES: usize = 400;
    fn check(dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{} does not say what it is", path.display());
            let lines = text.lines().count();
            // A file of test cases is a list: nobody reads it from end to end.
            let is_list = path.to_str().is_some_and(|path| path.ends_with("_tests.rs"));
            assert!(is_list || lines <= MOST_LINES, "{} has {lines} lines", path.display());
        }
    }
    check(&source());
}
