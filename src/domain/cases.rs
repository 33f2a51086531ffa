//! How many cases a test of a property tries: as many as `PROPTEST_CASES` says, else as many as it takes
//! in a second or so. proptest's own `with_cases` does not ask the environment.

use proptest::test_runner::Config;

/// So many cases, where the environment does not say.
pub(crate) fn usually(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    Config { cases: asked.unwrap_or(cases), ..Config::default() }
}
