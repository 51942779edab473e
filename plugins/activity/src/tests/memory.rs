//! Reading back under a limit of memory: each test runs in a process of its own, which the system ends where it takes
//! more.

use super::faulty_store::{Dice, FaultyStore};
use super::{NOON, TOPIC, bus};
use crate::committer::{Committer, Outcome};
use crate::compact::Compactor;
use crate::encode::{Encoder, Encodings};
use crate::hours::Hours;
use crate::layout::{HOUR_US, Hour, directory};
use crate::read::{Blocking, ReadFailure, StoredFile};
use crate::roll_policy::Span;
use crate::store::Store;
use crate::success::Success;
use crate::value_digests::ValueDigests;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Int8Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use greyhound_sdk::{Batch, Shard, TopicSchema};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::process::Command;
use std::sync::Arc;

const HOUR: Hour = Hour(NOON / HOUR_US);
const CHILD: &str = "GREYHOUND_TEST_OF_MEMORY";
const LARGE: usize = 990_000;

/// Runs `test`, which is called `name`, in a process that may have `megabytes` more than it has by then.
fn within(name: &str, megabytes: u64, test: impl FnOnce(&dyn Fn())) {
    if std::env::var_os(CHILD).is_some() {
        test(&|| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let size =
                status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")).unwrap();
            let limit = Some((size.parse::<u64>().unwrap() << 10) + (megabytes << 20));
            setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
        });
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let done =
        child.args(["--exact", &format!("tests::memory::{name}"), "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(4000).collect::<String>();
    assert!(done.status.success(), "{}: {}{}", done.status, text(&done.stdout), text(&done.stderr));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn shard() -> Shard {
    Shard::new("test", 1)
}

/// Commits a file of these batches, each of which is made when it is its turn.
async fn commit(
    store: &Arc<dyn Store>,
    schema: &Arc<TopicSchema>,
    first: u64,
    batches: impl Iterator<Item = Vec<ArrayRef>>,
) -> u64 {
    let mut encoder = Encoder::new(schema.clone(), Encodings::Modern).unwrap();
    let mut span: Option<Span> = None;
    for columns in batches {
        let rows = RecordBatch::try_new(schema.columns().clone(), columns).unwrap();
        let batch = Batch { first: span.map_or(first, |span| span.end), time: NOON, digest: 0, rows };
        encoder.add(&batch).unwrap();
        span.get_or_insert_with(|| Span::of(&batch, NOON, tokio::time::Instant::now())).end = batch.end();
    }
    let span = span.unwrap();
    let file = encoder.finish(&span, &shard()).unwrap();
    let outcome = Committer::new(store.clone(), schema.name(), shard()).attempt(&file, HOUR).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    span.end
}

fn order(buyer: &str) -> Vec<ArrayRef> {
    vec![Arc::new(Int8Array::from(vec![0])), Arc::new(StringArray::from(vec![buyer]))]
}

const TAGS: &str = r#"{"type": "record", "namespace": "shop", "name": "order", "fields": [
    {"name": "tags", "type": {"type": "array", "items": "string"}}]}"#;

/// A row with a list of so many times the same tag.
fn tags(schema: &TopicSchema, tag: &str, count: usize) -> Vec<ArrayRef> {
    let DataType::List(item) = schema.columns().field(0).data_type().clone() else { panic!("no list") };
    let mut tags = ListBuilder::new(StringBuilder::new()).with_field(item);
    tags.append_value(vec![Some(tag); count]);
    vec![Arc::new(tags.finish())]
}

async fn compact(store: &Arc<dyn Store>, topic: &str) {
    let mut hours = Hours::new(store.clone(), topic, shard());
    hours.resume(1).await.unwrap();
    while let Some(closing) = hours.oldest_open(Hour(HOUR.0 + 1)).await.unwrap() {
        hours.close(&closing, None).await.unwrap();
    }
    let compactor = Compactor::new(store.clone(), 1 << 28, None);
    let mut compaction = compactor.of(topic, &shard());
    compaction.closed([HOUR]);
    for _ in 0..1000 {
        compaction.turn(Hour(HOUR.0 + 1)).await;
        compactor.idle().await;
    }
    let success = Success::read(store.as_ref(), &directory(topic, HOUR, &shard())).await.unwrap().unwrap();
    assert!(success.compacted, "{success:?}");
}

#[test]
fn an_hour_of_large_rows_that_are_all_the_same_is_compacted() {
    within("an_hour_of_large_rows_that_are_all_the_same_is_compacted", 600, |limit| {
        runtime().block_on(async {
            let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Dice::new(0)));
            let schema = bus().bus().topics()[0].clone();
            let large = "a".repeat(LARGE);
            // At first all in a dictionary, then with one that no dictionary takes; among small ones.
            let end = commit(&store, &schema, 0, (0..1000).map(|_| order(&large))).await;
            let mixed = (0..1000).map(|n| {
                if n == 900 { order(&"b".repeat(LARGE)) } else { order(if n % 2 == 0 { &large } else { "small" }) }
            });
            commit(&store, &schema, end, mixed).await;
            limit();
            compact(&store, TOPIC).await;
        });
    });
}

