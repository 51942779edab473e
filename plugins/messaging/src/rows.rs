//! The rows of the messaging topics, with the fields of `schemas/`.

use greyhound_sdk::{Bus, Publisher, Refused, SchemaError, Share, TopicSchema, UnknownTopic};
use serde::{Serialize, Serializer};
use std::time::{SystemTime, UNIX_EPOCH};

/// The topics. Each comes after the topics that its rows refer to.
pub(crate) fn topics() -> Result<Vec<TopicSchema>, SchemaError> {
    let schemas = [
        include_str!("../../../schemas/messaging.connection.avsc"),
        include_str!("../../../schemas/messaging.auth.avsc"),
        include_str!("../../../schemas/messaging.message.avsc"),
        include_str!("../../../schemas/messaging.delivery.avsc"),
        include_str!("../../../schemas/messaging.push.avsc"),
        include_str!("../../../schemas/messaging.membership.avsc"),
        include_str!("../../../schemas/messaging.revocation.avsc"),
    ];
    schemas.into_iter().map(TopicSchema::from_avro).collect()
}

/// The publishers of the topics.
pub(crate) struct Topics {
    pub(crate) connection: Publisher,
    pub(crate) auth: Publisher,
    pub(crate) message: Publisher,
    pub(crate) delivery: Publisher,
    pub(crate) push: Publisher,
    membership: Publisher,
    pub(crate) revocation: Publisher,
    gap: Publisher,
}

impl Topics {
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        use greyhound_sdk::testing::memory::MemoryBus;
        let gap = TopicSchema::from_avro(include_str!("../../../schemas/greyhound.gap.avsc")).unwrap();
        let all = topics().unwrap().into_iter().chain([gap]).collect();
        Self::new(&MemoryBus::new(all).bus()).unwrap()
    }

    pub(crate) fn new(bus: &Bus) -> Result<Self, UnknownTopic> {
        Ok(Self {
            connection: bus.publisher("messaging.connection")?,
            auth: bus.publisher("messaging.auth")?,
            message: bus.publisher("messaging.message")?,
            delivery: bus.publisher("messaging.delivery")?,
            push: bus.publisher("messaging.push")?,
            membership: bus.publisher("messaging.membership")?,
            revocation: bus.publisher("messaging.revocation")?,
            gap: bus.publisher("greyhound.gap")?,
        })
    }

    /// Publishes a row of `messaging.connection`.
    pub(crate) fn offer_connection(&self, share: Share<'_>, row: &ConnectionRow<'_>) -> Result<u64, Refused> {
        let texts = [row.agent, row.origin].into_iter().flatten().map(str::len).sum();
        self.connection.offer_from(share, texts, row)
    }

    /// Publishes a row of `messaging.auth`.
    pub(crate) fn offer_auth(&self, share: Share<'_>, row: &AuthRow<'_>) -> Result<u64, Refused> {
        self.auth.offer_from(share, row.agent.map_or(0, str::len), row)
    }

    /// Publishes a row of `messaging.membership`.
    pub(crate) fn offer_membership(&self, share: Share<'_>, row: &MembershipRow<'_>) -> Result<u64, Refused> {
        self.membership.offer_from(share, row.room.len(), row)
    }

    /// Records that messages were missed between `from` and `to`, with their number if known.
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

/// An enum of a topic's schema. On the bus it is the index of its symbol.
macro_rules! symbols {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $index:literal $symbol:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(i8)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant = $index,)+ }

        impl $name {
            /// The symbol, as in the tables and metrics.
            #[allow(dead_code, reason = "some enums are not labels of a metric")]
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $symbol,)+ }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i8(*self as i8)
            }
        }
    };
}

symbols!(
    /// The event of a row of `messaging.connection`.
    ConnectionEvent {
        Opened = 0 "opened",
        Closed = 1 "closed",
    }
);

symbols!(
    /// The outcome of an authentication attempt.
    AuthOutcome {
        Accepted = 0 "accepted",
        Refused = 1 "refused",
        Expired = 2 "expired",
        Revoked = 3 "revoked",
        Timeout = 4 "timeout",
    }
);

symbols!(
    /// How a client authenticated.
    AuthMethod {
        Event = 0 "event",
        Handshake = 1 "handshake",
    }
);

symbols!(
    /// The outcome of a delivery, as far as known.
    DeliveryOutcome {
        Queued = 0 "queued",
        Dropped = 1 "dropped",
        Acked = 2 "acked",
        Unsent = 3 "unsent",
    }
);

