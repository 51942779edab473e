//! Public keys in PEM files.

use super::key::{Key, Material, NotAKey};
use rustls::pki_types::pem::{PemObject, SectionKind};
use spki::SubjectPublicKeyInfoRef;
use spki::der::asn1::{ObjectIdentifier, UintRef};
use spki::der::{Decode, Reader, SliceReader};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The public keys in a file: its sections `PUBLIC KEY`.
///
/// # Errors
/// If the file has anything else. A private key does not belong on a machine that only verifies.
pub(super) fn keys(contents: &[u8]) -> Result<Vec<Key>, String> {
    let sections: Result<Vec<_>, _> = <(SectionKind, Vec<u8>)>::pem_slice_iter(contents).collect();
    let sections = sections.map_err(|_| "is not valid PEM".to_owned())?;
    sections.into_iter().map(|(kind, der)| key(kind, &der)).collect()
}

fn key(kind: SectionKind, der: &[u8]) -> Result<Key, String> {
    let material = match kind {
        SectionKind::PublicKey => public_key(der),
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
            return Err("has a private key: write the public key with `openssl pkey -in FILE -pubout`".into());
        }
        SectionKind::Certificate => {
            return Err("has a certificate: write its key with `openssl x509 -in FILE -pubkey -noout`".into());
        }
        _ => return Err("has something other than public keys".into()),
    };
    material.map(Key::new).map_err(|why| format!("has a key that cannot be used: {why}"))
}

fn public_key(der: &[u8]) -> Result<Material, NotAKey> {
    let damaged = |_| NotAKey::Malformed("it is damaged");
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(damaged)?;
    let bytes = info.subject_public_key.as_bytes().ok_or(NotAKey::Malformed("it is damaged"))?;
    let curve = || info.algorithm.parameters_oid().ok();
    match info.algorithm.oid {
        RSA => rsa(bytes),
        EC if [Some(P256), Some(P384)].contains(&curve()) => Material::point(bytes),
        EC => Err(NotAKey::Malformed("its curve is not supported: expected P-256 or P-384")),
        ED25519 => Material::ed25519(bytes),
        _ => Err(NotAKey::Malformed("its kind is not supported: expected RSA, P-256, P-384 or Ed25519")),
    }
}

/// An RSA key in the form of PKCS #1: a sequence of modulus and exponent.
fn rsa(der: &[u8]) -> Result<Material, NotAKey> {
    let numbers = SliceReader::new(der)
        .and_then(|mut reader| reader.sequence(|inner| Ok((UintRef::decode(inner)?, UintRef::decode(inner)?))));
    let (modulus, exponent) = numbers.map_err(|_| NotAKey::Malformed("it is damaged"))?;
    Material::rsa(modulus.as_bytes(), exponent.as_bytes())
}
