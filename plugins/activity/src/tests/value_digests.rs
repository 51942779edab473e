//! The digests in footers: those of the same values are the same, and a change of any value shows.

use super::compaction::{close_next_hour, closed_hour, files_of, life, place};
use super::faulty_store::{Dice, FaultyStore};
use super::verify::{Tables, tables};
use super::{NOON, TOPIC};
use crate::encode::{Encoder, Encodings};
use crate::layout::{HOUR_US, Hour};
use crate::roll_policy::Span;
use crate::store::Store;
use crate::success::Success;
use crate::value_digests::ValueDigests;
use crate::verify::{Depth, Finding, Journal, Report, Scope, verify};
use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, FieldRef};
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use greyhound_sdk::{Batch, Shard, TopicSchema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use std::fs;
use std::sync::{Arc, Mutex};

type AnimalChange = fn(&mut Animal);
type BatchChange = fn(RecordBatch) -> RecordBatch;

const ALL_TYPES: &str = r#"{"type": "record", "namespace": "zoo", "name": "animal", "fields": [
    {"name": "kind", "type": ["null", {"type": "enum", "name": "kind", "symbols": ["cat", "dog", "emu"]}], "default": null},
    {"name": "name", "type": ["null", "string"], "default": null},
    {"name": "photo", "type": ["null", "bytes"], "default": null},
    {"name": "tame", "type": ["null", "boolean"], "default": null},
    {"name": "legs", "type": "int"},
    {"name": "hairs", "type": ["null", "long"], "default": null},
    {"name": "weight", "type": "double"},
    {"name": "born", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "tricks", "type": {"type": "array", "items": ["null", "string"]}},
    {"name": "sizes", "type": ["null", {"type": "array", "items": "long"}], "default": null}]}"#;

#[derive(Debug, Clone)]
struct Animal {
    kind: Option<i8>,
    name: Option<String>,
    photo: Option<Vec<u8>>,
    tame: Option<bool>,
    legs: i32,
    hairs: Option<i64>,
    /// The bits of a double, of whatever kind.
    weight: u64,
    born: i64,
    tricks: Vec<Option<String>>,
    sizes: Option<Vec<i64>>,
}

prop_compose! {
    fn animal()(
        (kind, name, photo, tame, legs) in (prop::option::of(0i8..3), any::<Option<String>>(), any::<Option<Vec<u8>>>(), any::<Option<bool>>(), any::<i32>()),
        (hairs, weight, born) in (any::<Option<i64>>(), any::<u64>(), 0i64..NOON),
        tricks in prop::collection::vec(any::<Option<String>>(), 0..4),
        sizes in prop::option::of(prop::collection::vec(any::<i64>(), 0..4)),
    ) -> Animal {
        Animal { kind, name, photo, tame, legs, hairs, weight, born, tricks, sizes }
    }
}

fn schema() -> Arc<TopicSchema> {
    Arc::new(TopicSchema::from_avro(ALL_TYPES).unwrap())
}

fn batch(schema: &TopicSchema, rows: &[Animal]) -> RecordBatch {
    let item = |column: &str| -> FieldRef {
        let DataType::List(item) = schema.columns().field_with_name(column).unwrap().data_type() else { panic!() };
        item.clone()
    };
    let mut tricks = ListBuilder::new(StringBuilder::new()).with_field(item("tricks"));
    let mut sizes = ListBuilder::new(Int64Builder::new()).with_field(item("sizes"));
    for row in rows {
        tricks.append_value(row.tricks.iter().map(Option::as_deref));
        sizes.append_option(row.sizes.as_ref().map(|sizes| sizes.iter().map(|size| Some(*size))));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.kind).collect::<Int8Array>()),
        Arc::new(rows.iter().map(|row| row.name.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.photo.as_deref()).collect::<BinaryArray>()),
        Arc::new(rows.iter().map(|row| row.tame).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| Some(row.legs)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.hairs).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(f64::from_bits(row.weight))).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.born)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(tricks.finish()),
        Arc::new(sizes.finish()),
    ];
    RecordBatch::try_new(schema.columns().clone(), columns).unwrap()
}

fn digests<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> ValueDigests {
    let mut digests = ValueDigests::default();
    batches.into_iter().for_each(|rows| digests.add(rows).unwrap());
    digests
}

fn table(schema: &TopicSchema, rows: &[Animal]) -> RecordBatch {
    schema.to_table(7, NOON, &batch(schema, rows)).unwrap()
}

