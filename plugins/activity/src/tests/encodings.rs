//! Which encodings and pages the files have, under either setting, as committed and compacted.

use super::faults::POLICY;
use super::{NOON, eventually, running_tables};
use crate::compact::Compactor;
use crate::encode::Encodings;
use crate::layout::HOUR_US;
use crate::record;
use crate::store::local::LocalStore;
use crate::table::CONSUMER;
use crate::table::{Table, Tables};
use greyhound_sdk::fs::OsFileSystem;
use greyhound_sdk::testing::memory::MemoryBus;
use greyhound_sdk::{Drain, Health, TopicSchema};
use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const TOPIC: &str = "zoo.animal";
const SCHEMA: &str = r#"{"type": "record", "namespace": "zoo", "name": "animal", "fields": [
    {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["cat", "dog"]}},
    {"name": "keeper_id", "type": "string"},
    {"name": "legs", "type": "int"},
    {"name": "hairs", "type": ["null", "long"], "default": null},
    {"name": "born", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "tame", "type": "boolean"},
    {"name": "tricks", "type": {"type": "array", "items": "string"}}]}"#;

#[derive(Serialize)]
struct Animal {
    kind: i8,
    keeper_id: String,
    legs: i32,
    hairs: Option<i64>,
    born: i64,
    tame: bool,
    tricks: Vec<String>,
}

fn animal(n: i64) -> Animal {
    Animal {
        kind: (n % 2) as i8,
        // More than a dictionary holds: the rest of the column is encoded without one.
        keeper_id: format!("{n} {}", "x".repeat(500)),
        legs: n as i32,
        hairs: (n % 3 > 0).then_some(n * 1000),
        born: NOON + n,
        tame: n % 2 == 0,
        tricks: vec![format!("trick {n}"); (n % 3) as usize],
    }
}

/// All files below `path`.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = path.read_dir() else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The encodings that the footer names, those of the pages, and how many pages are not of version 1.
fn look(path: &Path) -> (BTreeSet<Encoding>, usize) {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let (mut encodings, mut newer) = (BTreeSet::new(), 0);
    for (at, group) in reader.metadata().row_groups().iter().enumerate() {
        for (column, chunk) in group.columns().iter().enumerate() {
            encodings.extend(chunk.encodings());
            for page in reader.get_row_group(at).unwrap().get_column_page_reader(column).unwrap() {
                let page = page.unwrap();
                encodings.insert(page.encoding());
                newer += usize::from(matches!(page, Page::DataPageV2 { .. }));
            }
        }
    }
    (encodings, newer)
}

/// Two files of an hour, and what the next hour made of them: looks at each.
async fn looks(encodings: Encodings) -> [(BTreeSet<Encoding>, usize); 2] {
    let memory = MemoryBus::new(vec![TopicSchema::from_avro(SCHEMA).unwrap(), record::schema().unwrap()]);
    memory.set_time(NOON);
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(Arc::new(OsFileSystem), root.path()));
    let compactor = Compactor::new(store.clone(), 64 << 20, None).encoding(encodings);
    let tables = Tables { bus: memory.bus(), store, compactor, policy: POLICY, encodings, running: running_tables() };
    let live = async |until: &dyn Fn() -> bool| {
        let (drain, told) = Drain::new();
        let table = Table::new(&tables, TOPIC, Health::default().of(TOPIC), told).await.unwrap();
        let table = tokio::spawn(table.run());
        eventually("it has come so far", until).await;
        drain.request(Duration::from_secs(10));
        table.await.unwrap().unwrap();
    };
    let publisher = memory.bus().publisher(TOPIC).unwrap();
    for part in [0..3000, 3000..6000] {
        let end = part.end as u64;
        part.for_each(|n| assert!(publisher.offer(&animal(n)).is_ok()));
        live(&|| memory.cursor(CONSUMER, TOPIC) == Some(end)).await;
    }
    let data = || {
        files(root.path())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|it| it == "parquet"))
            .collect::<Vec<_>>()
    };
    let committed = look(&data()[0]);
    assert!(data().len() > 1);
    memory.set_time(NOON + HOUR_US);
    live(&|| data().len() == 1).await;
    [committed, look(&data()[0])]
}

#[tokio::test]
async fn compatible_files_have_plain_and_dictionary_encodings_in_pages_of_version_1() {
    // RLE is that of levels.
    let old = BTreeSet::from([Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY]);
    for (encodings, newer) in looks(Encodings::Compatible).await {
        assert_eq!((&encodings, newer), (&old, 0));
    }
    let modern = &old | &BTreeSet::from([Encoding::DELTA_BINARY_PACKED]);
    for (encodings, newer) in looks(Encodings::Modern).await {
        assert_eq!((&encodings, newer), (&modern, 0));
    }
}
