//! [`FileSecret`]: secrets whose name says which files they are.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use mesh_xds::Resource;
use zeroize::Zeroizing;

use super::secrets;
use crate::spiffe::{PrivateKey, certificates_from_pem, x509::Facts};

const CERTIFICATE: &str = "file-cert:";
const ROOTS: &str = "file-root:";

/// More is no certificate, key or bundle.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A secret from files, by the name that Istio gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FileSecret {
    /// `file-cert:CERTIFICATE~KEY`.
    Certificate {
        /// The chain as PEM, leaf first.
        certificate: PathBuf,
        /// Its private key as PEM.
        key: PathBuf,
    },
    /// `file-root:ROOTS`.
    Roots {
        /// The roots as PEM.
        path: PathBuf,
    },
}

/// Why a secret has no value, or a text is the name of none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileSecretError {
    /// The name is of another form.
    #[error("{0:?} is neither file-cert:CERTIFICATE~KEY nor file-root:ROOTS")]
    Name(String),
    /// A file cannot be read or used. Never holds what is in it.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl FileSecret {
    /// Its name.
    pub fn name(&self) -> String {
        self.to_string()
    }

    /// Reads the files, and checks that they can be used together.
    pub(super) fn read(&self) -> Result<Resource, FileSecretError> {
        match self {
            Self::Certificate { certificate, key } => {
                let (chain, private) = (read(certificate)?, read(key)?);
                let wrong = |path: &Path, reason: String| FileSecretError::File { path: path.to_owned(), reason };
                let all = certificates_from_pem(&chain).map_err(|e| wrong(certificate, e.to_string()))?;
                let facts = all.first().ok_or_else(|| "no certificate".to_owned()).and_then(|leaf| Facts::parse(leaf));
                let facts = facts.map_err(|e| wrong(certificate, e))?;
                let held = PrivateKey::from_pem(&private).and_then(|k| k.public_key_der());
                if held.map_err(|e| wrong(key, e.to_string()))? != facts.public_key {
                    return Err(wrong(key, format!("it is not the key of {}", certificate.display())));
                }
                Ok(secrets::certificate(&self.name(), &chain, &private))
            }
            Self::Roots { path } => {
                let pem = read(path)?;
                certificates_from_pem(&pem)
                    .map_err(|e| FileSecretError::File { path: path.clone(), reason: e.to_string() })?;
                Ok(secrets::roots(self.name(), pem.to_vec(), None))
            }
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileSecretError> {
    let read = || -> io::Result<Zeroizing<Vec<u8>>> {
        let file = File::open(path)?;
        let mut content = Zeroizing::new(Vec::with_capacity(16 * 1024));
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other("it is too large"));
        }
        Ok(content)
    };
    read().map_err(|e| FileSecretError::File { path: path.to_owned(), reason: e.to_string() })
}

impl FromStr for FileSecret {
    type Err = FileSecretError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let wrong = || FileSecretError::Name(name.to_owned());
        if let Some(files) = name.strip_prefix(CERTIFICATE) {
            return match files.split_once('~') {
                Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() && !key.contains('~') => {
                    Ok(Self::Certificate { certificate: certificate.into(), key: key.into() })
                }
                _ => Err(wrong()),
            };
        }
        match name.strip_prefix(ROOTS) {
            Some(path) if !path.is_empty() => Ok(Self::Roots { path: path.into() }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for FileSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { certificate, key } => {
                write!(f, "{CERTIFICATE}{}~{}", certificate.display(), key.display())
            }
            Self::Roots { path } => write!(f, "{ROOTS}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FileSecret;

    #[test]
    fn names() {
        for name in ["file-cert:/etc/certs/chain.pem~/etc/certs/key.pem", "file-root:/etc/certs/root.pem"] {
            assert_eq!(name.parse::<FileSecret>().unwrap().name(), name);
        }
        for bad in [
            "",
            "default",
            "file-cert:",
            "file-cert:a",
            "file-cert:a~",
            "file-cert:~b",
            "file-cert:a~b~c",
            "file-root:",
        ] {
            assert!(bad.parse::<FileSecret>().is_err(), "{bad}");
        }
    }
}
