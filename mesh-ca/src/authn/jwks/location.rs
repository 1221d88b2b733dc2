//! [`JwksLocation`]: where a key set is found.

use std::{fmt, io::Read, path::PathBuf, sync::Arc, time::Duration};

use rustls::ClientConfig;
use serde::Deserialize;

use crate::{
    authn::jwt_key::{JwtKey, JwtKeyError, MAX_JWKS_BYTES},
    clock::Clock,
    fetch::{self, FetchError, FetchLimits, HttpsUrl, HttpsUrlError, WebRoots},
    tls,
};

/// Where a key set is found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum JwksLocation {
    /// A file, written by somebody else; it may change.
    File(PathBuf),
    /// An address.
    Url {
        /// The address of the set itself.
        url: HttpsUrl,
        /// Who speaks for its host.
        roots: WebRoots,
    },
    /// The address of an OpenID provider, whose configuration says where the set is (OpenID Connect Discovery 1.0 section
    /// 4). Kubernetes is one.
    Discovery {
        /// The issuer exactly as it stands in tokens.
        issuer: String,
        /// Who speaks for its host and for that of the set.
        roots: WebRoots,
    },
}

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The document could not be fetched.
    #[error("{0}")]
    Fetch(#[from] FetchError),
    /// The document has no keys for us.
    #[error("{0}")]
    Keys(#[from] JwtKeyError),
    /// An address is none.
    #[error("{what} {url:?}: {reason}")]
    Url {
        /// Whose address.
        what: &'static str,
        /// The address.
        url: String,
        /// What is wrong.
        reason: HttpsUrlError,
    },
    /// The provider's configuration cannot be read.
    #[error("OpenID configuration: {0}")]
    Configuration(String),
    /// The provider says that it is somebody else (OpenID Connect Discovery 1.0 section 4.3).
    #[error("OpenID configuration is of issuer {got:?}, not of {wanted:?}")]
    Issuer {
        /// Who it must be.
        wanted: String,
        /// Who it is.
        got: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// OpenID Connect Discovery 1.0 section 3; what else stands there is not looked at.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl JwksLocation {
    /// The keys, and for how long they are fresh.
    pub(super) async fn fetch(
        &self,
        timeout: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Vec<JwtKey>, Option<Duration>), JwksError> {
        let limits = FetchLimits { timeout, max_bytes: MAX_JWKS_BYTES };
        match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(path));
                let text = read.await.map_err(|e| JwksError::Configuration(e.to_string()))??;
                // A file costs nothing: look again soon.
                Ok((JwtKey::all_from_jwks(&text)?, Some(Duration::ZERO)))
            }
            Self::Url { url, roots } => keys_at(url, tls::web_client_config(roots, clock)?, limits).await,
            Self::Discovery { issuer, roots } => {
                let tls = tls::web_client_config(roots, clock)?;
                let found = async {
                    let url = jwks_uri(issuer, tls.clone(), limits).await?;
                    keys_at(&url, tls, limits).await
                };
                let late = FetchError::TimedOut(timeout);
                tokio::time::timeout(timeout, found).await.unwrap_or(Err(late.into()))
            }
        }
    }
}

async fn keys_at(
    url: &HttpsUrl,
    tls: ClientConfig,
    limits: FetchLimits,
) -> Result<(Vec<JwtKey>, Option<Duration>), JwksError> {
    let fetched = fetch::get(url, tls, limits).await?;
    Ok((JwtKey::all_from_jwks(&fetched.body)?, fetched.fresh_for))
}

async fn jwks_uri(issuer: &str, tls: ClientConfig, limits: FetchLimits) -> Result<HttpsUrl, JwksError> {
    let parse = |what, text: &str| {
        HttpsUrl::parse(text).map_err(|reason| JwksError::Url { what, url: text.to_owned(), reason })
    };
    // Section 4.1: a slash at the end goes before the path is added.
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let fetched = fetch::get(&parse("issuer", &url)?, tls, limits).await?;
    let found: Configuration =
        serde_json::from_slice(&fetched.body).map_err(|e| JwksError::Configuration(e.to_string()))?;
    if found.issuer != issuer {
        return Err(JwksError::Issuer { wanted: issuer.to_owned(), got: found.issuer });
    }
    parse("jwks_uri", &found.jwks_uri)
}

fn read(path: PathBuf) -> Result<Vec<u8>, JwksError> {
    let mut text = Vec::new();
    let read = std::fs::File::open(&path).and_then(|f| f.take(MAX_JWKS_BYTES as u64 + 1).read_to_end(&mut text));
    read.map(|_| text).map_err(|source| JwksError::Read { path, source })
}

impl fmt::Display for JwksLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url { url, .. } => url.fmt(f),
            Self::Discovery { issuer, .. } => f.write_str(issuer),
        }
    }
}
