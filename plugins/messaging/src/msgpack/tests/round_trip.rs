//! Converts JSON to msgpack and back.

use super::*;
use proptest::prelude::*;

fn returned(text: &str, attachments: &[Bytes]) -> Json {
    to_json(&packed(text, attachments).unwrap_or_else(|e| panic!("{e}: {text}")))
        .unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn assert_returns(text: &str, attachments: &[Bytes]) {
    let json = returned(text, attachments);
    assert_eq!(value(&json.text, &json.attachments), json!({"data": value(text, attachments)}), "{text}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-300..300_i64).prop_map(Value::from)
    ];
    let text = prop_oneof![".{0,40}", "[a-z\"\\\\\n]{0,70}"].prop_map(Value::from);
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, text];
    leaf.prop_recursive(6, 200, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::hash_map(".{0,40}", inner, 0..20).prop_map(|fields| fields.into_iter().collect())
        ]
    })
}

proptest! {
    #[test]
    fn any_value_survives_a_round_trip(json in any_json()) {
        assert_returns(&json.to_string(), &[]);
        assert_returns(&format!("{json:#}"), &[Bytes::from_static(b"beside it")]);
    }

    #[test]
    fn any_text_is_encoded_or_refused(text in ".*", escapes in "([a\"]|\\\\u?[dD89ab]{0,4}){0,20}") {
        for text in [&text, &escapes, &format!("\"{text}\""), &format!("\"{escapes}\"")] {
            let _ = packed(text, &[]);
            let _ = packed(text, &[Bytes::new()]);
        }
    }
}

#[test]
fn fixtures_survive_a_round_trip_with_their_attachments() {
    for fixture in fixtures::all() {
        let json = to_json(&fixture.body()).unwrap();
        assert_returns(&json.text, &json.attachments);
    }
}

#[test]
fn placeholders_without_attachment_are_kept() {
    let text = r#"[{"_placeholder":true,"num":1},{"_placeholder":true,"num":-1},{"_placeholder":1,"num":0},{"_placeholder":true,"num":0}]"#;
    let json = returned(text, &[Bytes::from_static(b"abc")]);
    assert_eq!(json.attachments, [Bytes::from_static(b"abc")]);
    assert_returns(text, &[Bytes::from_static(b"abc")]);
    assert_eq!(returned(text, &[]).attachments, [] as [Bytes; 0]);
    assert_returns(text, &[]);
}

#[test]
fn unpaired_surrogates_become_replacement_characters() {
    let cases = [
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\udE00!""#, "\u{fffd}!"),
        (r#""\ud83d\ud83d\ude00\n""#, "\u{fffd}😀\n"),
        (r#""\ud83dx\\ud83d\u0041""#, "\u{fffd}x\\ud83dA"),
        (r#""\\\ud83d""#, "\\\u{fffd}"),
    ];
    for (text, expected) in cases {
        for attachments in [&[][..], &[Bytes::new()]] {
            assert_eq!(value(&returned(text, attachments).text, &[]), json!({ "data": expected }), "{text}");
        }
    }
}

#[test]
fn invalid_or_deeply_nested_json_is_refused() {
    let nested = |depth| [&*"[".repeat(depth), &"]".repeat(depth)].concat();
    for attachments in [&[][..], &[Bytes::new()]] {
        for text in ["", "[", "{} {}", "[1,]", "nul", "1e999", "\"\\é\"", "\"\u{1}\"", "\"\\ud8", &nested(128)] {
            assert!(packed(text, attachments).is_err(), "{text}");
        }
        assert!(packed(&nested(127), attachments).is_ok());
    }
}
