//! What is in a table's directory and is no part of the table.

use super::finding::Finding;
use crate::read::Blocking;
use crate::store::StoreError;

/// The files at `path`, or in it: whoever reads the table takes them for its own, unless a name on the way to them is hidden.
pub(super) fn foreign(store: &Blocking, path: &str) -> Result<Vec<Finding>, StoreError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.starts_with(['_', '.']) {
        return Ok(Vec::new());
    }
    let names = match store.ask(async |store| store.list(path).await) {
        Err(e) if e.is_obstacle() => return Ok(vec![Finding::Foreign { path: path.to_owned() }]),
        listed => listed?,
    };
    let mut findings = Vec::new();
    for name in names {
        findings.extend(foreign(store, &format!("{path}/{name}"))?);
    }
    Ok(findings)
}
