//! RFC 8725 point by point, and Node's jsonwebtoken as the model: see fixtures.mjs.

use super::config::{AuthConfig, IssuerConfig};
use super::crypto;
use super::minter::{MintError, Minter};
use super::rejection::{Refused, Rejection};
use super::verifier::Verifier;
use greyhound_sdk::config::Problems;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Fixtures {
    secret: String,
    keys: BTreeMap<String, PublicKey>,
    /// PEM files by what their error says.
    unusable: BTreeMap<String, String>,
    verdicts: Vec<Case>,
}

#[derive(Deserialize)]
struct PublicKey {
    pem: String,
    jwk: Map<String, Value>,
    /// By algorithm. Their `kid` is the name of the key.
    tokens: BTreeMap<String, String>,
}

/// What Node's jsonwebtoken says of a token.
#[derive(Deserialize)]
struct Case {
    name: String,
    token: String,
    pem: Option<String>,
    algorithms: Option<Value>,
    #[serde(default)]
    audience: Vec<String>,
    issuer: Option<String>,
    node: String,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("fixtures.json")).unwrap()
}

const SECRET: &str = "a secret of 32 bytes or more, as it should be";

fn with_secret(secret: &str) -> AuthConfig {
    AuthConfig { secret: vec![secret.into()], ..AuthConfig::default() }
}

fn verifier(config: &AuthConfig) -> Verifier {
    Verifier::new(config, Path::new("/nowhere")).unwrap()
}

fn minted(config: &AuthConfig, claims: Value) -> String {
    Minter::new(config, Path::new("/nowhere")).unwrap().mint(claims.as_object().unwrap().clone()).unwrap()
}

/// The user, or the words of the rejection.
fn verdict(verifier: &Verifier, token: &str) -> Result<String, String> {
    verifier.verify(token).map(|identity| identity.user).map_err(|rejection| rejection.message.into_owned())
}

/// A file in a new directory.
fn file(contents: impl AsRef<[u8]>) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, contents).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn with_pem(pem: &str) -> (TempDir, AuthConfig) {
    let (dir, path) = file(pem);
    (dir, AuthConfig { public_key_file: vec![path], ..AuthConfig::default() })
}

fn with_jwks(set: &Value) -> (TempDir, AuthConfig) {
    let (dir, path) = file(set.to_string());
    (dir, AuthConfig { jwks_file: Some(path.into()), ..AuthConfig::default() })
}

