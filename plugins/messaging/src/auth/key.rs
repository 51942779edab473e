//! The keys that verify signatures.

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// The sizes of RSA keys in bits: smaller ones can be broken (RFC 8725, 3.5), larger ones take too long to verify.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// How many keys an issuer may have. A token without `kid` is tried with all of them.
const KEYS_MAX: usize = 32;

/// A key that verifies signatures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    /// Its `kid`. Tokens that name another one are not verified with it.
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The key itself. A signature of another kind is never verified with it: an RSA key is no HMAC secret.
#[derive(Debug, Clone)]
pub(super) struct Material {
    key: DecodingKey,
    /// Those of its kind, or of its curve.
    algorithms: &'static [Algorithm],
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
#[derive(Debug, Clone, Default, PartialEq)]
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
    pub(super) fn secret(bytes: &[u8]) -> Self {
        Self { key: DecodingKey::from_secret(bytes), algorithms: AlgorithmFamily::Hmac.algorithms() }
    }

    /// An RSA key of a size that can be used. Its numbers are big-endian.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, NotAKey> {
        let strip = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
        let (modulus, exponent) = (strip(modulus), strip(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(NotAKey::RsaSize(bits));
        }
        let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
        Ok(Self { key, algorithms: AlgorithmFamily::Rsa.algorithms() })
    }

    /// A point of P-256 or P-384, uncompressed as in SEC 1. ring checks that it is on the curve whenever it is used.
    pub(super) fn point(bytes: &[u8]) -> Result<Self, NotAKey> {
        let algorithms: &[_] = match (bytes.len(), bytes.first()) {
            (65, Some(4)) => &[Algorithm::ES256],
            (97, Some(4)) => &[Algorithm::ES384],
            _ => return Err(NotAKey::Point),
        };
        Ok(Self { key: DecodingKey::from_ec_der(bytes), algorithms })
    }

    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, NotAKey> {
        match bytes.len() {
            32 => Ok(Self { key: DecodingKey::from_ed_der(bytes), algorithms: &[Algorithm::EdDSA] }),
            _ => Err(NotAKey::Point),
        }
    }
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let same_key = match (self.key.kind(), other.key.kind()) {
            (SecretOrDer(own), SecretOrDer(other)) => own == other,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: other_n, e: other_e }) => {
                (n, e) == (other_n, other_e)
            }
            _ => false,
        };
        same_key && self.algorithms == other.algorithms
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
        self.material.algorithms.contains(&algorithm) && self.algorithm.is_none_or(|only| only == algorithm)
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        let verify = || jsonwebtoken::crypto::verify(signature, message, &self.material.key, algorithm);
        let verified = if algorithm == Algorithm::ES384 { off_the_worker(verify) } else { verify() };
        verified.is_ok_and(|valid| valid)
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
        signature: &str,
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
        let secrets = self.0.iter().map(|key| &key.material.key).filter(|key| key.family() == AlgorithmFamily::Hmac);
        secrets.filter_map(|secret| secret.try_get_as_bytes().ok()).map(<[u8]>::len).min()
    }
}
