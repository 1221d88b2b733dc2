//! [`HttpsUrl`].

use std::{fmt, str::FromStr};

use http::Uri;
use rustls_pki_types::ServerName;

/// The address of a document: scheme `https`, a host, no user information (SPIFFE_Federation.md sections 5.2.1.1 and
/// 5.2.2.1). A fragment is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsUrl {
    uri: Uri,
    host: String,
    server_name: ServerName<'static>,
}

/// Why a text is no [`HttpsUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsUrlError {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Malformed(String),
    /// Another scheme than `https`.
    #[error("the scheme must be https")]
    Scheme,
    /// It holds a user's name or password.
    #[error("a user must not be named in it")]
    UserInfo,
    /// There is no host, or it is neither DNS name nor IP address.
    #[error("the host must be a DNS name or an IP address")]
    Host,
    /// A relative reference of a kind that is not followed.
    #[error("only absolute URLs and absolute paths are followed")]
    Relative,
}

impl HttpsUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// See [`HttpsUrlError`].
    pub fn parse(text: &str) -> Result<Self, HttpsUrlError> {
        let uri: Uri = text.parse().map_err(|e: http::uri::InvalidUri| HttpsUrlError::Malformed(e.to_string()))?;
        if uri.scheme_str() != Some("https") {
            return Err(HttpsUrlError::Scheme);
        }
        let authority = uri.authority().ok_or(HttpsUrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(HttpsUrlError::UserInfo);
        }
        // A port that is no number would be read as none.
        let after_host = authority.as_str().strip_prefix(authority.host()).ok_or(HttpsUrlError::Host)?;
        if !after_host.is_empty() && authority.port_u16().is_none() {
            return Err(HttpsUrlError::Malformed("the port is no number".into()));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let server_name = ServerName::try_from(host.clone()).map_err(|_| HttpsUrlError::Host)?;
        Ok(Self { uri, host, server_name })
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 443 when none is named.
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(443)
    }

    /// Path and query.
    pub fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |p| p.as_str())
    }

    pub(super) fn authority(&self) -> String {
        self.uri.authority().map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// The URL that a `Location` names.
    pub(super) fn join(&self, location: &str) -> Result<Self, HttpsUrlError> {
        if location.starts_with("//") {
            return Self::parse(&format!("https:{location}"));
        }
        if location.starts_with('/') {
            return Self::parse(&format!("https://{}{location}", self.authority()));
        }
        if location.contains("://") { Self::parse(location) } else { Err(HttpsUrlError::Relative) }
    }
}

impl FromStr for HttpsUrl {
    type Err = HttpsUrlError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpsUrl, HttpsUrlError as E};

    #[test]
    fn parsing() {
        for (text, host, port, path) in [
            ("https://host.example.com/trust_domain", "host.example.com", 443, "/trust_domain"),
            ("https://example.com", "example.com", 443, "/"),
            ("https://127.0.0.1:8443/a?b=c#d", "127.0.0.1", 8443, "/a?b=c"),
            ("https://[::1]:9/x", "::1", 9, "/x"),
        ] {
            let url = HttpsUrl::parse(text).unwrap();
            assert_eq!((url.host(), url.port(), url.path_and_query()), (host, port, path), "{text}");
        }
        for (text, wrong) in [
            ("http://example.com/", E::Scheme),
            ("/only/a/path", E::Scheme),
            ("example.com", E::Scheme),
            ("https://user@example.com/", E::UserInfo),
            ("https://user:secret@example.com/", E::UserInfo),
            ("https://a_b!/", E::Host),
        ] {
            assert_eq!(HttpsUrl::parse(text), Err(wrong), "{text}");
        }
        for text in ["", "https://", "https://a b/", "https://example.com:x/", "https://example.com:/"] {
            assert!(HttpsUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects() {
        let from = HttpsUrl::parse("https://one.example:8443/a/b").unwrap();
        let to = |location| from.join(location).map(|u| u.to_string());
        assert_eq!(to("/c?d").unwrap(), "https://one.example:8443/c?d");
        assert_eq!(to("//two.example/c").unwrap(), "https://two.example/c");
        assert_eq!(to("https://two.example/").unwrap(), "https://two.example/");
        assert_eq!(to("http://two.example/"), Err(E::Scheme));
        assert_eq!(to("https://u:p@two.example/"), Err(E::UserInfo));
        assert_eq!(to("c"), Err(E::Relative));
    }
}
