//! Files that are not the sink's, and that readers of a table would read all the same.
//!
//! Spark, Hive and Trino read every file below the table's directory, but where a name begins with `_` or `.`. A glob
//! of DuckDB's takes what is called `*.parquet`, hidden or not.

use super::finding::Finding;
use crate::read::Blocking;
use crate::store::StoreError;

/// What there is to read in `directory` under these names, none of which has a place in the layout.
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

/// A name with `=` is that of a partition all the same.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}
