//! What learning promises, on real and on awkward data: every test is seeded, and where a figure is
//! claimed a control shows that it is not had for nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod awkward;
mod choosing;
mod cleaning;
mod comparing;
mod evaluation;
mod experts;
mod gate;
mod imported;
mod images;
mod invariants;
mod life;
mod resuming;
mod stopping;
mod story;
mod strategies;
mod texts;
