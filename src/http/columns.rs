//! Tables of samples: which column is the label, which are what else a sample may have, and which hold features.

use super::parse::Columns;
use super::walk;
use crate::domain::Invalid;
use crate::domain::input::{Feature, InputSchema};

/// The columns of all of a sample but its input.
#[derive(Debug)]
pub(super) struct TagColumns {
    pub(super) label: usize,
    pub(super) id: Option<usize>,
    pub(super) subject: Option<usize>,
    pub(super) weight: Option<usize>,
}

impl TagColumns {
    /// Those of a table of samples for a model that takes inputs of `schema`; `label` is what the label's
    /// column is called.
    ///
    /// # Errors
    /// [`Invalid`] where there is no label, or two columns of a name.
    pub(super) fn find(names: &[&str], label: &str, schema: &InputSchema) -> Result<Self, Invalid> {
        let no_label = || {
            let label = walk::shortened(label);
            Invalid::new(format!("there is no column `{label}`; say ?label=COLUMN for another"))
        };
        let is_feature = |name| schema.features().iter().any(|feature| feature.name == name);
        let find = |name| match label == name || is_feature(name) {
            true => Ok(None),
            false => only_column(names, name),
        };
        Ok(Self {
            label: only_column(names, label)?.ok_or_else(no_label)?,
            id: find("id")?,
            subject: find("subject")?,
            weight: find("weight")?,
        })
    }

    /// The columns of the input: the rest of all.
    pub(super) fn others(&self, n_columns: usize) -> Vec<usize> {
        let tag = [Some(self.label), self.id, self.subject, self.weight];
        (0..n_columns).filter(|&column| !tag.contains(&Some(column))).collect()
    }
}

/// The columns of the model's features, which all have one, in the order of the features.
pub(super) fn place_by_name(
    columns: Vec<usize>,
    names: &[&str],
    features: &[Feature],
) -> Result<Vec<usize>, Invalid> {
    let mut by_name = Columns::new(features);
    let mut places = vec![None; features.len()];
    for column in columns {
        let name = names[column];
        let feature = by_name.find(name).ok_or_else(|| {
            let name = walk::shortened(name);
            Invalid::new(format!("column `{name}` is none of the model's features"))
        })?;
        if places[feature].replace(column).is_some() {
            return Err(twice(name));
        }
    }
    features
        .iter()
        .zip(places)
        .map(|(feature, place)| {
            let missing = || format!("there is no column for feature `{}`", feature.name);
            place.ok_or_else(|| Invalid::new(missing()))
        })
        .collect()
}

/// The column called `name`, if there is one.
fn only_column(names: &[&str], name: &str) -> Result<Option<usize>, Invalid> {
    let mut found = (0..names.len()).filter(|&column| names[column] == name);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(twice(name)),
        (column, None) => Ok(column),
    }
}

/// Refuses a second column of a name.
pub(super) fn twice(name: &str) -> Invalid {
    Invalid::new(format!("two columns are called `{}`", walk::shortened(name)))
}
