//! Perennial: models that keep learning, and do not forget.

pub mod domain;
pub mod storage;
