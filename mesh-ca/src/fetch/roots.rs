//! [`WebRoots`].

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::RootCertStore;

use crate::spiffe::{PemError, certificates_from_pem};

/// Where systems keep the public authorities, most common first: Debian, Red Hat, SUSE, Alpine.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities of the public web (or of a company's) that servers are verified with by DNS name. They never verify a
/// SPIFFE id.
#[derive(Clone)]
pub struct WebRoots(Arc<RootCertStore>);

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebRootsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The text is not PEM with certificates.
    #[error("web roots: {0}")]
    Pem(#[from] PemError),
    /// None of the certificates can be an authority.
    #[error("web roots: no certificate in it can be used")]
    NoneUsable,
    /// The system keeps them in none of the usual places.
    #[error("no public authorities found; set SSL_CERT_FILE to a PEM file, or install ca-certificates")]
    NotFound,
}

impl WebRoots {
    /// Reads PEM text. Certificates that cannot be an authority are passed over.
    ///
    /// # Errors
    /// When none is left.
    pub fn from_pem(pem: &[u8]) -> Result<Self, WebRootsError> {
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(certificates_from_pem(pem)?);
        if usable == 0 { Err(WebRootsError::NoneUsable) } else { Ok(Self(Arc::new(roots))) }
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// As [`WebRoots::from_pem`], or when it cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, WebRootsError> {
        let pem = fs::read(path).map_err(|source| WebRootsError::Read { path: path.to_owned(), source })?;
        Self::from_pem(&pem)
    }

    /// Those of the operating system: the file that `SSL_CERT_FILE` names, else the first of the usual ones.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn system() -> Result<Self, WebRootsError> {
        if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|p| !p.is_empty()) {
            return Self::from_file(Path::new(&path));
        }
        let found = SYSTEM_FILES.iter().map(Path::new).find(|p| p.exists());
        found.map_or(Err(WebRootsError::NotFound), Self::from_file)
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for WebRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebRoots({})", self.0.len())
    }
}
