//! Malformed and hostile bodies.

use super::malformed::{ATTACHMENTS_MAX, DEPTH_MAX};
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::thread;

/// Decodes a body, and checks that the JSON is valid and not much larger than the body.
fn survive(body: Vec<u8>) -> Result<Json, Malformed> {
    let len = body.len();
    let result = read(body);
    if let Ok(json) = &result {
        assert!(json.text.len() <= 64 * len, "{len} bytes became {}", json.text.len());
        serde_json::from_str::<serde::de::IgnoredAny>(&json.text)
            .map_or_else(|e| assert!(e.to_string().contains("recursion"), "{e}"), drop);
    }
    result
}

#[test]
fn attachments_are_limited() {
    let body = |count: u32| [&b"\xdd"[..], &count.to_be_bytes(), &b"\xc4\x00".repeat(count as usize)].concat();
    let most = u32::try_from(ATTACHMENTS_MAX).unwrap();
    assert_eq!(survive(body(most)).unwrap().attachments.len(), ATTACHMENTS_MAX);
    assert!(survive(body(most + 1)).is_err());
}

#[test]
fn depth_is_limited() {
    // Elements of arrays and fields of maps, in every width of length and in either dialect.
    let heads: [&[u8]; 6] = [
        b"\x91",
        b"\xdc\x00\x01",
        b"\xdd\x00\x00\x00\x01",
        b"\x81\xa0",
        b"\xde\x00\x01\xa0",
        b"\xdf\x00\x00\x00\x01\xa0",
    ];
    let within_half_a_workers_stack = move || {
        for head in heads {
            for end in [&b"\xc0"[..], b"\xc4"] {
                assert!(survive([&head.repeat(DEPTH_MAX), end].concat()).is_ok(), "{head:x?}");
                let at = head.len() * DEPTH_MAX;
                assert_eq!(survive([&head.repeat(DEPTH_MAX + 1), end].concat()), Err(Malformed::Deep { at }));
                assert_eq!(survive([&head.repeat(1_000_000), end].concat()), Err(Malformed::Deep { at }));
            }
        }
        assert!(packed(&["[".repeat(1_000_000), "]".repeat(1_000_000)].concat(), &[]).is_err());
        assert!(packed(&["[".repeat(1_000_000), "]".repeat(1_000_000)].concat(), &[Bytes::new()]).is_err());
    };
    thread::Builder::new().stack_size(1 << 20).spawn(within_half_a_workers_stack).unwrap().join().unwrap();
}

#[test]
fn nested_extensions_are_not_decoded_recursively() {
    // Each is a date of msgpack-lite, whose body should be a number but is another one.
    let levels = 0..200_000_u32;
    let heads = levels.rev().flat_map(|level| [&[0xc9][..], &(6 * level + 1).to_be_bytes(), &[0x0d]].concat());
    let body = heads.chain([0xc0]).collect();
    assert_eq!(survive(body).unwrap().attachments.len(), 1);
}

#[test]
fn a_length_beyond_the_body_is_refused() {
    for marker in 0..=u8::MAX {
        for filler in [0x00, 0x7f, 0x80, 0xc0, 0xff] {
            for len in 0..40 {
                let _ = survive([&[marker][..], &vec![filler; len]].concat());
            }
        }
    }
    for marker in [0xc6, 0xc9, 0xd9, 0xdb, 0xdd, 0xdf] {
        assert!(survive([&[marker, 0xff, 0xff, 0xff, 0xff][..], &[0; 100]].concat()).is_err(), "{marker:x}");
    }
    // Heads of arrays: the body is long enough for each of them, but not for all.
    let bomb = b"\xdd\x00\x00\x10\x00".repeat(500);
    assert!(matches!(
        survive([bomb, vec![0; 8192]].concat()),
        Err(Malformed::Trailing { .. } | Malformed::Truncated { .. } | Malformed::Deep { .. })
    ));
}

#[test]
fn values_that_grow_the_most_stay_within_bounds() {
    for unit in [
        &b"\xc4\x00"[..],
        b"\xd8\x00\x00",
        b"\xd4\x7f\x00",
        b"\xd4\x0d\x00",
        b"\xc7\x00\x80",
        b"\xa1\x00",
        b"\xca\x00\x00\x00\x01",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let count = u32::try_from(ATTACHMENTS_MAX).unwrap();
        let json = survive([&[0xdd][..], &count.to_be_bytes(), &unit.repeat(count as usize)].concat()).unwrap();
        assert!(json.attachments.is_empty() || json.attachments.len() == count as usize);
    }
}

#[test]
fn errors_name_the_problem_and_the_position() {
    let error = |body: &'static [u8]| read(body).unwrap_err().to_string();
    assert_eq!(error(b""), "1 bytes are needed at byte 0, but only 0 are left");
    assert_eq!(error(b"\xa5abc"), "5 bytes are needed at byte 1, but only 3 are left");
    assert_eq!(error(b"\x92\x01\xc1"), "byte 2 is 0xc1, which begins no value");
    assert_eq!(
        error(b"\x82\xa1a\x01\x90\x02"),
        "the map key at byte 4 is not a text, binary value, number, boolean or nil"
    );
    assert_eq!(error(b"\x01\x02\x03"), "2 bytes follow the value, from byte 1");
    assert_eq!(error(&[0x91; 600]), "the value at byte 512 is nested deeper than 512 levels");
}

#[test]
fn keys_of_other_types_become_texts_as_in_node() {
    let text = |body: &'static [u8]| read(body).unwrap().text;
    assert_eq!(
        text(b"\x82\xc4\x04type\x02\xc5\x00\x03nsp\xc4\x01/"),
        r#"{"type":2,"nsp":{"_placeholder":true,"num":0}}"#
    );
    assert_eq!(
        text(b"\x83\xc4\x01\xff\x01\xc4\x02\"\\\x02\xc6\x00\x00\x00\x00\xc0"),
        "{\"\u{fffd}\":1,\"\\\"\\\\\":2,\"\":null}"
    );
    assert_eq!(text(b"\x84\x2a\x01\xff\x02\xc2\x03\xc0\x04"), r#"{"42":1,"-1":2,"false":3,"null":4}"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = survive(body);
    }

    /// Mostly heads of values and small lengths.
    #[test]
    fn any_heads_are_decoded_or_refused(body in prop::collection::vec(prop_oneof![0x80_u8..0xa4, 0xc0_u8..0xe0, 0_u8..4], 0..200)) {
        let _ = survive(body);
    }
}

#[test]
fn damaged_fixtures_are_decoded_or_refused() {
    let bodies: Vec<_> =
        fixtures::all().iter().map(fixtures::Fixture::body).filter(|body| body.len() < 2_000).collect();
    let damage = (any::<Index>(), any::<Index>(), any::<Index>(), any::<Index>(), 0..8_u8, 0..4_u8);
    proptest!(ProptestConfig::with_cases(20_000), |((one, other, at, other_at, bit, way) in damage)| {
        let (body, other) = (one.get(&bodies), other.get(&bodies));
        let (at, other_at) = (at.index(body.len()), other_at.index(other.len()));
        let damaged = match way {
            0 => body[..at].to_vec(),
            1 => [&body[..at], &other[other_at..]].concat(),
            2 => [&body[..at], &other[..other_at], &body[at..]].concat(),
            _ => [&body[..at], &[body[at] ^ (1 << bit)], &body[at + 1..]].concat(),
        };
        let _ = survive(damaged);
    });
}
