//! The service as its clients meet it: real HTTP, a real PostgreSQL, a database per test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod arrow;
mod batches;
mod browsers;
mod canaries;
mod chores;
mod clients;
mod clocks;
mod contention;
mod departures;
mod encryption;
mod events;
mod faults;
mod forgetting;
mod feedback;
mod grpc;
mod images;
mod imports;
mod instances;
mod keys;
mod limits;
mod listeners;
mod models;
mod oip;
mod operations;
mod predictions;
mod readme;
mod refusals;
mod retention;
mod rollbacks;
mod secrets;
mod selection;
mod slow_clients;
mod stalls;
mod story;
mod strategies;
mod streams;
mod texts;
mod updates;
mod upgrade;
mod versions;