fn read(file: Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(3).build().unwrap();
    reader.map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn order_and_boundaries_and_encodings_make_no_difference(
        rows in prop::collection::vec(animal(), 1..40), cut in 0usize..40, seed: u64,
    ) {
        let schema = schema();
        let whole = table(&schema, &rows);
        let expected = digests([&whole]);
        prop_assert_eq!(ValueDigests::from_json(&expected.to_json()), Some(expected.clone()));

        let (mut order, mut dice) = ((0..rows.len() as u32).collect::<Vec<_>>(), Dice::new(seed));
        for at in (1..order.len()).rev() {
            order.swap(at, dice.below(at as u64 + 1) as usize);
        }
        let shuffled = take_record_batch(&whole, &UInt32Array::from(order)).unwrap();
        let cut = cut.min(rows.len());
        let parts = [shuffled.slice(0, cut), shuffled.slice(cut, rows.len() - cut)];
        prop_assert_eq!(digests(&parts), expected.clone());
        let mut merged = digests([&parts[0]]);
        merged.merge(&digests([&parts[1]]));
        prop_assert_eq!(merged, expected.clone());

        for encodings in [Encodings::Modern, Encodings::Compatible] {
            let mut encoder = Encoder::new(schema.clone(), encodings).unwrap();
            let all = Batch { first: 7, time: NOON, digest: 0, rows: batch(&schema, &rows) };
            for (first, count) in [(0, cut), (cut, rows.len() - cut)] {
                let part = Batch { first: 7 + first as u64, rows: all.rows.slice(first, count), ..all.clone() };
                encoder.add(&part).unwrap();
            }
            let span = Span::of(&all, NOON, tokio::time::Instant::now());
            let file = encoder.finish(&span, &Shard::new("test", 1)).unwrap();
            prop_assert_eq!(file.footer.values, Some(expected.clone()));
            prop_assert_eq!(digests(&read(file.bytes)), expected.clone());
        }
    }

    #[test]
    fn a_change_of_any_value_shows_in_its_column_alone(rows in prop::collection::vec(animal(), 2..20), at: usize) {
        let schema = schema();
        let before = digests([&table(&schema, &rows)]);
        let changes: [(&str, AnimalChange); 13] = [
            ("kind", |it| it.kind = Some(it.kind.map_or(0, |kind| (kind + 1) % 3))),
            ("kind", |it| it.kind = if it.kind.is_some() { None } else { Some(2) }),
            ("name", |it| it.name = Some(it.name.take().map_or(String::new(), |name| name + "x"))),
            ("name", |it| it.name = if it.name.is_some() { None } else { Some(String::new()) }),
            ("photo", |it| it.photo = Some(it.photo.take().map_or(Vec::new(), |photo| [photo, vec![0]].concat()))),
            ("tame", |it| it.tame = if it.tame == Some(false) { None } else { Some(it.tame.is_none()) }),
            ("legs", |it| it.legs ^= 1 << 31),
            ("hairs", |it| it.hairs = if it.hairs == Some(0) { None } else { Some(0) }),
            ("weight", |it| it.weight ^= 1 << 63),
            ("born", |it| it.born += 1),
            ("tricks", |it| it.tricks.push(None)),
            ("tricks", |it| it.tricks.push(Some(String::new()))),
            ("sizes", |it| it.sizes = it.sizes.is_none().then(Vec::new)),
        ];
        for (column, change) in changes {
            let mut changed = rows.clone();
            change(&mut changed[at % rows.len()]);
            let after = digests([&table(&schema, &changed)]);
            prop_assert_eq!((column, before.differing(&after)), (column, vec![column.to_owned()]));
            prop_assert_eq!(after.differing(&before), vec![column.to_owned()]);
        }
        // Two rows exchange their places, times and all.
        let mut swapped = rows.clone();
        swapped[0].born = 1;
        swapped[1].born = 2;
        let before = digests([&table(&schema, &swapped)]);
        (swapped[0].born, swapped[1].born) = (2, 1);
        prop_assert_eq!(before.differing(&digests([&table(&schema, &swapped)])), ["born"]);
        let later = schema.to_table(7, NOON + 1, &batch(&schema, &rows)).unwrap();
        prop_assert_eq!(digests([&table(&schema, &rows)]).differing(&digests([&later])), ["time"]);
    }
}

/// As the Python of docs/tables/README.md computes them.
#[test]
fn the_digests_are_those_of_the_documentation() {
    let animal = Animal {
        kind: Some(1),
        name: Some("Rex".to_owned()),
        photo: Some(vec![0, 255]),
        tame: Some(true),
        legs: -4,
        hairs: None,
        weight: 2.5f64.to_bits(),
        born: 1_700_000_000_000_000,
        tricks: vec![Some("sit".to_owned()), None],
        sizes: Some(vec![1, -2]),
    };
    let digests = digests([&table(&schema(), &[animal])]);
    let expected = [
        r#"{"born":"a7a529767531f608","hairs":"0000000000000000","kind":"3ec7f35a8013c80f","legs":"9f4950721204b3fa","#,
        r#""name":"4cd6eae538e6c05c","photo":"d12ab0cd09e13659","sizes":"2a74fc5840ac5185","tame":"857f70923e1d53c9","#,
        r#""time":"4d191597d6edde6e","tricks":"e4bfa6b28ce5a276","weight":"01748e570fa26fa4"}"#,
    ];
    assert_eq!(digests.to_json(), expected.concat());
}

