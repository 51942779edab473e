//! ring as jsonwebtoken's provider of cryptography.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::error::Unspecified;
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Only jsonwebtoken's own JWKs need them.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the provider of this process. Without one, jsonwebtoken panics.
pub(super) fn install() {
    // An error says that there is one: this one, after the first call.
    let _ = PROVIDER.install_default();
}

/// The length that an algorithm's secrets should have: that of the hash (RFC 7518, 3.2). `None` if its keys are public.
pub(super) fn secret_bytes(algorithm: Algorithm) -> Option<usize> {
    match Scheme::of(algorithm) {
        Some(Scheme::Hmac(hash)) => Some(hash.digest_algorithm().output_len()),
        _ => None,
    }
}

/// How an algorithm computes.
enum Scheme {
    Hmac(hmac::Algorithm),
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

impl Scheme {
    fn of(algorithm: Algorithm) -> Option<Self> {
        let scheme = match algorithm {
            Algorithm::HS256 => Self::Hmac(hmac::HMAC_SHA256),
            Algorithm::HS384 => Self::Hmac(hmac::HMAC_SHA384),
            Algorithm::HS512 => Self::Hmac(hmac::HMAC_SHA512),
            Algorithm::RS256 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Self::Rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Self::Rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Self::Curve(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Self::Curve(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Self::Curve(&ED25519),
            _ => return None,
        };
        Some(scheme)
    }
}

/// Only secrets sign: the program has no private keys.
struct HmacSigner {
    algorithm: Algorithm,
    key: hmac::Key,
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match Scheme::of(*algorithm) {
        Some(Scheme::Hmac(hash)) if key.family() == algorithm.family() => {
            Ok(Box::new(HmacSigner { algorithm: *algorithm, key: hmac::Key::new(hash, key.as_bytes()) }))
        }
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

impl Signer<Vec<u8>> for HmacSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.key, message).as_ref().to_vec())
    }
}

impl JwtSigner for HmacSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    scheme: Scheme,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let scheme = Scheme::of(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    match key.family() == algorithm.family() {
        true => Ok(Box::new(RingVerifier { algorithm: *algorithm, scheme, key: key.clone() })),
        false => Err(ErrorKind::InvalidKeyFormat.into()),
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let verified = match (&self.scheme, self.key.kind()) {
            (Scheme::Hmac(hash), SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(*hash, secret), message, signature)
            }
            (Scheme::Rsa(parameters), RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Scheme::Curve(curve), SecretOrDer(key)) => UnparsedPublicKey::new(*curve, key).verify(message, signature),
            _ => Err(Unspecified),
        };
        verified.map_err(|Unspecified| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
