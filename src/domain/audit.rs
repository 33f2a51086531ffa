//! What is written down of those who change things.

words! {
    /// Something that was done to a model.
    pub enum Action {
        /// It was created.
        ModelCreated = "model_created",
        /// Its settings were changed.
        ModelPatched = "model_patched",
        /// It was deleted with all that it held.
        ModelDeleted = "model_deleted",
        /// It was given weights to begin with.
        VersionImported = "version_imported",
        /// A batch was deleted with its samples.
        BatchDeleted = "batch_deleted",
        /// Samples were deleted, by id or by subject.
        SamplesDeleted = "samples_deleted",
        /// An alias was pointed at a version.
        AliasMoved = "alias_moved",
        /// An alias was deleted.
        AliasDeleted = "alias_deleted",
        /// An update was cancelled, or asked to stop.
        UpdateCancelled = "update_cancelled",
        /// An update was queued again.
        UpdateRetried = "update_retried",
        /// What its retention does not keep was removed; no client asked for it at that moment.
        RetentionSwept = "retention_swept",
    }
}
