//! Versions: immutable results of updates.

words! {
    /// Whether the gate let a version through.
    pub enum VersionStatus {
        /// It passed; `live` moved to it.
        Published = "published",
        /// It did not, and is kept for study.
        Rejected = "rejected",
    }
}
