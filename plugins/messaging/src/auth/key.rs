//! The keys that verify signatures.

use super::algorithm::{Algorithm, Scheme};
use super::secret::Secret;
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaPublicKeyComponents, UnparsedPublicKey,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// The sizes of RSA keys in bits: smaller ones can be broken (RFC 8725, 3.5), larger ones take too long to verify.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// How many keys an issuer may have. A token without `kid` is tried with all of them.
const KEYS_MAX: usize = 32;

/// A key that verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Its `kid`. Tokens that name another one are not verified with it.
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The key itself. A signature of another kind is never verified with it: an RSA key is no HMAC secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    Secret(Secret),
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAKey {
    #[error("an RSA key of {0} bits: expected 2048 to 4096 bits")]
    RsaSize(usize),
    #[error("not a valid point of the curve: it is damaged")]
    Point,
    #[error("{0}")]
    Malformed(&'static str),
}

/// The keys of an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<Key>);

/// The result of comparing a signature with an issuer's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Valid,
    Invalid,
    /// There is no key with the token's `kid`, or for its algorithm.
    NoKey,
}

impl Material {
    /// An RSA key of a size that can be used.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, NotAKey> {
        let strip = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
        let (modulus, exponent) = (strip(modulus), strip(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        match RSA_BITS.contains(&bits) {
            true => Ok(Self::Rsa { modulus, exponent }),
            false => Err(NotAKey::RsaSize(bits)),
        }
    }

    /// A point of P-256 or P-384, uncompressed as in SEC 1. ring checks that it is on the curve whenever it is used.
    pub(super) fn point(bytes: &[u8]) -> Result<Self, NotAKey> {
        match (bytes.len(), bytes.first()) {
            (65, Some(4)) => Ok(Self::P256(bytes.to_vec())),
            (97, Some(4)) => Ok(Self::P384(bytes.to_vec())),
            _ => Err(NotAKey::Point),
        }
    }

    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, NotAKey> {
        if bytes.len() == 32 { Ok(Self::Ed25519(bytes.to_vec())) } else { Err(NotAKey::Point) }
    }
}

impl Key {
    pub(super) fn new(material: Material) -> Self {
        Self { id: None, algorithm: None, material }
    }

    /// A key of a set, with its `kid` and `alg`.
    pub(super) fn of_set(id: Option<String>, algorithm: Option<Algorithm>, material: Material) -> Self {
        Self { id, algorithm, material }
    }

    /// Whether the key is for this algorithm.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = matches!(
            (&self.material, algorithm.scheme()),
            (Material::Secret(_), Scheme::Hmac(_))
                | (Material::Rsa { .. }, Scheme::Rsa(_))
                | (Material::P256(_), Scheme::P256)
                | (Material::P384(_), Scheme::P384)
                | (Material::Ed25519(_), Scheme::Ed25519)
        );
        kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.material, algorithm.scheme()) {
            (Material::Secret(secret), Scheme::Hmac(hash)) => {
                hmac::verify(&hmac::Key::new(hash, secret.bytes()), message, signature)
            }
            (Material::Rsa { modulus, exponent }, Scheme::Rsa(parameters)) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature)
            }
            (Material::P256(point), Scheme::P256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Material::P384(point), Scheme::P384) => {
                off_the_worker(|| UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature))
            }
            (Material::Ed25519(key), Scheme::Ed25519) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

/// Runs what takes longer than a tenth of a millisecond: P-384 takes 0.8 ms, every other algorithm less than 0.1 ms. The
/// worker's other tasks go on elsewhere.
fn off_the_worker<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

impl Keys {
    /// # Errors
    /// If there are none or too many.
    pub(super) fn new(keys: Vec<Key>) -> Result<Self, String> {
        match keys.len() {
            0 => Err("has no key".into()),
            1..=KEYS_MAX => Ok(Self(keys)),
            many => Err(format!("has {many} keys: expected at most {KEYS_MAX}")),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that a token may mean: those with its `kid`, and those without one.
    fn meant(&self, key_id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let named = move |key: &Key| key_id.is_none() || key.id.is_none() || key.id.as_deref() == key_id;
        self.0.iter().filter(move |key| named(key) && key.fits(algorithm))
    }

    pub(super) fn has_key(&self, key_id: Option<&str>, algorithm: Algorithm) -> bool {
        self.meant(key_id, algorithm).next().is_some()
    }

    /// Compares a signature with the keys that the token may mean.
    pub(super) fn verify(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Verdict {
        let mut verdict = Verdict::NoKey;
        for key in self.meant(key_id, algorithm) {
            if key.verifies(algorithm, message, signature) {
                return Verdict::Valid;
            }
            verdict = Verdict::Invalid;
        }
        verdict
    }

    /// The shortest secret in bytes. `None` if the keys are public.
    pub(super) fn shortest_secret(&self) -> Option<usize> {
        let secrets = self.0.iter().filter_map(|key| match &key.material {
            Material::Secret(secret) => Some(secret.bytes().len()),
            _ => None,
        });
        secrets.min()
    }
}
