//! TLS of a listener. The certificate is read again when its files change.

use crate::paths;
use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
pub use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// The protocol that listeners speak, for ALPN.
const HTTP: &[u8] = b"http/1.1";

/// The files of a listener's TLS, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The certificates of the authorities that issue clients' certificates. If set, every client must have one.
    pub client_ca: Option<PathBuf>,
}

/// A file of a listener's TLS cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct TlsFileError {
    /// The field of [`TlsFiles`] that names the file.
    pub key: &'static str,
    /// The fault, the file and the remedy.
    pub why: String,
}

/// What the files contain.
struct Content {
    config: ServerConfig,
    expired: bool,
}

/// The TLS of a listener.
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

/// What tells whether a file has changed: its inode, its size and its time.
type Stamp = [Option<(u64, u64, SystemTime)>; 3];

// === impl TlsFiles ===

impl TlsFiles {
    /// Checks the files. Returns whether the certificate has expired.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn check(&self) -> Result<bool, Vec<TlsFileError>> {
        self.read().map(|content| content.expired)
    }

    fn read(&self) -> Result<Content, Vec<TlsFileError>> {
        let chain = certificates("certificate", &self.certificate);
        let key = private_key(&self.key);
        let authorities = self.client_ca.as_ref().map(|path| authorities(path)).transpose();
        match (chain, key, authorities) {
            (Ok(chain), Ok(key), Ok(authorities)) => {
                let expired = chain.first().is_some_and(has_expired);
                let config = self.config(chain, key, authorities).map_err(|error| vec![error])?;
                Ok(Content { config, expired })
            }
            (chain, key, authorities) => {
                Err([chain.err(), key.err(), authorities.err()].into_iter().flatten().collect())
            }
        }
    }

    fn config(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authorities: Option<RootCertStore>,
    ) -> Result<ServerConfig, TlsFileError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider supports TLS 1.2 and 1.3");
        let builder = match authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
                builder.with_client_cert_verifier(verifier.expect("there is an authority, and no revocation list"))
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|e| self.unfit(&e))?;
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(config)
    }

    fn unfit(&self, error: &rustls::Error) -> TlsFileError {
        let (certificate, key) = (self.certificate.display(), paths::redacted(&self.key));
        match error {
            rustls::Error::InconsistentKeys(_) => TlsFileError {
                key: "key",
                why: format!(
                    "{key} is not the key of {certificate}: name the key with which the certificate was requested"
                ),
            },
            other => TlsFileError {
                key: "certificate",
                why: format!("{certificate} cannot be used with {key}: {other}; name a certificate and its key in PEM"),
            },
        }
    }

    fn stamp(&self) -> Stamp {
        let stamp = |path: &PathBuf| {
            let found: Metadata = path.metadata().ok()?;
            Some((found.ino(), found.len(), found.modified().ok()?))
        };
        [stamp(&self.certificate), stamp(&self.key), self.client_ca.as_ref().and_then(stamp)]
    }
}

// === impl Tls ===

impl Tls {
    /// Reads the files, and logs a warning if the certificate has expired.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn load(files: TlsFiles) -> Result<Self, Vec<TlsFileError>> {
        let Content { config, expired } = files.read()?;
        warn_if(expired, &files);
        Ok(Self { files, config: RwLock::new(Arc::new(config)) })
    }

    /// The acceptor for the next connection.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        self.config.read().clone().into()
    }

    /// Reads the files again whenever they change. If they cannot be used, connections go on with the previous ones.
    /// Never returns.
    pub async fn reload(self: Arc<Self>) {
        let mut ticks = interval(RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Files that changed since they were first read are read again on the first tick.
        let mut last = Stamp::default();
        loop {
            ticks.tick().await;
            let this = self.clone();
            match spawn_blocking(move || this.reload_if_changed(last)).await {
                Ok(stamp) => last = stamp,
                Err(error) => tracing::error!(%error, "the look at the files of a certificate panicked"),
            }
        }
    }

    fn reload_if_changed(&self, last: Stamp) -> Stamp {
        let stamp = self.files.stamp();
        if stamp == last {
            return stamp;
        }
        let certificate = self.files.certificate.display();
        match self.files.read() {
            Ok(Content { config, expired }) => {
                *self.config.write() = Arc::new(config);
                if last != Stamp::default() {
                    tracing::info!(%certificate, "the certificate was read again");
                    warn_if(expired, &self.files);
                }
            }
            Err(errors) => tracing::warn!(
                %certificate,
                error = %joined(&errors),
                "the changed files of TLS cannot be used: new connections get the previous certificate"
            ),
        }
        stamp
    }
}

/// The errors in one line.
#[must_use]
pub fn joined(errors: &[TlsFileError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn warn_if(expired: bool, files: &TlsFiles) {
    if expired {
        tracing::warn!(certificate = %files.certificate.display(), "the certificate has expired: clients refuse it");
    }
}

/// Reads the certificates in a file in PEM, of which there is at least one. `key` is the field that names the file.
///
/// # Errors
/// The file cannot be used.
pub fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let error = |why: String| TlsFileError { key, why };
    paths::check_file(path).map_err(|why| error(format!("{why}: name a file with certificates in PEM")))?;
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => {
            Err(error(format!("{} has no certificate in PEM (-----BEGIN CERTIFICATE-----)", path.display())))
        }
        Ok(found) => Ok(found),
        Err(e) => Err(error(format!("{} is not a file in PEM: {e}", path.display()))),
    }
}

/// Reads a private key in PEM.
///
/// # Errors
/// The file cannot be used.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let error = |why: String| TlsFileError { key: "key", why };
    paths::check_file(path).map_err(|why| error(format!("{why}: name the file of the certificate's key in PEM")))?;
    PrivateKeyDer::from_pem_file(path).map_err(|e| {
        let shown = paths::redacted(path);
        error(format!("{shown} has no private key in PEM without a password ({e}): write the key as PKCS#8"))
    })
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("client_ca", path)? {
        let why = |e| format!("{} has a certificate that is no authority's: {e}", path.display());
        store.add(certificate).map_err(|e| TlsFileError { key: "client_ca", why: why(e) })?;
    }
    Ok(store)
}

/// Whether the certificate has expired. Its issuer does not matter here.
fn has_expired(certificate: &CertificateDer<'_>) -> bool {
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let usage = webpki::KeyUsage::server_auth();
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|certificate| {
        let verified = certificate.verify_for_usage(algorithms, &[], &[], UnixTime::now(), usage, None, None);
        matches!(verified, Err(webpki::Error::CertExpired { .. }))
    })
}