#[test]
fn an_hour_of_rows_with_long_lists_is_compacted() {
    within("an_hour_of_rows_with_long_lists_is_compacted", 600, |limit| {
        runtime().block_on(async {
            let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Dice::new(0)));
            let schema = Arc::new(TopicSchema::from_avro(TAGS).unwrap());
            let list = |count| tags(&schema, "a tag of forty letters, without a comma!", count);
            let mut end = 0;
            for _ in 0..2 {
                end = commit(&store, &schema, end, (0..1500).map(|n| list(if n % 3 == 0 { 1 } else { 20_000 }))).await;
            }
            limit();
            compact(&store, TOPIC).await;
        });
    });
}

#[test]
fn the_digests_of_long_lists_of_short_texts_take_no_more_than_the_limit_for_reading_back() {
    within("the_digests_of_long_lists_of_short_texts_take_no_more_than_the_limit_for_reading_back", 350, |limit| {
        let runtime = runtime();
        let store = FaultyStore::new(Dice::new(0));
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let schema = Arc::new(TopicSchema::from_avro(TAGS).unwrap());
        runtime.block_on(commit(&shared, &schema, 0, [tags(&schema, "", 15 << 20)].into_iter()));
        let (path, _) = store.files().into_iter().find(|(path, _)| path.ends_with(".parquet")).unwrap();
        let blocking = runtime.block_on(async { Blocking::new(shared.clone()) });
        limit();
        let why = read(&blocking, &path).unwrap_err().to_string();
        assert!(why.contains("a row of it may be larger than 256 MiB"), "{why}");
    });
}

/// Reads a file as whoever reads back does: its footer, every row, and their digests.
fn read(store: &Blocking, path: &str) -> Result<usize, ReadFailure> {
    let file = StoredFile::open(store, path.to_owned())?;
    let (mut rows, mut digests) = (0, ValueDigests::default());
    for group in file.groups() {
        for batch in file.rows(group, None)? {
            let batch = batch?;
            rows += batch.num_rows();
            // A damaged file may have other columns than its table.
            let _ = digests.add(&batch);
        }
    }
    Ok(rows)
}

#[test]
fn whatever_a_file_says_reading_it_is_bounded() {
    within("whatever_a_file_says_reading_it_is_bounded", 600, |limit| {
        let runtime = runtime();
        let store = FaultyStore::new(Dice::new(0));
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let schema = bus().bus().topics()[0].clone();
        runtime.block_on(commit(&shared, &schema, 0, (0..50).map(|n| order(&format!("buyer {n}")))));
        let (path, sound) = store.files().into_iter().find(|(path, _)| path.ends_with(".parquet")).unwrap();
        let blocking = runtime.block_on(async { Blocking::new(shared.clone()) });
        assert_eq!(read(&blocking, &path).unwrap(), 50);
        limit();
        let mut dice = Dice::new(1);
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut bytes = sound.to_vec();
            for _ in 0..1 + dice.below(3) {
                let (at, run) = (dice.below(bytes.len() as u64) as usize, 1 + dice.below(5) as usize);
                let value = [0xff, 0xfe, 0x7f, 0, dice.below(256) as u8][dice.below(5) as usize];
                let end = bytes.len().min(at + run);
                bytes[at..end].fill(value);
            }
            runtime.block_on(shared.write(&path, bytes.into())).unwrap();
            refused += u32::from(read(&blocking, &path).is_err());
        }
        assert!(refused > 5_000, "{refused} were refused");
    });
}

#[test]
fn a_footer_that_claims_more_than_there_is_is_refused() {
    within("a_footer_that_claims_more_than_there_is_is_refused", 300, |limit| {
        let runtime = runtime();
        let shared: Arc<dyn Store> = Arc::new(FaultyStore::new(Dice::new(0)));
        let blocking = runtime.block_on(async { Blocking::new(shared.clone()) });
        let schema = [0x15, 2, 0x29, 0x2c, 0x48, 1, b'r', 0x15, 2, 0, 0x15, 4, 0x25, 0, 0x18, 1, b's', 0, 0x16, 2];
        // Row groups, and the children of the schema's root, without end.
        let groups = [&schema[..], &[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 7, 0]].concat();
        let children =
            [0x15, 2, 0x19, 0x1c, 0x48, 1, b'r', 0x15, 0xfe, 0xff, 0xff, 0xff, 15, 0, 0x16, 2, 0x19, 0x0c, 0].to_vec();
        let nested: Vec<u8> =
            [vec![0x15, 2, 0x19, 0xfc, 0xb8, 0x17], [0x48, 1, b'r', 0x15, 2, 0].repeat(3000), vec![0]].concat();
        limit();
        for footer in [groups, children, nested] {
            let file = [b"PAR1", &footer[..], &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
            runtime.block_on(shared.write("f.parquet", file.into())).unwrap();
            let why = read(&blocking, "f.parquet").unwrap_err().to_string();
            assert!(why.contains("claims more than there is"), "{why}");
        }
    });
}