fn problems(config: &AuthConfig) -> Vec<String> {
    let mut problems = Problems::default();
    config.check(&mut problems);
    problems.into_list().into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

// === Node's jsonwebtoken ===

#[test]
fn tokens_are_accepted_and_refused_as_by_jsonwebtoken() {
    let Fixtures { secret, verdicts, .. } = fixtures();
    // Ours, where jsonwebtoken is more lenient (also about base64), knows less, or shows an error of its parser.
    let ours: BTreeMap<&str, &str> = [
        ("empty", "jwt malformed"),
        ("a short signature", "invalid token"),
        ("claims that are not JSON", "invalid token"),
        ("crit", "jwt crit header not supported"),
        ("crit with b64", "jwt crit header not supported"),
        ("RS256 by a P-256 key", "jwt signing key not found"),
        ("EdDSA", "accepted"),
    ]
    .into();
    assert!(verdicts.len() > 50);
    for case in verdicts {
        let (_dir, keys) = match &case.pem {
            Some(pem) => with_pem(pem),
            None => (tempfile::tempdir().unwrap(), with_secret(&secret)),
        };
        let algorithms = case.algorithms.map(|names| serde_json::from_value(names).unwrap());
        let config = AuthConfig { algorithms, audience: case.audience, issuer: case.issuer, ..keys };
        let found = verdict(&verifier(&config), &case.token).map_or_else(|why| why, |_| "accepted".to_owned());
        assert_eq!(found, ours.get(&*case.name).copied().unwrap_or(&case.node), "{}", case.name);
    }
}

// === Keys ===

#[test]
fn every_algorithm_is_verified_with_a_pem_file_and_with_a_jwks() {
    let fixtures = fixtures();
    let mut set = Vec::new();
    for (kid, key) in &fixtures.keys {
        let mut jwk = key.jwk.clone();
        jwk.insert("kid".into(), kid.as_str().into());
        set.push(jwk);
    }
    let (_dir, of_set) = with_jwks(&json!({ "keys": set }));
    let of_set = verifier(&of_set);
    let mut algorithms = 0;
    for key in fixtures.keys.values() {
        let (_dir, of_pem) = with_pem(&key.pem);
        for (algorithm, token) in &key.tokens {
            assert_eq!(verdict(&of_set, token), Ok("1".into()), "{algorithm}");
            assert_eq!(verdict(&verifier(&of_pem), token), Ok("1".into()), "{algorithm}");
            algorithms += 1;
        }
    }
    assert_eq!(algorithms, 9);
}

#[test]
fn one_pem_file_may_have_several_keys() {
    let fixtures = fixtures();
    let all: String = fixtures.keys.values().map(|key| key.pem.as_str()).collect();
    let (_dir, config) = with_pem(&all);
    let verifier = verifier(&config);
    for token in fixtures.keys.values().flat_map(|key| key.tokens.values()) {
        assert_eq!(verdict(&verifier, token), Ok("1".into()));
    }
}

#[test]
fn a_key_of_a_set_verifies_only_tokens_with_its_kid_and_its_algorithm() {
    let fixtures = fixtures();
    let rsa = &fixtures.keys["rsa"];
    let found = |members: &[(&str, &str)], algorithm: &str| {
        let mut jwk = rsa.jwk.clone();
        jwk.extend(members.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        let (_dir, config) = with_jwks(&json!({ "keys": [jwk] }));
        verdict(&verifier(&config), &rsa.tokens[algorithm])
    };
    let no_key = Err("jwt signing key not found".to_owned());
    assert_eq!(found(&[("kid", "rsa"), ("alg", "PS256"), ("use", "sig")], "PS256"), Ok("1".into()));
    assert_eq!(found(&[("kid", "rsa"), ("alg", "PS256")], "RS256"), no_key);
    assert_eq!(found(&[("kid", "other")], "RS256"), no_key);
    assert_eq!(found(&[], "RS256"), Ok("1".into()));
}

#[test]
fn keys_of_a_set_that_cannot_be_used_are_left_out() {
    let fixtures = fixtures();
    let rsa = &fixtures.keys["rsa"];
    let with = |name: &str, value: Value| {
        let mut jwk = rsa.jwk.clone();
        jwk.insert(name.into(), value);
        Value::Object(jwk)
    };
    let unusable = [
        with("use", "enc".into()),
        with("key_ops", json!(["encrypt"])),
        with("alg", "RSA-OAEP".into()),
        with("n", "AQAB".into()),
        with("n", "!".into()),
        with("kty", "XYZ".into()),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQAB" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AQAB", "y": "AQAB" }),
        json!(7),
    ];
    let mut all = unusable.to_vec();
    all.push(Value::Object(rsa.jwk.clone()));
    let (_dir, config) = with_jwks(&json!({ "keys": all }));
    assert_eq!(verdict(&verifier(&config), &rsa.tokens["RS256"]), Ok("1".into()));
    for jwk in unusable {
        let (_dir, config) = with_jwks(&json!({ "keys": [jwk] }));
        let error = Verifier::new(&config, Path::new("/")).err().unwrap().to_string();
        assert!(error.contains("has no key that can be used (key 1: "), "{jwk}: {error}");
    }
}

