//! Lists, page by page: a cursor is the key of the last item that was shown, and opaque.

use std::fmt::{Display, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::Invalid;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Most items to answer.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; null when this is the last one.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// A page to fetch: items beyond the one of key `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// The last key that was shown.
    pub after: Option<K>,
    limit: u32,
}

impl<K: FromStr + Display> PageRequest<K> {
    /// The page that the parameters name.
    ///
    /// # Errors
    /// [`Invalid`] for a limit out of range, and for a cursor that no page gave.
    pub fn parse(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Invalid> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Invalid::at("/query/limit", format!("limit is 1 to {MAX_LIMIT}")));
        }
        let after = match cursor {
            None => None,
            Some(cursor) => Some(key_of(cursor).ok_or_else(|| {
                Invalid::at("/query/cursor", "give the next_cursor of the page before, unchanged")
            })?),
        };
        Ok(Self { after, limit })
    }

    /// How many rows to fetch: one more than the page shows, to see whether it is the last one.
    pub fn n_rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page, of the rows fetched; `key` names a row.
    pub fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
        render: impl FnMut(R) -> T,
    ) -> Page<T> {
        let limit = self.limit as usize;
        let is_last = rows.len() <= limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| !is_last).map(|row| cursor_of(&key(row)));
        Page { items: rows.into_iter().map(render).collect(), next_cursor }
    }
}

impl<K: FromStr + Display> TryFrom<&PageQuery> for PageRequest<K> {
    type Error = Invalid;
    fn try_from(query: &PageQuery) -> Result<Self, Invalid> {
        Self::parse(query.limit, query.cursor.as_deref())
    }
}

/// A key as a cursor: its text in hex, so that nobody is tempted to build one.
fn cursor_of(key: &impl Display) -> String {
    key.to_string().bytes().fold(String::new(), |mut cursor, byte| {
        // Writing into a String cannot fail.
        let _ = write!(cursor, "{byte:02x}");
        cursor
    })
}

fn key_of<K: FromStr>(cursor: &str) -> Option<K> {
    if !cursor.len().is_multiple_of(2) || !cursor.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..cursor.len()).step_by(2).map(|at| u8::from_str_radix(&cursor[at..at + 2], 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn cursors_lead_back_to_their_keys() {
        let id = Uuid::now_v7();
        assert_eq!(key_of(&cursor_of(&id)), Some(id));
        for key in [0, 1, i64::MAX, -7] {
            assert_eq!(key_of(&cursor_of(&key)), Some(key));
        }
    }

    #[test]
    fn a_cursor_that_no_page_gave_is_refused() {
        for bad in ["", "0", "zz", "ää", "666f6f", "ff", "+1+1"] {
            let refusal = PageRequest::<i64>::parse(None, Some(bad)).unwrap_err();
            assert_eq!(refusal.pointer, "/query/cursor", "{bad}");
        }
        for bad in [0, 201, u32::MAX] {
            let refusal = PageRequest::<i64>::parse(Some(bad), None).unwrap_err();
            assert_eq!(refusal.pointer, "/query/limit");
        }
    }

    #[test]
    fn only_the_last_page_has_no_cursor() {
        let request = PageRequest::<i64>::parse(Some(2), None).unwrap();
        assert_eq!(request.n_rows(), 3);
        let page = |rows: Vec<i64>| request.page(rows, |row| *row, |row| row);
        let next_cursor = Some(cursor_of(&8));
        assert_eq!(page(vec![9, 8, 7]), Page { items: vec![9, 8], next_cursor });
        assert_eq!(page(vec![9, 8]), Page { items: vec![9, 8], next_cursor: None });
        assert_eq!(page(vec![]), Page { items: vec![], next_cursor: None });
    }
}
