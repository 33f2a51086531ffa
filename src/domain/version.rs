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

words! {
    /// Where a version comes from.
    pub enum Origin {
        /// An update made it.
        Update = "update",
        /// A client brought its weights.
        Imported = "imported",
        /// It is another model's version.
        Copied = "copied",
    }
}