#[test]
fn files_without_usable_keys_are_refused_with_the_remedy() {
    let pem = |pem: &str| {
        let (_dir, config) = with_pem(pem);
        Verifier::new(&config, Path::new("/")).err().unwrap().to_string()
    };
    for (why, text) in fixtures().unusable {
        assert!(pem(&text).contains(&why), "{}", pem(&text));
    }
    let section = |name: &str| format!("-----BEGIN {name}-----\nMAA=\n-----END {name}-----\n");
    assert!(pem(&section("PRIVATE KEY")).contains("openssl pkey -in FILE -pubout"));
    assert!(pem(&section("CERTIFICATE")).contains("openssl x509 -in FILE -pubkey -noout"));
    assert!(pem(&section("PUBLIC KEY")).contains("it is damaged"));
    assert!(pem("hello").contains("has no key"));
    let jwks = |text: &str| {
        let (_dir, path) = file(text);
        let config = AuthConfig { jwks_file: Some(path.into()), ..AuthConfig::default() };
        Verifier::new(&config, Path::new("/")).err().unwrap().to_string()
    };
    assert!(jwks("{\"keys\": []}").contains("has no key"));
    assert!(jwks("[]").contains("is not a JWKS"));
    let (_dir, path) = file(" \n");
    let empty = AuthConfig { secret_file: vec![path], ..AuthConfig::default() };
    assert!(
        Verifier::new(&empty, Path::new("/"))
            .err()
            .unwrap()
            .to_string()
            .contains("keys is empty: put the secret into it")
    );
}

#[test]
fn the_first_secret_signs_and_all_verify() {
    let rotating = AuthConfig { secret: vec!["new".into(), "old".into()], ..AuthConfig::default() };
    let old = minted(&with_secret("old"), json!({"id": 1}));
    let new = minted(&rotating, json!({"id": 2}));
    assert_eq!(verdict(&verifier(&rotating), &old), Ok("1".into()));
    assert_eq!(verdict(&verifier(&with_secret("new")), &new), Ok("2".into()));
    assert_eq!(verdict(&verifier(&with_secret("new")), &old), Err("invalid signature".into()));
}

#[test]
fn secrets_may_be_a_text_or_a_list_also_in_a_variable() {
    let read = |secret: Value| serde_json::from_value::<AuthConfig>(json!({ "secret": secret })).unwrap().secret;
    assert_eq!(read(json!("a")), ["a"]);
    assert_eq!(read(json!(["a", "b"])), ["a", "b"]);
    assert_eq!(read(json!("[\"a\", \"b\"]")), ["a", "b"]);
    assert_eq!(read(json!("[a")), ["[a"]);
    assert!(!format!("{:?}", with_secret("hunter2")).contains("hunter2"));
}

// === RFC 8725 ===

#[test]
fn rfc_8725_3_1_a_key_verifies_only_algorithms_of_its_kind() {
    let fixtures = fixtures();
    // Algorithm confusion: an attacker signs with the public key, which everybody knows, as an HMAC secret.
    let rsa = &fixtures.keys["rsa"];
    for secret in [rsa.pem.as_str(), rsa.pem.trim()] {
        let forged = minted(&with_secret(secret), json!({"id": 1}));
        let (_dir, config) = with_pem(&rsa.pem);
        assert_eq!(verdict(&verifier(&config), &forged), Err("invalid algorithm".into()));
    }
    // Nor does the provider of cryptography, whatever it is asked.
    crypto::install();
    let secret = DecodingKey::from_secret(SECRET.as_bytes());
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        assert!(jsonwebtoken::crypto::verify("", b"", &secret, algorithm).is_err(), "{algorithm:?}");
    }
    let mixed = AuthConfig {
        jwks_url: Some("https://i.example".into()),
        algorithms: serde_json::from_value(json!(["RS256", "HS256"])).unwrap(),
        ..AuthConfig::default()
    };
    assert!(problems(&mixed)[0].starts_with("auth.algorithms: \"HS256\" does not fit the keys, which are public keys"));
    let algorithms = serde_json::from_value(json!(["RS256"])).unwrap();
    let mixed = AuthConfig { algorithms, ..with_secret(SECRET) };
    assert!(
        problems(&mixed)[0].starts_with("auth.algorithms: \"RS256\" does not fit the keys, which are shared secrets")
    );
    let mixed = AuthConfig { jwks_url: Some("https://i.example".into()), ..with_secret(SECRET) };
    assert_eq!(problems(&mixed), ["auth.jwks_url: auth.secret is set as well: set only one of the two"]);
}

