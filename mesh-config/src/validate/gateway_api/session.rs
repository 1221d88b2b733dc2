//! Session persistence.

use super::{header, name};
use crate::{
    model::gateway_api::SessionPersistence,
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks how sessions are kept.
pub(super) fn validate(path: FieldPath<'_>, session: &SessionPersistence, findings: &mut Findings<'_>) {
    name::word(path.field("type"), session.session_type.as_deref(), &["Cookie", "Header"], findings);
    name::duration(path.field("absoluteTimeout"), session.absolute_timeout.as_deref(), findings);
    name::duration(path.field("idleTimeout"), session.idle_timeout.as_deref(), findings);
    let by_cookie = session.session_type.as_deref().unwrap_or("Cookie") == "Cookie";
    if let Some(cookie) = &session.cookie {
        let at = path.field("cookie");
        if !by_cookie {
            findings.error(at, "cookie needs type Cookie");
        }
        name::word(at.field("lifetimeType"), cookie.lifetime_type.as_deref(), &["Permanent", "Session"], findings);
        if let Some(text) = &cookie.name {
            header::token(at.field("name"), text, findings);
        }
        rules::max_len(at.field("path"), cookie.path.as_deref().unwrap_or_default(), 1024, findings);
    }
    if let Some(config) = &session.cookie_config {
        let at = path.field("cookieConfig");
        if !by_cookie {
            findings.error(at, "cookieConfig needs type Cookie");
        }
        name::word(at.field("lifetimeType"), config.lifetime_type.as_deref(), &["Permanent", "Session"], findings);
    }
    let own = session.cookie.as_ref().and_then(|cookie| cookie.lifetime_type.as_deref());
    let older = session.cookie_config.as_ref().and_then(|config| config.lifetime_type.as_deref());
    if own.or(older) == Some("Permanent") && session.absolute_timeout.is_none() {
        findings.error(path, "absoluteTimeout is required for a permanent cookie");
    }
    if let Some(sent) = &session.header {
        let at = path.field("header");
        if by_cookie {
            findings.error(at, "header needs type Header");
        }
        header::token(at.field("name"), &sent.name, findings);
    } else if !by_cookie && session.session_name.is_none() {
        findings.error(path, "header is required for type Header");
    }
}