#[test]
fn a_column_that_a_schema_gained_later_has_the_digest_of_nothing() {
    let (schema, row) = (schema(), Animal { name: None, ..sample() });
    let with = digests([&table(&schema, std::slice::from_ref(&row))]);
    let all = table(&schema, &[row]);
    let rest: Vec<usize> = (0..all.num_columns()).filter(|at| all.schema().field(*at).name() != "name").collect();
    let without = digests([&all.project(&rest).unwrap()]);
    assert_eq!((with.differing(&without), without.differing(&with)), (vec![], vec![]));
}

fn sample() -> Animal {
    Animal {
        kind: None,
        name: Some("Tom".to_owned()),
        photo: None,
        tame: None,
        legs: 4,
        hairs: None,
        weight: 0,
        born: 0,
        tricks: vec![],
        sizes: None,
    }
}

/// The same file with other rows, by somebody who keeps what the footer says, but for the keys that are not `kept`.
fn rewritten(file: Bytes, change: impl Fn(RecordBatch) -> RecordBatch, kept: impl Fn(&str) -> bool) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let mut writer = ArrowWriter::try_new(Vec::new(), reader.schema().clone(), None).unwrap();
    reader.build().unwrap().for_each(|rows| writer.write(&change(rows.unwrap())).unwrap());
    let ours = metadata.into_iter().filter(|pair| pair.key.starts_with("greyhound.") && kept(&pair.key));
    ours.for_each(|pair| writer.append_key_value_metadata(pair));
    writer.into_inner().unwrap().into()
}

/// Rows with another value in one column.
fn with_column(rows: &RecordBatch, name: &str, change: impl Fn(&ArrayRef) -> ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let columns = columns.map(|(field, column)| if field.name() == name { change(column) } else { column.clone() });
    RecordBatch::try_new(rows.schema(), columns.collect()).unwrap()
}

fn one_buyer_changed(rows: RecordBatch) -> RecordBatch {
    with_column(&rows, "buyer_id", |column| {
        let buyers = column.as_string::<i32>().iter().enumerate();
        Arc::new(buyers.map(|(at, buyer)| if at == 1 { Some("mallory") } else { buyer }).collect::<StringArray>())
    })
}

fn shifted(rows: RecordBatch) -> RecordBatch {
    with_column(&rows, "time", |column| {
        let times = column.as_primitive::<TimestampMicrosecondType>().unary::<_, TimestampMicrosecondType>(|at| at + 1);
        Arc::new(times.with_timezone("UTC"))
    })
}

fn reversed(rows: RecordBatch) -> RecordBatch {
    take_record_batch(&rows, &(0..rows.num_rows() as u32).rev().collect::<UInt32Array>()).unwrap()
}

fn has_no_digests(key: &str) -> bool {
    key != "greyhound.values"
}

fn values() -> Scope {
    Scope { depth: Depth::Values, ..Scope::default() }
}

impl Tables {
    /// Rewrites a file of an hour.
    fn rewrite(
        &self,
        (hour, first): (i64, u64),
        change: impl Fn(RecordBatch) -> RecordBatch,
        kept: impl Fn(&str) -> bool,
    ) {
        let path = self.file(hour, first);
        fs::write(&path, rewritten(fs::read(&path).unwrap().into(), change, kept)).unwrap();
    }
}

#[tokio::test]
async fn a_value_that_was_changed_and_a_time_that_was_shifted_are_named() {
    let tables = tables().await;
    let sound = fs::read(tables.file(2, 20)).unwrap();
    let changes: [(_, BatchChange); 2] = [("buyer_id", one_buyer_changed), ("time", shifted)];
    for (column, change) in changes {
        tables.rewrite((2, 20), change, |_| true);
        let name = tables.file(2, 20).strip_prefix(tables.root.path()).unwrap().display().to_string();
        let found = |remedy: &str| [format!("{name}: values of {column} changed after they were committed: {remedy}")];
        let (rewrite, keep) = (
            "move it out of the table, run `greyhound tables repair --from-journal`",
            "and keep it until that has written its rows again",
        );
        assert_eq!(
            tables.findings_in(values()).await,
            found(&format!(
                "if the journal of its node has the rows 20 to 29, {rewrite} on that node, {keep}; else restore it from a backup"
            ))
        );
        let with_journal = |earliest| {
            let shard = "test-00000001".to_owned();
            let journals = vec![Journal { shard, topic: TOPIC.to_owned(), earliest, committed: 50 }];
            Scope { journals, ..values() }
        };
        assert_eq!(tables.findings_in(with_journal(20)).await, found(&format!("{rewrite}, {keep}")));
        assert_eq!(
            tables.findings_in(with_journal(21)).await,
            found("restore it from a backup: the journal no longer has all of its rows")
        );
        assert!(tables.findings_in(Scope::default()).await.is_empty(), "nobody asked for values");
        fs::write(tables.file(2, 20), &sound).unwrap();
        assert!(tables.findings_in(values()).await.is_empty());
    }
}

