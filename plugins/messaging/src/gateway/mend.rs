//! Where the library answers otherwise than Node's server does: mended on its way out.

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode, header};
use http_body_util::BodyExt;

/// An error's `code` is a number; the library sends it as a text (`"code":"1"`).
pub(super) async fn mend(response: Response<Body>) -> Response<Body> {
    if response.status() != StatusCode::BAD_REQUEST {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Response::from_parts(head, Body::empty()) };
    let body = with_number(body.to_bytes());
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    Response::from_parts(head, body.into())
}

fn with_number(body: Bytes) -> Bytes {
    let Some(rest) = body.strip_prefix(br#"{"code":""#) else { return body };
    let Some((code, rest)) = rest.split_first().filter(|(code, _)| code.is_ascii_digit()) else { return body };
    let Some(rest) = rest.strip_prefix(b"\"") else { return body };
    [br#"{"code":"#, std::slice::from_ref(code), rest].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_of_an_error_changes() {
        let mended = |text: &'static str| String::from_utf8(with_number(Bytes::from_static(text.as_bytes())).to_vec()).unwrap();
        assert_eq!(mended(r#"{"code":"1","message":"Session ID unknown"}"#), r#"{"code":1,"message":"Session ID unknown"}"#);
        for other in ["", r#"{"code":1}"#, r#"{"code":""}"#, r#"{"code":"1"#, "not JSON"] {
            assert_eq!(mended(other), other);
        }
    }
}
