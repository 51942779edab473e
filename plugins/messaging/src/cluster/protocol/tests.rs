use super::packet::Dialect;
use super::*;
use crate::config::{RedisConfig, SubscriptionMode};
use crate::msgpack::Json;
use crate::remote_socket::RemoteSocket;
use proptest::prelude::*;
use rmp_serde::to_vec_named;
use serde_json::json;
use serde_json::value::RawValue;
use std::time::Duration;

fn protocol(mode: Mode, uid: &str) -> Protocol {
    Protocol::new(&RedisConfig { mode, ..RedisConfig::default() }, uid.into())
}

fn read(mode: Mode, channel: &str, body: impl Into<Bytes>) -> Result<Received, Malformed> {
    protocol(mode, "us").read(channel, &body.into())
}

fn message(channel: &str, body: impl Into<Bytes>) -> Message {
    match read(Mode::Classic, channel, body).unwrap() {
        Received::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

fn pack(value: &serde_json::Value) -> Vec<u8> {
    to_vec_named(value).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn event() -> Event {
    Event::parse(r#"["news",{"a":[1,null]},"ü"]"#, Vec::new()).unwrap()
}

fn binary() -> Event {
    Event::parse(r#"["file",{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(b"\x00\xff")]).unwrap()
}

fn target() -> Target {
    Target { rooms: names(&["a", "b"]), except: names(&["c"]), volatile: true }
}

/// Publishes as one member, and decodes as another.
fn transmit(mode: Mode, publish: impl Fn(&Protocol) -> Publication) -> Received {
    let Publication { channel, body, sharded } = publish(&protocol(mode, "them"));
    assert_eq!(sharded, mode == Mode::Sharded);
    let own = protocol(mode, "them").read(&channel, &body).unwrap();
    assert!(
        matches!(own, Received::NotForUs | Received::Answer { .. }),
        "a member ignores its own publications: {own:?}"
    );
    read(mode, &channel, body).unwrap()
}

#[test]
fn a_captured_message_of_an_emitter_before_1_is_read() {
    let hex = "9283a47479706502a46461746192a76d657373616765b8323032362d30312d30325430333a30343a30352e3030305aa36e7370a12f\
               82a5726f6f6d7391a775736572283129a5666c61677380";
    let body: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let it = message("socket.io#emitter", body);
    assert_eq!((it.source, it.publisher, it.namespace.as_str(), it.channel_room), ("emitter 0.x", None, "/", None));
    assert_eq!(it.event.text, r#"["message","2026-01-02T03:04:05.000Z"]"#);
    assert_eq!(it.target, Target::room("user(1)".into()));
}

#[test]
fn the_source_is_recognized_by_the_message() {
    let packet = json!({"type": 2, "data": ["x"], "nsp": "/"});
    let source = |body: serde_json::Value| message("socket.io#/#", pack(&body)).source;
    assert_eq!(source(json!(["emitter", packet, {"rooms": [], "flags": {}}])), "emitter 1-3");
    assert_eq!(source(json!(["emitter", packet, {"rooms": [], "flags": {}, "except": []}])), "emitter 4-5");
    assert_eq!(source(json!(["abcdef", packet, {"rooms": [], "except": [], "flags": {}}])), "node");
    assert_eq!(source(json!(["abcdef", packet, {"rooms": [], "flags": {}, "greyhound": "n-1:2"}])), "greyhound");
    assert_eq!(source(json!([packet, {"rooms": [], "flags": {}}])), "emitter 0.x");
}

#[test]
fn a_map_is_a_message() {
    let it = |body: serde_json::Value| {
        let it = message("socket.io#emitter", pack(&body));
        (it.event.text, it.target.rooms)
    };
    let rooms = || names(&["user(1)"]);
    assert_eq!(it(json!({"data": ["news", 1], "room": "user(1)"})), (r#"["news",1]"#.into(), rooms()));
    assert_eq!(
        it(json!({"data": {"text": "hi"}, "room": ["user(1)"]})),
        (r#"["message",{"text":"hi"}]"#.into(), rooms())
    );
    assert_eq!(it(json!({"data": "hi", "rooms": ["user(1)"]})), (r#"["message","hi"]"#.into(), rooms()));
    assert_eq!(it(json!({"data": [1, 2], "room": ""})), (r#"["message",[1,2]]"#.into(), Vec::new()));
}

#[test]
fn a_map_must_have_rooms_and_be_on_the_channel_of_old_emitters() {
    let map = json!({"data": ["x"], "room": "a"});
    assert!(read(Mode::Classic, "socket.io#emitter", pack(&json!({"data": ["x"]}))).is_err(), "without rooms");
    assert!(read(Mode::Classic, "socket.io#/#", pack(&map)).is_err());
    assert!(read(Mode::Classic, "socket.io#emitter", map.to_string()).is_err(), "JSON");
}

#[test]
fn empty_values_of_any_type_mean_no_flags_and_no_rooms() {
    for none in [json!([]), json!({}), json!(""), json!(null)] {
        let options = json!({"rooms": none, "flags": none, "except": none});
        let body = pack(&json!(["emitter", {"data": ["x"]}, options]));
        assert_eq!(message("socket.io#/#", body).target, Target::default());
    }
    let body =
        pack(&json!(["emitter", {"data": ["x"]}, {"rooms": ["a", 7], "flags": {"volatile": true, "json": true}}]));
    assert_eq!(
        message("socket.io#/#", body).target,
        Target { rooms: names(&["a", "7"]), except: vec![], volatile: true }
    );
}

#[test]
fn the_channel_names_the_room() {
    let body = pack(&json!(["emitter", {"data": ["x"], "nsp": "/chat"}, {"rooms": ["a#b", "c"]}]));
    let it = message("socket.io#/chat#a#b#", body.clone());
    assert_eq!((it.namespace.as_str(), it.channel_room.as_deref()), ("/chat", Some("a#b")));
    assert_eq!(message("socket.io#/chat#", body.clone()).channel_room, None);
    assert!(
        matches!(read(Mode::Classic, "socket.io#/other#", body), Ok(Received::NotForUs)),
        "the packet is for /chat"
    );
}

#[test]
fn invalid_messages_are_refused() {
    let packet = json!({"data": ["x"]});
    let refused = [
        json!(null),
        json!(1),
        json!("text"),
        json!([]),
        json!([packet]),
        json!({}),
        json!(["emitter", packet, null]),
        json!(["emitter", null, {}]),
        json!(["emitter", {"data": "x"}, {}]),
        json!(["emitter", {"data": []}, {}]),
        json!(["emitter", packet, {"rooms": [{}]}]),
        json!(["emitter", packet, {"rooms": {"a": 1}}]),
    ];
    for body in refused {
        assert!(read(Mode::Classic, "socket.io#/#", pack(&body)).is_err(), "{body}");
    }
    assert!(read(Mode::Classic, "elsewhere", pack(&json!([]))).is_err());
    // Binary data outside the event has no meaning.
    let hidden = [&b"\x93\xa1u"[..], &pack(&packet), b"\x81\xa1x\xc4\x01x"].concat();
    assert!(matches!(read(Mode::Classic, "socket.io#/#", hidden), Err(Malformed::Binary)));
}

#[test]
fn messages_arrive_as_they_were_sent() {
    for mode in [Mode::Classic, Mode::Sharded] {
        for (event, origin) in [(event(), Some("n-1:7")), (binary(), None)] {
            let arrived = transmit(mode, |them| them.message("/chat", &event, &target(), origin).unwrap());
            let Received::Message(it) = arrived else { panic!("{arrived:?}") };
            assert_eq!((it.event, it.target, it.origin.as_deref()), (event, target(), origin));
            assert_eq!(
                (it.namespace.as_str(), it.publisher.as_deref(), it.channel_room),
                ("/chat", Some("them"), None)
            );
        }
    }
}

#[test]
fn a_message_to_one_room_uses_the_rooms_channel() {
    let channel = |mode, rooms, names_: &[&str]| {
        let protocol =
            Protocol::new(&RedisConfig { mode, subscription: Some(rooms), ..RedisConfig::default() }, "us".into());
        let to = Target { rooms: names(names_), ..Target::default() };
        protocol.message("/", &event(), &to, None).unwrap().channel
    };
    let id = "twenty characters ab";
    assert_eq!(channel(Mode::Classic, SubscriptionMode::Pattern, &["a"]), "socket.io#/#a#");
    assert_eq!(channel(Mode::Classic, SubscriptionMode::Rooms, &["a", "b"]), "socket.io#/#");
    assert_eq!(channel(Mode::Sharded, SubscriptionMode::Dynamic, &["a"]), "socket.io#/#a#");
    assert_eq!(channel(Mode::Sharded, SubscriptionMode::Dynamic, &[id]), "socket.io#/#");
    assert_eq!(channel(Mode::Sharded, SubscriptionMode::DynamicPrivate, &[id]), format!("socket.io#/#{id}#"));
    assert_eq!(channel(Mode::Sharded, SubscriptionMode::Static, &["a"]), "socket.io#/#");
}

#[test]
fn requests_arrive_as_they_were_sent() {
    let timeout = Duration::from_millis(1500);
    let requests = || {
        let rooms = || names(&["x"]);
        vec![
            Request::Emit(Emit { event: event(), target: target(), timeout, origin: Some("n-1:7".into()) }),
            Request::Emit(Emit { event: binary(), target: target(), timeout, origin: None }),
            Request::Join { target: target(), rooms: rooms() },
            Request::Leave { target: target(), rooms: rooms() },
            Request::Disconnect { target: target(), close: true },
            Request::Sockets(target()),
            Request::ServerSide(r#"["hello",1]"#.into()),
            Request::Rooms,
        ]
    };
    let sent = |request: &Request| format!("{request:?}");
    for mode in [Mode::Classic, Mode::Sharded] {
        for request in requests() {
            if mode == Mode::Sharded && matches!(request, Request::Rooms) {
                continue;
            }
            let arrived = transmit(mode, |them| them.request("/chat", &request, Some("id")).unwrap());
            let Received::Request { namespace, request: got, reply_to } = arrived else { panic!("{arrived:?}") };
            assert_eq!((namespace.as_str(), sent(&got)), ("/chat", sent(&request)));
            let reply_to = reply_to.unwrap();
            assert_eq!((reply_to.id.as_str(), reply_to.uid()), ("id", Some("them")));
        }
    }
}

#[test]
fn answers_arrive_as_they_were_sent() {
    let raw = |text: &str| RawValue::from_string(text.into()).unwrap();
    let socket = || RemoteSocket {
        id: "s".into(),
        handshake: raw(r#"{"issued":1}"#),
        rooms: names(&["s", "a"]),
        data: raw(r#"{"user":"1"}"#),
    };
    let ack =
        |text: &str, attachments: Vec<Bytes>| Answer::Ack(Json { text: text.into(), attachments, placed: Vec::new() });
    let answers = || {
        vec![
            Answer::Sockets(vec![socket(), socket()]),
            Answer::Clients(3),
            ack(r#"{"got":[1,2]}"#, Vec::new()),
            ack(r#"{"_placeholder":true,"num":0}"#, vec![Bytes::from_static(b"\x01")]),
            Answer::ServerSide("\"yes\"".into()),
            Answer::Rooms(names(&["a", "b"])),
        ]
    };
    let said = |answer: &Answer| match answer {
        Answer::Ack(Json { text, attachments, .. }) => format!("{text} {attachments:?}"),
        answer => format!("{answer:?}"),
    };
    let to = ReplyTo { id: "id".into(), uid: Some("us".into()), dialect: Dialect::New };
    for mode in [Mode::Classic, Mode::Sharded] {
        for answer in answers() {
            if mode == Mode::Sharded && matches!(answer, Answer::Rooms(_)) {
                continue;
            }
            let Publication { channel, body, .. } = protocol(mode, "them").answer("/chat", &to, &answer).unwrap();
            let arrived = read(mode, &channel, body).unwrap();
            let Received::Answer { id, answer: got } = arrived else { panic!("{arrived:?}") };
            assert_eq!((id.as_str(), said(&got)), ("id", said(&answer)));
        }
    }
}

#[test]
fn requests_before_6_have_other_types() {
    let asked = |body: serde_json::Value| match read(Mode::Classic, "socket.io-request#/#", body.to_string()).unwrap() {
        Received::Request { request, reply_to, .. } => (format!("{request:?}"), reply_to),
        other => panic!("{other:?}"),
    };
    let room = |room: &str| Target::room(room.into());
    let (old, reply_to) = asked(json!({"requestid": "x", "type": 2}));
    assert_eq!(old, format!("{:?}", Request::Rooms));
    let answered =
        protocol(Mode::Classic, "us").answer("/", &reply_to.unwrap(), &Answer::SocketIds(names(&["a"]))).unwrap();
    assert_eq!(
        (answered.channel.as_str(), &*answered.body),
        ("socket.io-response#/#", &br#"{"requestid":"x","clients":["a"]}"#[..])
    );
    assert_eq!(
        asked(json!({"requestid": "x", "type": 3, "sid": "s", "room": "r"})).0,
        format!("{:?}", Request::Join { target: room("s"), rooms: names(&["r"]) })
    );
    assert_eq!(
        asked(json!({"requestid": "x", "type": 6, "sid": "s"})).0,
        format!("{:?}", Request::Disconnect { target: room("s"), close: false })
    );
    assert_eq!(
        asked(json!({"requestid": "x", "type": 1, "sid": "s"})).0,
        format!("{:?}", Request::RoomsOf("s".into()))
    );
    // Between 6 and 7, a request in the new format names one socket.
    assert_eq!(
        asked(json!({"requestId": "x", "type": 3, "sid": "s", "room": "r"})).0,
        format!("{:?}", Request::Leave { target: room("s"), rooms: names(&["r"]) })
    );
    // Emitters expect no answer.
    let (joined, reply_to) = asked(json!({"type": 2, "opts": {"rooms": ["a"], "except": []}, "rooms": ["b"]}));
    assert_eq!(
        (joined, reply_to.is_none()),
        (format!("{:?}", Request::Join { target: room("a"), rooms: names(&["b"]) }), true)
    );
}

#[test]
fn a_request_without_a_target_is_not_for_everybody() {
    for kind in 2..=7 {
        if kind != 6 {
            let body = json!({"uid": "x", "type": kind, "requestId": "id", "packet": {"data": ["x"]}}).to_string();
            assert!(
                matches!(read(Mode::Classic, "socket.io-request#/#", body), Ok(Received::NotForUs)),
                "classic {kind}"
            );
            let body =
                json!({"uid": "x", "nsp": "/", "type": kind, "data": {"requestId": "id", "packet": {"data": ["x"]}}})
                    .to_string();
            assert!(matches!(read(Mode::Sharded, "socket.io#/#", body), Ok(Received::NotForUs)), "sharded {kind}");
        }
    }
}

#[test]
fn names_are_escaped_in_globs() {
    assert_eq!(escape("/a*[b]?\\"), "/a\\*\\[b\\]\\?\\\\");
}

#[test]
fn probes_are_recognized() {
    let us = protocol(Mode::Classic, "us");
    let probe = us.probe(format!("{}7", us.probe_prefix()), 42);
    assert!(matches!(us.read(&probe.channel, &probe.body), Ok(Received::Probe(42))));
    assert!(matches!(us.read(&probe.channel, &Bytes::from_static(b"junk")), Ok(Received::NotForUs)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_publication_is_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200), at in 0..8_usize) {
        let channels = ["socket.io#/#", "socket.io#/#a#", "socket.io#emitter", "socket.io-request#/#", "socket.io-response#/#", "socket.io-response#/#us#", "socket.io#", "x"];
        for mode in [Mode::Classic, Mode::Sharded] {
            let _ = read(mode, channels[at], body.clone());
        }
    }

    #[test]
    fn damaged_publications_are_decoded_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), kind in 0..14_u8, cut in any::<prop::sample::Index>()) {
        for mode in [Mode::Classic, Mode::Sharded] {
            let them = protocol(mode, "them");
            let Ok(Publication { channel, body, .. }) = (match kind {
                0 => them.message("/", &event(), &target(), Some("n-1:7")),
                1 => them.message("/", &binary(), &target(), None),
                2 => them.request("/", &Request::Emit(Emit { event: binary(), target: target(), timeout: Duration::ZERO, origin: None }), Some("id")),
                3 => them.request("/", &Request::Join { target: target(), rooms: names(&["x"]) }, None),
                4 => them.request("/", &Request::Sockets(target()), Some("id")),
                _ => them.answer("/", &ReplyTo { id: "id".into(), uid: None, dialect: Dialect::New }, &Answer::Clients(u64::from(kind))),
            }) else { continue };
            let mut body = body.to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            let _ = read(mode, &channel, body.clone());
            body.truncate(cut.index(body.len()));
            let _ = read(mode, &channel, body);
        }
    }
}