#[tokio::test]
async fn rows_in_another_order_and_encoding_are_right() {
    let tables = tables().await;
    tables.rewrite((2, 20), reversed, |_| true);
    let reports = tables.reports(values()).await;
    assert!(reports.iter().all(|report| report.findings.is_empty() && report.unchecked == 0), "{reports:?}");
}

#[tokio::test]
async fn a_file_of_a_version_that_kept_no_digests_is_counted_and_nothing_wrong() {
    let tables = tables().await;
    tables.rewrite((2, 20), one_buyer_changed, has_no_digests);
    let told = async |scope| {
        let reports = tables.reports(scope).await;
        reports.iter().map(|report| (report.findings.len(), report.unchecked)).collect::<Vec<_>>()
    };
    assert_eq!(told(values()).await, [(0, 1)]);
    assert_eq!(told(Scope::default()).await, [(0, 0)]);
}

/// What is found in a store.
pub(super) async fn verified(store: &FaultyStore) -> Vec<Report> {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let all = reports.clone();
    verify(Arc::new(store.clone()), values(), |_| {}, move |report| all.lock().unwrap().push(report)).await.unwrap();
    std::mem::take(&mut *reports.lock().unwrap())
}

/// What is found of values: there are gaps that nothing records.
async fn changes(store: &FaultyStore) -> Vec<String> {
    let reports = verified(store).await;
    let findings = reports.iter().flat_map(|report| &report.findings);
    findings.filter(|finding| matches!(finding, Finding::Changed { .. })).map(ToString::to_string).collect()
}

fn hour_files(store: &FaultyStore) -> Vec<(String, Bytes)> {
    let mut files = files_of(&store.files(), &place(Hour(NOON / HOUR_US)));
    files.retain(|path, _| path.ends_with(".parquet"));
    files.into_iter().collect()
}

fn is_compacted(store: &FaultyStore) -> bool {
    let success = &store.files()[&format!("{}/_SUCCESS", place(Hour(NOON / HOUR_US)))];
    serde_json::from_slice::<Success>(success).unwrap().compacted
}

#[tokio::test]
async fn a_compacted_hour_has_the_digests_of_its_parts() {
    let (_, store) = closed_hour(&mut Dice::new(1), 4).await;
    assert_eq!(changes(&store).await, [""; 0]);
    life(&store).await;
    let files = hour_files(&store);
    assert!(is_compacted(&store) && files.len() == 1);
    assert_eq!(changes(&store).await, [""; 0]);
    let changed = rewritten(files[0].1.clone(), one_buyer_changed, |_| true);
    store.write(&files[0].0, changed).await.unwrap();
    let found = changes(&store).await;
    assert!(found.len() == 1 && found[0].starts_with(&format!("{}: values of buyer_id", files[0].0)), "{found:?}");
}

#[tokio::test]
async fn an_hour_is_not_compacted_while_a_value_in_it_is_not_the_one_that_was_committed() {
    let (_, store) = closed_hour(&mut Dice::new(1), 4).await;
    let (path, sound) = hour_files(&store).into_iter().max_by_key(|(_, file)| file.len()).unwrap();
    store.write(&path, rewritten(sound.clone(), one_buyer_changed, |_| true)).await.unwrap();
    let before = hour_files(&store);
    let oldest = life(&store).await;
    assert!(!is_compacted(&store) && hour_files(&store) == before, "nothing is replaced");
    let hour = Hour(NOON / HOUR_US);
    assert!(close_next_hour(&store, oldest).await.contains(&hour), "a restarted process tries it again");
    store.write(&path, sound).await.unwrap();
    life(&store).await;
    assert!(is_compacted(&store));
}

#[tokio::test]
async fn files_of_a_version_that_kept_no_digests_get_them_when_they_are_compacted() {
    let (_, store) = closed_hour(&mut Dice::new(1), 4).await;
    for (path, file) in hour_files(&store) {
        store.write(&path, rewritten(file, |rows| rows, has_no_digests)).await.unwrap();
    }
    let unchecked = async || verified(&store).await.iter().map(|report| report.unchecked).sum::<u64>();
    assert_eq!(unchecked().await, 4);
    life(&store).await;
    assert!(is_compacted(&store));
    assert_eq!((unchecked().await, changes(&store).await), (0, vec![]));
}
