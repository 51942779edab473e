//! Deletes old segments.

use super::segment::{Segment, Span};
use super::shared::Shared;
use super::view::View;
use crate::log::{Lost, Retention};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Deletes the oldest segments according to `policy`. Returns the deleted rows that were still needed.
pub(super) fn retain(shared: &Shared, policy: &Retention, required: &HashMap<Arc<str>, u64>, now: i64) -> Vec<Lost> {
    let mut lost = Vec::new();
    let next = || pop_expired(&mut shared.view.write(), policy, required, now);
    while let Some((gone, needed)) = next() {
        if let Err(e) = delete(shared, &gone) {
            tracing::warn!(segment = gone.base, error = %e, "cannot delete an old segment of the journal; retrying later");
            shared.view.write().put_back(gone);
            break;
        }
        lost.extend(needed);
    }
    shared.measure();
    lost
}

fn delete(shared: &Shared, segment: &Segment) -> io::Result<()> {
    shared.fs.remove(&Segment::path(&shared.dir, segment.base))?;
    // Syncs after each segment: a power cut must not restore an older segment without those that follow it.
    shared.directory.sync()
}

/// Removes the oldest segment from the view if it may be deleted, and returns it with its rows that are still needed.
/// Never removes the last segment.
fn pop_expired(
    view: &mut View,
    policy: &Retention,
    required: &HashMap<Arc<str>, u64>,
    now: i64,
) -> Option<(Segment, Vec<Lost>)> {
    let size = view.size();
    let oldest = view.segments.front().filter(|_| view.segments.len() > 1)?;
    let age = i64::try_from(policy.age.as_micros()).unwrap_or(i64::MAX);
    let must = size > policy.disk_cap;
    let may = must || size > policy.bytes || oldest.last_time < now.saturating_sub(age);
    if !may {
        return None;
    }
    let needed = needed(view, oldest, required);
    if !needed.is_empty() && !must {
        return None;
    }
    Some((view.pop_front()?, needed))
}

/// Returns the rows of a segment that some consumer still needs.
fn needed(view: &View, segment: &Segment, required: &HashMap<Arc<str>, u64>) -> Vec<Lost> {
    let of_topic = |(id, span): (&u16, &Span)| {
        let topic = view.topic(*id)?.name.clone();
        let from = *required.get(&topic)?;
        let range = (from.max(span.first), span.end - 1);
        (from < span.end).then_some(Lost {
            topic: Some(topic),
            range: Some(range),
            from: span.times.0,
            to: span.times.1,
        })
    };
    segment.spans.iter().filter_map(of_topic).collect()
}