#[test]
fn rfc_8725_3_2_only_the_configured_algorithms_are_accepted_and_never_none() {
    let rsa = &fixtures().keys["rsa"];
    let (_dir, config) = with_pem(&rsa.pem);
    let only = AuthConfig { algorithms: serde_json::from_value(json!(["PS256"])).unwrap(), ..config };
    assert_eq!(verdict(&verifier(&only), &rsa.tokens["PS256"]), Ok("1".into()));
    assert_eq!(verdict(&verifier(&only), &rsa.tokens["RS256"]), Err("invalid algorithm".into()));
    for name in ["none", "ES256K", "ES512"] {
        assert!(serde_json::from_value::<AuthConfig>(json!({ "algorithms": [name] })).is_err(), "{name}");
    }
    // As by Node, a token that cannot be read is refused as such, whatever its algorithm (here `none`).
    assert_eq!(verdict(&verifier(&only), "eyJhbGciOiJub25lIn0.e30.!"), Err("invalid token".into()));
}

#[test]
fn rfc_8725_3_5_weak_keys_are_refused_and_short_secrets_cause_a_warning() {
    let warnings = |config: &AuthConfig| {
        let mut problems = Problems::default();
        config.look(Path::new("/nowhere"), &mut problems);
        problems.warnings().iter().map(|it| format!("{}: {}", it.key, it.message)).collect::<Vec<_>>()
    };
    let short = "has 3 bytes, which can be guessed: use at least 32 random bytes";
    assert_eq!(warnings(&with_secret("abc")), [format!("auth.secret: {short}")]);
    let (_dir, path) = file("abc\n");
    let in_file = AuthConfig { secret_file: vec![path], ..AuthConfig::default() };
    assert_eq!(warnings(&in_file), [format!("auth.secret_file: {short}")]);
    let only_512 = AuthConfig { algorithms: serde_json::from_value(json!(["HS512"])).unwrap(), ..with_secret(SECRET) };
    assert!(warnings(&only_512)[0].contains("at least 64"));
    assert!(warnings(&with_secret(SECRET)).is_empty());
}

#[test]
fn rfc_8725_3_8_the_issuer_chooses_the_keys() {
    let fixtures = fixtures();
    let (_dir, path) = file(&fixtures.keys["p256"].pem);
    let partner = IssuerConfig {
        public_key_file: vec![path],
        issuer: Some("partner".into()),
        user_claim: "uid".into(),
        ..IssuerConfig::default()
    };
    let other = IssuerConfig { secret: vec!["other".into()], issuer: Some("other".into()), ..IssuerConfig::default() };
    let issuers = BTreeMap::from([("partner".to_owned(), partner), ("other".to_owned(), other.clone())]);
    let both = AuthConfig { issuers: issuers.clone(), ..with_secret(SECRET) };
    assert_eq!(problems(&both), Vec::<String>::new());
    let both = verifier(&both);
    let by = |secret: &str, claims: Value| minted(&with_secret(secret), claims);
    assert_eq!(verdict(&both, &by(SECRET, json!({"id": 1}))), Ok("1".into()));
    assert_eq!(verdict(&both, &by(SECRET, json!({"id": 1, "iss": "unknown"}))), Ok("1".into()));
    assert_eq!(verdict(&both, &by("other", json!({"id": 2, "iss": "other"}))), Ok("2".into()));
    // No issuer can speak for another.
    assert_eq!(verdict(&both, &by(SECRET, json!({"id": 1, "iss": "other"}))), Err("invalid signature".into()));
    assert_eq!(verdict(&both, &by("other", json!({"id": 1}))), Err("invalid signature".into()));
    assert_eq!(verdict(&both, &by(SECRET, json!({"id": 1, "iss": "partner"}))), Err("invalid algorithm".into()));
    // Without keys of its own, [plugins.messaging.auth] is no issuer: not even of the development secret.
    let only_further = AuthConfig { issuers, ..AuthConfig::default() };
    let only_further = verifier(&only_further);
    let unknown = Err("jwt issuer invalid. expected: other,partner".to_owned());
    assert_eq!(verdict(&only_further, &by(SECRET, json!({"id": 1}))), unknown);
    assert_eq!(verdict(&only_further, &by("other", json!({"id": 2, "iss": "other"}))), Ok("2".into()));
}

