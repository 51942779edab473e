//! What lies at a path of a table.

use crate::encode::Footer;
use crate::read::metadata;
use crate::store::{Store, StoreError};

/// What lies at a path.
#[derive(Debug)]
pub enum Found {
    /// No file (any more).
    Nothing,
    /// Something other than Greyhound's file for this place: what it is.
    Foreign(String),
    /// An incomplete Parquet file, or none: why.
    Broken(String),
    /// No file, and the hour is closed.
    Closed,
    /// One of Greyhound's files.
    File(Footer),
}

/// What lies at `path` of the store, and its size in bytes.
///
/// # Errors
/// If the store cannot be read.
pub async fn find(store: &dyn Store, path: &str) -> Result<(Found, u64), StoreError> {
    let Some((metadata, length)) = metadata(store, path).await? else { return Ok((Found::Nothing, 0)) };
    let found = match metadata {
        Ok(metadata) => Footer::from_metadata(&metadata).map_or_else(
            || Found::Foreign("it is a Parquet file that Greyhound did not write".to_owned()),
            Found::File,
        ),
        Err(why) => Found::Broken(format!("it is no whole Parquet file ({why})")),
    };
    Ok((found, length))
}
