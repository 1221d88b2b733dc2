//! Session persistence (experimental channel).

use serde::{Deserialize, Serialize};

/// How the requests of a session are kept with one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SessionPersistence {
    /// The longest life of a session, in the form of GEP-2257.
    pub absolute_timeout: Option<String>,
    /// `Cookie` (default) or `Header`.
    #[serde(rename = "type")]
    pub session_type: Option<String>,
    /// The cookie that names the session.
    pub cookie: Option<SessionCookie>,
    /// The header that names the session.
    pub header: Option<SessionHeader>,
    /// How long the cookie lives. Of older versions.
    pub cookie_config: Option<SessionCookieConfig>,
    /// The name of the session. Of older versions.
    pub session_name: Option<String>,
    /// The longest pause within a session. Of older versions.
    pub idle_timeout: Option<String>,
}

/// The cookie that names a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SessionCookie {
    /// `Session` (default) or `Permanent`.
    pub lifetime_type: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The path; `/` by default.
    pub path: Option<String>,
}

/// How long the cookie of a session lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SessionCookieConfig {
    /// `Session` (default) or `Permanent`.
    pub lifetime_type: Option<String>,
}

/// The header that names a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SessionHeader {
    /// The name.
    pub name: String,
}
