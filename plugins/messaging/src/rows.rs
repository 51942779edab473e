//! The rows of the messaging topics, field by field as in `schemas/`.

use greyhound_sdk::{Bus, Publisher, Refused, SchemaError, Share, TopicSchema, UnknownTopic};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::outlet::numbered;

/// The topics, each after those whose rows its own rows name.
pub(crate) fn topics() -> Result<Vec<TopicSchema>, SchemaError> {
    let schemas = [
        include_str!("../../../schemas/messaging.connection.avsc"),
        include_str!("../../../schemas/messaging.auth.avsc"),
        include_str!("../../../schemas/messaging.message.avsc"),
        include_str!("../../../schemas/messaging.delivery.avsc"),
        include_str!("../../../schemas/messaging.push.avsc"),
    ];
    schemas.into_iter().map(TopicSchema::from_avro).collect()
}

/// A publisher for each topic.
pub(crate) struct Topics {
    pub(crate) connection: Publisher,
    pub(crate) auth: Publisher,
    pub(crate) message: Publisher,
    pub(crate) delivery: Publisher,
    pub(crate) push: Publisher,
    gap: Publisher,
}

impl Topics {
    pub(crate) fn new(bus: &Bus) -> Result<Self, UnknownTopic> {
        Ok(Self {
            connection: bus.publisher("messaging.connection")?,
            auth: bus.publisher("messaging.auth")?,
            message: bus.publisher("messaging.message")?,
            delivery: bus.publisher("messaging.delivery")?,
            push: bus.publisher("messaging.push")?,
            gap: bus.publisher("greyhound.gap")?,
        })
    }

    /// Publishes a row that a client's coming or going causes.
    pub(crate) fn offer_connection(&self, share: Share<'_>, row: &ConnectionRow<'_>) -> Result<u64, Refused> {
        let texts = [row.agent, row.origin].into_iter().flatten().map(str::len).sum();
        self.connection.offer_from(share, texts, row)
    }

    /// Publishes a row that a client's attempt to authenticate causes.
    pub(crate) fn offer_auth(&self, share: Share<'_>, row: &AuthRow<'_>) -> Result<u64, Refused> {
        self.auth.offer_from(share, row.agent.map_or(0, str::len), row)
    }

    /// Records that messages were missed from then to then: how many, where that is known.
    pub(crate) fn missed(&self, reason: &str, count: Option<u64>, from: SystemTime, to: SystemTime) {
        let micros = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
        };
        let gap = GapRow {
            topic: Some("messaging.message"),
            first_seq: None,
            last_seq: None,
            row_count: count.map(column),
            reason,
            from_time: micros(from),
            to_time: micros(to),
        };
        numbered(self.gap.offer(&gap));
    }
}

#[derive(Serialize, Default)]
pub(crate) struct ConnectionRow<'a> {
    pub(crate) event: i8,
    pub(crate) connection_seq: Option<i64>,
    pub(crate) namespace: &'a str,
    pub(crate) transport: &'a str,
    pub(crate) protocol: i32,
    pub(crate) address: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) received_bytes: Option<i64>,
    pub(crate) sent_bytes: Option<i64>,
}

/// `event` of a connection row.
pub(crate) mod connection_event {
    pub(crate) const OPENED: i8 = 0;
    pub(crate) const CLOSED: i8 = 1;
}

#[derive(Serialize)]
pub(crate) struct AuthRow<'a> {
    pub(crate) connection_seq: Option<i64>,
    pub(crate) outcome: i8,
    pub(crate) method: Option<i8>,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) site: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) address: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
}

/// `outcome` of an auth row.
pub(crate) mod auth_outcome {
    pub(crate) const ACCEPTED: i8 = 0;
    pub(crate) const REFUSED: i8 = 1;
    pub(crate) const EXPIRED: i8 = 2;
    pub(crate) const TIMEOUT: i8 = 4;
}

/// `method` of an auth row.
pub(crate) mod auth_method {
    pub(crate) const EVENT: i8 = 0;
    pub(crate) const HANDSHAKE: i8 = 1;
}

#[derive(Serialize)]
pub(crate) struct MessageRow<'a> {
    pub(crate) source: &'a str,
    pub(crate) publisher: Option<&'a str>,
    pub(crate) namespace: &'a str,
    pub(crate) rooms: &'a [String],
    pub(crate) excluded: &'a [String],
    pub(crate) event: &'a str,
    pub(crate) size_bytes: i64,
    pub(crate) recipients: i64,
    pub(crate) data: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    pub(crate) digest: Option<i64>,
    pub(crate) copies: Option<i64>,
}

#[derive(Serialize)]
struct GapRow<'a> {
    topic: Option<&'a str>,
    first_seq: Option<i64>,
    last_seq: Option<i64>,
    row_count: Option<i64>,
    reason: &'a str,
    from_time: i64,
    to_time: i64,
}

#[derive(Serialize)]
pub(crate) struct DeliveryRow<'a> {
    pub(crate) message_seq: i64,
    pub(crate) connection_seq: i64,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) outcome: i8,
    pub(crate) latency_us: i32,
}

/// `outcome` of a delivery row.
pub(crate) mod delivery_outcome {
    pub(crate) const QUEUED: i8 = 0;
    pub(crate) const DROPPED: i8 = 1;
    pub(crate) const ACKED: i8 = 2;
    pub(crate) const UNSENT: i8 = 3;
}

#[derive(Serialize)]
pub(crate) struct PushRow<'a> {
    pub(crate) connection_seq: i64,
    pub(crate) user_id: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) event: &'a str,
    pub(crate) size_bytes: i64,
    pub(crate) data: Option<&'a str>,
}

/// A number of the bus as a column has it.
pub(crate) fn column(seq: u64) -> i64 {
    i64::try_from(seq).expect("a shard has fewer than 2^63 rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_the_symbols_are_those_of_the_schemas() {
        let topics = topics().unwrap();
        let place = |topic: usize, field: &str, symbol: &str| topics[topic].symbol(field, symbol).unwrap();
        assert_eq!(place(0, "event", "closed"), connection_event::CLOSED);
        assert_eq!(place(1, "outcome", "expired"), auth_outcome::EXPIRED);
        assert_eq!(place(1, "outcome", "timeout"), auth_outcome::TIMEOUT);
        assert_eq!(place(1, "method", "handshake"), auth_method::HANDSHAKE);
        assert_eq!(place(3, "outcome", "dropped"), delivery_outcome::DROPPED);
        assert_eq!(place(3, "outcome", "acked"), delivery_outcome::ACKED);
        assert_eq!(place(3, "outcome", "unsent"), delivery_outcome::UNSENT);
    }
}
