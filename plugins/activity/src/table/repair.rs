//! Repairs a running table when an operator asks: writes rows that are in no file again from the journal.

use super::{Stop, Table};
use crate::repair_api::Repaired;

impl Table {
    /// Writes all committed rows again that are in no file of the table and still in the journal. Closed hours are
    /// closed again.
    pub(super) async fn repair(&mut self) -> Result<Repaired, Stop> {
        let (position, open) = (self.consumer.position(), self.open.take());
        let end = open.as_ref().map_or(position, |open| open.span.first);
        let mut retry = self.retry("repair");
        while let Err(e) = self.compaction.rest().await {
            retry.wait(e).await?;
        }
        let (present, unmarked) = loop {
            match self.hours.present().await {
                Ok(present) => break present,
                Err(e) => retry.wait(e).await?,
            }
        };
        retry.done();
        let mut written = Vec::new();
        for (first, last) in missing(&present, self.consumer.bounds().earliest, end) {
            self.write_again(first, last, None, &mut written).await?;
        }
        if let Some(hour) = unmarked {
            self.reopen(hour).await?;
        }
        self.consumer.seek(position);
        self.open = open;
        let rows = written.iter().map(|file| file.rows).sum();
        Ok(Repaired { topic: self.topic.clone(), rows, files: written.into_iter().map(|file| file.path).collect() })
    }
}

/// The rows from `first` to before `end` that are not in `present`, which is sorted.
fn missing(present: &[(u64, u64)], first: u64, end: u64) -> Vec<(u64, u64)> {
    let (mut missing, mut next) = (Vec::new(), first);
    for (begin, last) in present.iter().filter(|(begin, _)| *begin < end) {
        if *begin > next {
            missing.push((next, begin - 1));
        }
        next = next.max(last + 1);
    }
    if next < end {
        missing.push((next, end - 1));
    }
    missing
}