#[test]
fn rfc_8725_3_9_tokens_for_another_audience_are_refused() {
    let config = AuthConfig { audience: vec!["a".into(), "b".into()], ..with_secret(SECRET) };
    let found = |claims: Value| verdict(&verifier(&config), &minted(&with_secret(SECRET), claims));
    assert_eq!(found(json!({"id": 1, "aud": ["x", "b"]})), Ok("1".into()));
    let refused = Err("jwt audience invalid. expected: a or b".to_owned());
    for claims in
        [json!({"id": 1}), json!({"id": 1, "aud": "x"}), json!({"id": 1, "aud": {"a": 1}}), json!({"id": 1, "aud": []})]
    {
        assert_eq!(found(claims), refused);
    }
}

#[test]
fn rfc_8725_3_10_the_header_chooses_no_key_and_claims_must_be_what_they_should() {
    // `kid` is only compared.
    let fixtures = fixtures();
    let (_dir, config) = with_jwks(&json!({ "keys": [fixtures.keys["rsa"].jwk] }));
    assert_eq!(verdict(&verifier(&config), &fixtures.keys["rsa"].tokens["RS256"]), Ok("1".into()));
    // jwk, jku, x5u, x5c and crit: see `tokens_are_accepted_and_refused_as_by_jsonwebtoken`.
    let secret = with_secret(SECRET);
    let of_secret = verifier(&secret);
    for id in [json!({"a": 1}), json!([1]), json!(true), json!(""), Value::Null] {
        assert_eq!(verdict(&of_secret, &minted(&secret, json!({"id": id}))), Err("jwt has no user id".into()));
    }
}

#[test]
fn rfc_8725_3_12_required_claims_keep_other_kinds_of_tokens_out() {
    let config = AuthConfig { required_claims: vec!["exp".into(), "scope".into()], ..with_secret(SECRET) };
    let found = |claims: Value| verdict(&verifier(&config), &minted(&with_secret(SECRET), claims));
    assert_eq!(found(json!({"id": 1, "exp": 40_000_000_000_u64, "scope": "x"})), Ok("1".into()));
    assert_eq!(found(json!({"id": 1, "exp": 40_000_000_000_u64})), Err("jwt has no claim scope".into()));
    assert_eq!(found(json!({"id": 1, "scope": "x"})), Err("jwt has no claim exp".into()));
    assert_eq!(found(json!({"id": 1, "exp": 40_000_000_000_u64, "scope": null})), Err("jwt has no claim scope".into()));
}

#[test]
fn an_oversized_token_is_refused_unread() {
    let config = with_secret(SECRET);
    let found =
        |length: usize| verdict(&verifier(&config), &minted(&config, json!({"id": 1, "x": "x".repeat(length)})));
    assert_eq!(found(12_000), Ok("1".into()));
    assert_eq!(found(13_000), Err("jwt too large".into()));
}

// === Claims ===

#[test]
fn the_leeway_of_any_issuer_prolongs_the_life_of_tokens() {
    let seconds = std::time::Duration::from_secs;
    let issuer = IssuerConfig { leeway: seconds(7200), ..IssuerConfig::default() };
    let issuers = [("other".to_owned(), issuer)].into();
    let config = AuthConfig { leeway: seconds(5), issuers, ..with_secret(SECRET) };
    assert_eq!(config.token_life_max(), None);
    assert_eq!(AuthConfig { max_token_age: Some(seconds(60)), ..config }.token_life_max(), Some(seconds(7260)));
}

