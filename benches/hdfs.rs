//! Compares writes to HDFS by the sink's store with a plain loop of the client: files of 128 MiB, alternating.
//!
//! `STORE=hdfs://host:port/directory cargo bench --bench hdfs` prints one Markdown table. The plain loop creates,
//! writes and closes each file; the store writes with time limits, syncs, closes and checks the length. Environment:
//! `FILES` (6 of each), `MIB` (128). `PYTHONPATH=tests tests/.venv/bin/python tests/hdfs/cluster.py` starts HDFS and
//! prints the value for `STORE`.

use bytes::Bytes;
use greyhound_activity::store::hdfs::{HdfsStore, Settings};
use greyhound_activity::store::{Location, Store};
use hdfs_native::{ClientBuilder, WriteOptions};
use std::time::Instant;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let Ok(Ok(Location::Hdfs(location))) = std::env::var("STORE").map(|it| it.parse()) else {
        eprintln!("STORE: expected hdfs://host:port/directory");
        return;
    };
    let size = setting("MIB", 128) << 20;
    let content = Bytes::from((0..size).map(|n| ((n * 7919) >> 5) as u8).collect::<Vec<_>>());
    let bare = ClientBuilder::new().with_url(location.url()).build().expect("a client");
    let options = || WriteOptions::default().overwrite(true).block_size(size as u64);
    let store = HdfsStore::open(location.clone(), &Settings::default()).await.expect("a store");
    let (mut bares, mut ours) = (Vec::new(), Vec::new());
    for n in 0..setting("FILES", 6) {
        let path = format!("{}/bare-{n}", location.root());
        let started = Instant::now();
        let mut file = bare.create(&path, options()).await.expect("a new file");
        file.write_bytes(content.clone()).await.expect("DataNodes that take it");
        file.close().await.expect("a closed file");
        bares.push(rate(size, started));
        let started = Instant::now();
        store.write(&format!("ours-{n}"), content.clone()).await.expect("a written file");
        ours.push(rate(size, started));
        bare.delete(&path, false).await.expect("a removed file");
        store.remove(&format!("ours-{n}")).await.expect("a removed file");
    }
    let (bare, ours) = (median(bares), median(ours));
    println!("| bare client | store | store / bare |\n|---|---|---|");
    println!("| {bare:.0} MB/s | {ours:.0} MB/s | {:.0}% |", ours / bare * 100.0);
}

fn rate(bytes: usize, started: Instant) -> f64 {
    bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
