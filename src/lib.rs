//! Perennial: models that keep learning, and do not forget.
//!
//! The life of a batch: a client POSTs labelled samples (`http::batches`); they are checked, kept
//! in one transaction, and queue an update (`services::ingest`). A worker claims the update
//! (`worker`), gathers what is new and what is to be replayed (`services::update`), and learns on
//! threads of its own (`learning::update`: clean → normalise → select → train → evaluate → gate).
//! The checkpoint is written, then the version made known in one fenced transaction; every process
//! hears of it and exchanges its predictor (`services::serving`), and the next prediction
//! (`http::predictions`) is the new version's.

pub mod fault;
pub mod domain;
pub mod learning;
pub mod storage;
pub mod services;
pub mod worker;
pub mod http;
pub mod config;
pub mod telemetry;
pub mod postgres;
pub mod app;
pub mod demo;
