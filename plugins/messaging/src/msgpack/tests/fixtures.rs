//! Decodes the bodies that Node's codecs write.

use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Fixture {
    codecs: Vec<String>,
    what: String,
    body: Shortened,
    text: Shortened,
    attachments: Vec<Shortened>,
}

/// A text with its long runs abbreviated.
#[derive(Deserialize)]
#[serde(untagged)]
enum Shortened {
    Whole(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Once(String),
    Times(String, usize),
}

impl Shortened {
    fn text(&self) -> String {
        let part = |part: &Part| match part {
            Part::Once(text) => text.clone(),
            Part::Times(text, times) => text.repeat(*times),
        };
        match self {
            Self::Whole(text) => text.clone(),
            Self::Parts(parts) => parts.iter().map(part).collect(),
        }
    }

    fn bytes(&self) -> Bytes {
        let hex = self.text();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }
}

impl Fixture {
    pub(super) fn body(&self) -> Bytes {
        self.body.bytes()
    }
}

pub(super) fn all() -> Vec<Fixture> {
    include_str!("../fixtures.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_client_gets_what_node_sends() {
    for fixture in all() {
        let name = format!("{} of {:?}", fixture.what, fixture.codecs);
        let json = to_json(&fixture.body()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let attachments: Vec<_> = fixture.attachments.iter().map(Shortened::bytes).collect();
        assert_eq!(value(&json.text, &json.attachments), value(&fixture.text.text(), &attachments), "{name}");
        assert_eq!(json.attachments, attachments, "{name}");
        for (number, at) in json.placed.iter().enumerate() {
            assert!(json.text[*at..].starts_with(&format!(r#"{{"_placeholder":true,"num":{number}}}"#)), "{name}");
        }
        assert_eq!(json.placed.len(), attachments.len(), "{name}");
    }
}

#[test]
fn attachments_are_slices_of_the_body() {
    let body = Bytes::from_static(b"\x92\xc4\x03abc\xc4\x02de");
    let json = to_json(&body).unwrap();
    assert_eq!(json.attachments[0].as_ptr(), body[3..].as_ptr());
    assert_eq!(json.attachments[1].as_ptr(), body[8..].as_ptr());
}

/// The texts are byte for byte JavaScript's, except for numbers beyond its precision.
#[test]
fn numbers_and_escapes_are_written_as_in_javascript() {
    let text = |body: &[u8]| read(body.to_vec()).unwrap().text;
    let float = |number: f64| text(&[&[0xcb], &number.to_be_bytes()[..]].concat());
    let written = [
        (-0.0, "0"),
        (1.0, "1"),
        (-7.0, "-7"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e-7, "-1.5e-7"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (1e16, "10000000000000000"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (-1.25e300, "-1.25e+300"),
        (f64::NAN, "null"),
        (f64::INFINITY, "null"),
        (f64::NEG_INFINITY, "null"),
    ];
    written.iter().for_each(|(number, expected)| assert_eq!(float(*number), *expected));
    assert_eq!(text(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), u64::MAX.to_string());
    assert_eq!(text(b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), i64::MIN.to_string());
    assert_eq!(text(b"\xa8\x00\x08\t\n\x0c\r\"\\"), r#""\u0000\b\t\n\f\r\"\\""#);
    assert_eq!(text(b"\xa5\x7f\x1f\xe2\x80\xa8"), "\"\u{7f}\\u001f\u{2028}\"");
}