#[test]
fn leeway_applies_to_both_ends() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let found = |leeway: u64, claims: Value| {
        let config = AuthConfig { leeway: std::time::Duration::from_secs(leeway), ..with_secret(SECRET) };
        verdict(&verifier(&config), &minted(&config, claims))
    };
    for claims in [json!({"id": 1, "exp": now - 30}), json!({"id": 1, "nbf": now + 30})] {
        assert_eq!(found(60, claims.clone()), Ok("1".into()));
        assert!(found(0, claims.clone()).is_err() && found(10, claims).is_err());
    }
}

#[test]
fn the_user_is_the_claim_or_else_the_subject() {
    let config = with_secret(SECRET);
    let verify = |claims: Value| verifier(&config).verify(&minted(&config, claims));
    let user = |claims| verify(claims).map(|identity| identity.user);
    assert_eq!(user(json!({"id": 1})), Ok("1".into()));
    assert_eq!(user(json!({"id": "a", "sub": "b"})), Ok("a".into()));
    assert_eq!(user(json!({"sub": "b"})), Ok("b".into()));
    assert_eq!(user(json!({"id": null, "sub": 7})), Ok("7".into()));
    assert_eq!(user(json!({"name": "x"})), Err(Rejection::NO_USER));
    let identity = verify(json!({"id": 1, "site": "example.com", "jti": "a"})).unwrap();
    assert_eq!(identity.site.as_deref(), Some("example.com"));
    assert_eq!(Value::Object(identity.claims), json!({"id": 1, "site": "example.com", "jti": "a"}));
}

#[test]
fn the_site_has_its_normal_form_or_is_refused() {
    let config = with_secret(SECRET);
    let verify = |claim: Value| verifier(&config).verify(&minted(&config, json!({"id": 1, "site": claim})));
    let site = |claim: Value| verify(claim).map(|identity| identity.site);
    for (claim, expected) in
        [("EXAMPLE.com.", "example.com"), ("bücher.example", "xn--bcher-kva.example"), ("tenant-7", "tenant-7")]
    {
        assert_eq!(site(claim.into()), Ok(Some(expected.to_owned())), "{claim}");
    }
    assert_eq!((site(7.into()), site(Value::Null)), (Ok(Some("7".into())), Ok(None)));
    for claim in [
        json!("https://example.com"),
        json!("example.com:8443"),
        json!(""),
        json!({}),
        json!(["example.com"]),
        json!(true),
    ] {
        let Rejection { message, claimed, .. } = verify(claim.clone()).unwrap_err();
        assert_eq!((&*message, claimed.as_deref()), ("jwt has an invalid site", Some("1")), "{claim}");
    }
}

