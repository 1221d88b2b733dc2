//! Path, host and redirect rewrites of a route (`RouteAction`, `RedirectAction`).

use std::borrow::Cow;

use crate::model::{HeaderView, PathMatch, PathRewrite, Redirect, RedirectPath, Route};

/// The path that goes upstream; `None` if it is unchanged. `format` gives what a text with operators stands for.
pub(super) fn path(
    route: &Route,
    rewrite: &PathRewrite,
    target: &str,
    format: impl FnOnce(&str) -> String,
) -> Option<String> {
    let (path, query) = split(target);
    let new = match rewrite {
        PathRewrite::None => return None,
        PathRewrite::Prefix(prefix) => replace_matched(route, path, prefix),
        PathRewrite::Regex(pattern, substitution) => {
            pattern.replace_all(path, &*replacement(substitution)).into_owned()
        }
        PathRewrite::Format(text) => format(text),
        PathRewrite::Template(template) => template.rewrite(path)?,
    };
    Some(new + query)
}

/// The `location` of a redirect. `format` as for [`path`].
pub(super) fn location(
    route: &Route,
    redirect: &Redirect,
    request: &HeaderView<'_>,
    format: impl FnOnce(&str) -> String,
) -> String {
    let (path, query) = split(request.path);
    let scheme = redirect.scheme.as_deref().unwrap_or(request.scheme);
    let (host, port) = host_and_port(request.authority);
    let mut location = match (&redirect.host, redirect.keep_authority) {
        (Some(host), _) => format!("{scheme}://{host}"),
        (None, true) => format!("{scheme}://{}", request.authority),
        (None, false) => format!("{scheme}://{host}"),
    };
    // A default port goes away with the scheme it was the default of.
    let stays = |port: &str| scheme == request.scheme || !port.parse().is_ok_and(|p| is_default(request.scheme, p));
    let port = match redirect.port {
        Some(port) => Some(port.to_string()),
        None if redirect.host.is_some() || redirect.keep_authority => None,
        None => port.filter(|port| stays(port)).map(str::to_owned),
    };
    if let Some(port) = port {
        location.push(':');
        location.push_str(&port);
    }
    let new_path = match &redirect.path {
        RedirectPath::Keep => Cow::Borrowed(path),
        RedirectPath::Full(full) => Cow::Borrowed(full.as_str()),
        RedirectPath::Format(text) => Cow::Owned(format(text)),
        RedirectPath::Prefix(prefix) => Cow::Owned(replace_matched(route, path, prefix)),
        RedirectPath::Regex(pattern, substitution) => pattern.replace_all(path, &*replacement(substitution)),
    };
    location.push_str(&new_path);
    if !redirect.strip_query && !new_path.contains('?') {
        location.push_str(query);
    }
    location
}

/// A regular expression's replacement in the regex crate's form: Envoy writes `\1`, the crate `${1}`.
pub(super) fn replacement(substitution: &str) -> Cow<'_, str> {
    if !substitution.contains(['\\', '$']) {
        return Cow::Borrowed(substitution);
    }
    let mut out = String::with_capacity(substitution.len() + 4);
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(d) if d.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(d);
                    out.push('}');
                }
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Replaces the part of `path` that the route matched.
fn replace_matched(route: &Route, path: &str, with: &str) -> String {
    let matched = match &route.matches.path {
        PathMatch::Prefix(prefix) | PathMatch::SeparatedPrefix(prefix) => prefix.len(),
        _ => path.len(),
    };
    let rest = path.get(matched..).unwrap_or("");
    format!("{with}{rest}")
}

fn split(target: &str) -> (&str, &str) {
    target.find('?').map_or((target, ""), |at| target.split_at(at))
}

/// Splits `host:port`; an IPv6 address keeps its brackets.
pub(super) fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') && authority[at + 1..].bytes().all(|b| b.is_ascii_digit()) => {
            (&authority[..at], Some(&authority[at + 1..]))
        }
        _ => (authority, None),
    }
}

fn is_default(scheme: &str, port: u16) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{host_and_port, location, path, replacement};
    use crate::model::{HeaderView, PathMatch, PathRewrite, Redirect, RedirectPath, Route, RouteMatch};

    fn route(path: PathMatch) -> Route {
        Route { matches: RouteMatch { path, ..RouteMatch::default() }, ..Route::default() }
    }

    fn rewritten(route: &Route, rewrite: &PathRewrite, target: &str) -> Option<String> {
        path(route, rewrite, target, str::to_owned)
    }

    #[test]
    fn rewrites() {
        let prefix = route(PathMatch::Prefix("/api".into()));
        assert_eq!(rewritten(&prefix, &PathRewrite::Prefix("/v1".into()), "/api/x?q=/api").unwrap(), "/v1/x?q=/api");
        let exact = route(PathMatch::Exact("/a".into()));
        assert_eq!(rewritten(&exact, &PathRewrite::Prefix("/b".into()), "/a?q").unwrap(), "/b?q");
        let regex = PathRewrite::Regex(regex::Regex::new("^/(\\w+)/(\\w+)").unwrap(), "/\\2/$\\1".into());
        assert_eq!(rewritten(&prefix, &regex, "/a/b/c?d").unwrap(), "/b/$a/c?d");
        assert_eq!(rewritten(&prefix, &PathRewrite::Format("/x".into()), "/api?d").unwrap(), "/x?d");
        assert_eq!(rewritten(&prefix, &PathRewrite::None, "/api"), None);
        assert_eq!(replacement("\\\\1"), "\\1");
    }

    #[test]
    fn redirects() {
        let prefix = route(PathMatch::Prefix("/api".into()));
        let headers = HeaderMap::new();
        let to = |r: Redirect, authority| {
            let view = HeaderView { method: "GET", path: "/api/x?q=1", authority, scheme: "http", headers: &headers };
            location(&prefix, &r, &view, str::to_owned)
        };
        let https = || Redirect { scheme: Some("https".into()), ..Redirect::default() };
        assert_eq!(to(https(), "a.com:80"), "https://a.com/api/x?q=1");
        assert_eq!(to(Redirect { keep_authority: true, ..https() }, "a.com:80"), "https://a.com:80/api/x?q=1");
        assert_eq!(to(https(), "a.com:8080"), "https://a.com:8080/api/x?q=1");
        assert_eq!(to(Redirect { host: Some("b".into()), ..Redirect::default() }, "a:81"), "http://b/api/x?q=1");
        assert_eq!(to(Redirect { port: Some(8443), ..https() }, "[::1]:80"), "https://[::1]:8443/api/x?q=1");
        assert_eq!(to(Redirect { port: Some(443), ..https() }, "a"), "https://a:443/api/x?q=1");
        let strip = Redirect { path: RedirectPath::Prefix("/v2".into()), strip_query: true, ..Redirect::default() };
        assert_eq!(to(strip, "a"), "http://a/v2/x");
        let full = Redirect { path: RedirectPath::Full("/new?z".into()), ..Redirect::default() };
        assert_eq!(to(full, "a"), "http://a/new?z");
    }

    #[test]
    fn authorities() {
        assert_eq!(host_and_port("a:1"), ("a", Some("1")));
        assert_eq!(host_and_port("[::1]"), ("[::1]", None));
        assert_eq!(host_and_port("a"), ("a", None));
    }
}
