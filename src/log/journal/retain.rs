//! Lets old segments go.

use super::Shared;
use super::segment::Segment;
use super::view::View;
use crate::log::{Lost, Retention};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Deletes the oldest segments as far as `policy` lets them go. Returns what was still needed.
pub(super) fn retain(shared: &Shared, policy: &Retention, required: &HashMap<Arc<str>, u64>, now: i64) -> Vec<Lost> {
    let mut lost = Vec::new();
    let next = || let_go(&mut shared.view.write(), policy, required, now);
    while let Some((gone, needed)) = next() {
        if let Err(e) = delete(shared, &gone) {
            tracing::warn!(segment = gone.base, error = %e, "an old segment of the journal cannot be deleted; it is tried again later");
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
    // One after the other: a power cut must not bring back an older one without those that follow it.
    shared.directory.sync()
}

/// Takes the oldest segment out of the view, if it may go, and tells what of it is still needed. The last one stays.
fn let_go(
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

/// The rows of a segment that some consumer has not read.
fn needed(view: &View, segment: &Segment, required: &HashMap<Arc<str>, u64>) -> Vec<Lost> {
    let of_topic = |(id, span): (&u16, &super::segment::Span)| {
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