symbols!(
    /// What became of a push.
    PushOutcome {
        Accepted = 0 "accepted",
        Refused = 1 "refused",
    }
);

symbols!(
    /// The event of a row of `messaging.membership`.
    MembershipEvent {
        Joined = 0 "joined",
        Left = 1 "left",
        Refused = 2 "refused",
    }
);

symbols!(
    /// Who or what changed the rooms of a socket.
    MembershipCause {
        Authentication = 0 "authentication",
        Client = 1 "client",
        Server = 2 "server",
    }
);

symbols!(
    /// The event of a row of `messaging.revocation`.
    RevocationEvent {
        Revoked = 0 "revoked",
        Withdrawn = 1 "withdrawn",
    }
);

#[derive(Serialize)]
pub(crate) struct ConnectionRow<'a> {
    pub(crate) event: ConnectionEvent,
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

impl ConnectionRow<'_> {
    /// A row with this event and no other values.
    pub(crate) fn of(event: ConnectionEvent) -> Self {
        Self {
            event,
            connection_seq: None,
            namespace: "",
            transport: "",
            protocol: 0,
            address: None,
            agent: None,
            origin: None,
            user_id: None,
            reason: None,
            duration_ms: None,
            received_bytes: None,
            sent_bytes: None,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct AuthRow<'a> {
    pub(crate) connection_seq: Option<i64>,
    pub(crate) outcome: AuthOutcome,
    pub(crate) method: Option<AuthMethod>,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) site: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) address: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
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
    pub(crate) outcome: DeliveryOutcome,
    pub(crate) latency_us: i32,
}

#[derive(Serialize)]
pub(crate) struct PushRow<'a> {
    pub(crate) connection_seq: i64,
    pub(crate) user_id: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) event: &'a str,
    pub(crate) size_bytes: i64,
    pub(crate) data: Option<&'a str>,
    pub(crate) outcome: PushOutcome,
    pub(crate) reason: Option<&'a str>,
}

#[derive(Serialize)]
pub(crate) struct MembershipRow<'a> {
    pub(crate) connection_seq: i64,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) namespace: &'a str,
    pub(crate) room: &'a str,
    pub(crate) event: MembershipEvent,
    pub(crate) cause: MembershipCause,
    pub(crate) reason: Option<&'a str>,
}

#[derive(Serialize)]
pub(crate) struct RevocationRow<'a> {
    pub(crate) event: RevocationEvent,
    pub(crate) revoked_at: i64,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) jti: Option<&'a str>,
    pub(crate) sid: Option<&'a str>,
    pub(crate) issued_before: Option<i64>,
    pub(crate) source: &'a str,
}

/// The number of a row as the value of a column.
pub(crate) fn column(seq: u64) -> i64 {
    i64::try_from(seq).expect("a shard has fewer than 2^63 rows")
}

/// The number of a row, whether it was recorded or shed.
pub(crate) fn numbered(offered: Result<u64, Refused>) -> Option<u64> {
    match offered {
        Ok(seq) => Some(seq),
        Err(Refused::Shed { first, .. }) => first,
        Err(unfit @ Refused::Schema { .. }) => {
            tracing::error!(error = %unfit, "a row of the gateway does not fit its schema");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indices_of_the_symbols_match_the_schemas() {
        let topics = topics().unwrap();
        let check = |topic: usize, field: &str, index: i8, name: &str| {
            assert_eq!(topics[topic].symbol(field, name), Some(index), "{field}: {name}");
        };
        ConnectionEvent::ALL.iter().for_each(|it| check(0, "event", *it as i8, it.name()));
        AuthOutcome::ALL.iter().for_each(|it| check(1, "outcome", *it as i8, it.name()));
        AuthMethod::ALL.iter().for_each(|it| check(1, "method", *it as i8, it.name()));
        DeliveryOutcome::ALL.iter().for_each(|it| check(3, "outcome", *it as i8, it.name()));
        PushOutcome::ALL.iter().for_each(|it| check(4, "outcome", *it as i8, it.name()));
        MembershipEvent::ALL.iter().for_each(|it| check(5, "event", *it as i8, it.name()));
        MembershipCause::ALL.iter().for_each(|it| check(5, "cause", *it as i8, it.name()));
        RevocationEvent::ALL.iter().for_each(|it| check(6, "event", *it as i8, it.name()));
    }
}
