mod fixtures;
mod hostile;
mod round_trip;

use super::*;
use serde_json::{Value, json};

/// Parses a JSON text as JavaScript does: each placeholder becomes its attachment, each number a double.
fn value(text: &str, attachments: &[Bytes]) -> Value {
    fn filled(value: Value, attachments: &[Bytes]) -> Value {
        match value {
            Value::Number(number) => json!(number.as_f64().unwrap()),
            Value::Array(values) => values.into_iter().map(|value| filled(value, attachments)).collect(),
            Value::Object(fields) => {
                let number = fields
                    .get("num")
                    .and_then(Value::as_u64)
                    .filter(|_| fields.get("_placeholder") == Some(&Value::Bool(true)));
                match number.and_then(|number| attachments.get(number as usize)) {
                    Some(bytes) => json!({ "binary": format!("{bytes:02x?}") }),
                    None => fields.into_iter().map(|(key, value)| (key, filled(value, attachments))).collect(),
                }
            }
            plain => plain,
        }
    }
    filled(serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")), attachments)
}

fn read(body: impl Into<Bytes>) -> Result<Json, Malformed> {
    to_json(&body.into())
}

/// Encodes a JSON text in msgpack, as a field of a struct.
fn packed(text: &str, attachments: &[Bytes]) -> Result<Bytes, rmp_serde::encode::Error> {
    #[derive(serde::Serialize)]
    struct Outer<'a> {
        data: FromJson<'a>,
    }
    let mut body = Vec::new();
    let data = FromJson { text, attachments };
    serde::Serialize::serialize(&Outer { data }, &mut rmp_serde::Serializer::new(&mut body).with_struct_map())?;
    Ok(body.into())
}
