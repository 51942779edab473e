//! Sets of public keys in JSON (RFC 7517).

use super::key::{Key, Material, NotAKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key. Members that are not here, such as certificates, have no effect.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys in a set that verify signatures. As RFC 7517 demands, other keys are left out.
///
/// # Errors
/// If it is no set, or no key of it can be used.
pub(super) fn keys(json: &[u8]) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_slice(json).map_err(|_| "is not a JWKS: expected {\"keys\": [..]}".to_owned())?;
    let (mut keys, mut unusable) = (Vec::new(), Vec::new());
    for (at, value) in set.keys.into_iter().enumerate() {
        match serde_json::from_value(value).map_err(|_| NotAKey::Malformed("it is damaged")).and_then(key) {
            Ok(key) => keys.push(key),
            Err(why) => unusable.push(format!("key {}: {why}", at + 1)),
        }
    }
    match keys.is_empty() && !unusable.is_empty() {
        true => Err(format!("has no key that can be used ({})", unusable.join("; "))),
        false => Ok(keys),
    }
}

fn key(jwk: Jwk) -> Result<Key, NotAKey> {
    let verifies = jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|it| it == "verify"));
    if jwk.r#use.as_ref().is_some_and(|it| it != "sig") || !verifies {
        return Err(NotAKey::Malformed("it is not for signatures"));
    }
    let algorithm = match jwk.alg.as_deref() {
        None => None,
        // RFC 9864 renames EdDSA with this curve.
        Some("Ed25519") => Some(Algorithm::EdDSA),
        Some(name) => Some(name.parse().map_err(|_| NotAKey::Malformed("its algorithm is not supported"))?),
    };
    let material = material(&jwk)?;
    Ok(Key::of_set(jwk.kid, algorithm, material))
}

fn material(jwk: &Jwk) -> Result<Material, NotAKey> {
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Material::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?),
        ("EC", Some("P-256" | "P-384")) => {
            let point = [&[4], &bytes(&jwk.x)?[..], &bytes(&jwk.y)?[..]].concat();
            Material::point(&point)
        }
        ("OKP", Some("Ed25519")) => Material::ed25519(&bytes(&jwk.x)?),
        ("oct", _) => Err(NotAKey::Malformed("it is a secret, which belongs into secret_file")),
        _ => Err(NotAKey::Malformed("its kind is not supported: expected RSA, P-256, P-384 or Ed25519")),
    }
}

fn bytes(member: &Option<String>) -> Result<Vec<u8>, NotAKey> {
    let text = member.as_deref().ok_or(NotAKey::Malformed("it is not complete"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotAKey::Malformed("it is damaged"))
}