#[test]
fn numbers_are_written_as_in_javascript() {
    let config = with_secret(SECRET);
    // Node's `${JSON.parse(left)}` is the right-hand side.
    for (claim, user) in [
        ("42.0", "42"),
        ("-0.0", "0"),
        ("4.2e1", "42"),
        ("0.1", "0.1"),
        ("9007199254740993", "9007199254740992"),
        ("18446744073709551615", "18446744073709552000"),
        ("-9223372036854775807", "-9223372036854776000"),
        ("123456789012345678901234", "1.2345678901234569e+23"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
    ] {
        let claims = json!({"id": serde_json::from_str::<Value>(claim).unwrap()});
        assert_eq!(verdict(&verifier(&config), &minted(&config, claims)), Ok(user.to_owned()), "{claim}");
    }
}

#[test]
fn an_untimely_token_still_names_its_user() {
    let config = with_secret(SECRET);
    let rejection = |claims: Value| verifier(&config).verify(&minted(&config, claims)).unwrap_err();
    let claimed = |claims| rejection(claims).claimed;
    assert_eq!(claimed(json!({"id": 7, "exp": 1})).as_deref(), Some("7"));
    assert_eq!(claimed(json!({"sub": "a", "exp": 1, "nbf": 4_000_000_000_u64})).as_deref(), Some("a"));
    assert_eq!(claimed(json!({"exp": 1})), None);
    assert!(
        rejection(json!({"id": 7, "exp": 1})).kind == Refused::Expired
            && rejection(json!({"id": 7, "nbf": 4_000_000_000_u64})).kind == Refused::Invalid
    );
    let forged = minted(&with_secret("other"), json!({"id": 7, "exp": 1}));
    assert_eq!(verifier(&config).verify(&forged).unwrap_err().claimed, None);
}

// === Configuration ===

#[test]
fn every_bad_combination_is_reported() {
    let named = |name: &str, issuer: IssuerConfig| AuthConfig {
        issuers: BTreeMap::from([(name.to_owned(), issuer)]),
        ..with_secret(SECRET)
    };
    let partner = IssuerConfig { secret: vec!["x".into()], issuer: Some("partner".into()), ..IssuerConfig::default() };
    assert_eq!(problems(&named("partner", partner.clone())), Vec::<String>::new());
    let keys = |config: &AuthConfig| {
        let problems = problems(config);
        problems.iter().map(|it| it.split(": ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&named("partner", IssuerConfig::default())),
        ["auth.issuers.partner.issuer", "auth.issuers.partner"]
    );
    assert_eq!(keys(&named("default", partner.clone())), ["auth.issuers.default"]);
    let twice = AuthConfig { issuer: Some("partner".into()), ..named("partner", partner) };
    assert_eq!(keys(&twice), ["auth.issuers.partner.issuer"]);
    let without_keys = AuthConfig { audience: vec!["a".into()], secret: Vec::new(), ..twice };
    assert_eq!(keys(&without_keys), ["auth.issuers.partner.issuer", "auth"]);
    let wrong = AuthConfig {
        secret: vec!["a".into(), String::new()],
        algorithms: Some(Vec::new()),
        jwks_refresh: std::time::Duration::ZERO,
        ..AuthConfig::default()
    };
    assert_eq!(keys(&wrong), ["auth.secret", "auth.jwks_refresh", "auth.algorithms"]);
    let unencrypted = AuthConfig { jwks_url: Some("http://i.example/jwks".into()), ..AuthConfig::default() };
    assert!(problems(&unencrypted)[0].starts_with("auth.jwks_url: is not encrypted"));
}

#[test]
fn tokens_are_made_only_with_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let development = AuthConfig::default();
    let token = Minter::new(&development, dir.path()).unwrap().mint(json!({"id": 1}).as_object().unwrap().clone());
    assert_eq!(verdict(&Verifier::new(&development, dir.path()).unwrap(), &token.unwrap()), Ok("1".into()));

    let (_dir, public) = with_pem(&fixtures().keys["rsa"].pem);
    assert!(matches!(Minter::new(&public, dir.path()), Err(MintError::OnlyPublicKeys)));
    assert!(development.can_sign() && with_secret(SECRET).can_sign() && !public.can_sign());

    let strict = AuthConfig {
        issuer: Some("i".into()),
        audience: vec!["a".into(), "b".into()],
        algorithms: serde_json::from_value(json!(["HS512"])).unwrap(),
        required_claims: vec!["aud".into()],
        ..with_secret(SECRET)
    };
    assert_eq!(verdict(&verifier(&strict), &minted(&strict, json!({"id": 1}))), Ok("1".into()));
    let strict = AuthConfig { required_claims: vec!["scope".into()], ..strict };
    let minter = Minter::new(&strict, dir.path()).unwrap();
    assert!(matches!(minter.mint(Map::new()), Err(MintError::MissingClaim(name)) if name == "scope"));
}
