//! Foreign files that readers of a table would read.
//!
//! Spark, Hive and Trino read every file below the table's directory unless a name in its path begins with `_` or `.`.
//! DuckDB's glob takes every `*.parquet`, hidden or not.

use super::finding::Finding;
use crate::read::Blocking;
use crate::store::StoreError;

/// Readable files in `directory` under these names, which do not belong to the layout.
pub(super) fn among<'a>(
    store: &Blocking,
    directory: &str,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<Finding>, StoreError> {
    let mut found = Vec::new();
    for name in names {
        below(store, format!("{directory}/{name}"), is_hidden(name), &mut found)?;
    }
    Ok(found)
}

fn below(store: &Blocking, path: String, hidden: bool, found: &mut Vec<Finding>) -> Result<(), StoreError> {
    match store.ask(async |store| store.list(&path).await) {
        Err(e) if e.is_obstacle() => {
            if !hidden || path.ends_with(".parquet") {
                found.push(Finding::Stray { path });
            }
            Ok(())
        }
        names => {
            names?.iter().try_for_each(|name| below(store, format!("{path}/{name}"), hidden || is_hidden(name), found))
        }
    }
}

/// A name with `=` is a partition even if it begins with `_`.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}
