//! Redirects of the upstream that are followed here (`RouteAction.internal_redirect_policy`).

use std::collections::HashSet;

use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, LOCATION},
};

use super::{
    manager::{Routed, find_route},
    stream::Stream,
    target,
};
use crate::{
    model::{Action, InternalRedirect, RedirectPredicate},
    upstream::UpstreamBody,
};

const ORIGINAL_URL: HeaderName = HeaderName::from_static("x-envoy-original-url");

/// The redirects of one request so far.
#[derive(Debug, Default)]
pub(super) struct Trail {
    followed: u32,
    /// Pairs of route names: from, to.
    taken: HashSet<(String, String)>,
}

impl Trail {
    /// If `response` is a redirect that the route wants followed: changes the request and gives its new route. Otherwise
    /// the request is as it was.
    pub(super) fn follow(
        &mut self,
        stream: &mut Stream,
        routed: &Routed,
        response: &Response<UpstreamBody>,
        random: u64,
    ) -> Option<Routed> {
        let Action::Forward(forward) = &routed.route.action else { return None };
        let policy = forward.internal_redirect.as_deref()?;
        if !policy.statuses.contains(&response.status()) || !is_repeatable(stream) || self.followed >= policy.max {
            return None;
        }
        let location: Uri = response.headers().get(LOCATION)?.to_str().ok()?.parse().ok()?;
        // As in Envoy, a request is plaintext if either it or its connection is.
        let from = target::scheme(&stream.request) == "https" && stream.connection.info.tls.is_some();
        let to = scheme(location.scheme_str()?)?;
        if from != to && !policy.allow_cross_scheme {
            return None;
        }
        let original_url = original_url(stream, from);
        let request = &stream.request;
        let before = (request.uri.clone(), request.headers.clone(), target::scheme(request), stream.info.route.clone());
        point_to(stream, &location)?;
        let found = find_route(stream, random).filter(|next| self.admits(policy, routed, next, from, to));
        let Some(next) = found else {
            let (uri, headers, scheme, route) = before;
            (stream.request.uri, stream.request.headers, stream.info.route) = (uri, headers, route);
            target::set_scheme(&mut stream.request, scheme);
            return None;
        };
        self.followed += 1;
        if response.status() == StatusCode::SEE_OTHER
            && stream.request.method != Method::GET
            && stream.request.method != Method::HEAD
        {
            become_get(stream);
        }
        if let Some(url) = original_url {
            stream.request.headers.insert(ORIGINAL_URL, url);
        }
        copy_headers(stream, policy, response);
        stream.info.attempts = 0;
        Some(next)
    }

    fn admits(&mut self, policy: &InternalRedirect, from: &Routed, to: &Routed, secure: bool, to_secure: bool) -> bool {
        policy.predicates.iter().all(|predicate| match predicate {
            RedirectPredicate::PreviousRoutes => self.taken.insert((from.route.name.clone(), to.route.name.clone())),
            RedirectPredicate::AllowListed(names) => names.contains(&to.route.name),
            RedirectPredicate::SafeCrossScheme => secure || !to_secure,
        })
    }
}

/// Whether the scheme is HTTPS; `None` if it is not HTTP at all.
fn scheme(name: &str) -> Option<bool> {
    match name {
        "https" => Some(true),
        "http" => Some(false),
        _ => None,
    }
}

/// The request has arrived whole, and can be sent once more.
fn is_repeatable(stream: &Stream) -> bool {
    let whole =
        |upload: &super::upload::Upload| upload.ended().is_some() && upload.is_replayable() && !upload.has_failed();
    stream.upload.as_deref().is_none_or(whole)
}

fn original_url(stream: &Stream, secure: bool) -> Option<HeaderValue> {
    let (scheme, view) = (if secure { "https" } else { "http" }, target::view(&stream.request));
    HeaderValue::try_from(format!("{scheme}://{}{}", view.authority, view.path)).ok()
}

/// Scheme, authority and path of `location`.
fn point_to(stream: &mut Stream, location: &Uri) -> Option<()> {
    let authority = location.authority()?.as_str();
    target::set_authority(&mut stream.request, authority);
    let path = location.path_and_query().map_or("/", |path| path.as_str());
    target::set_path(&mut stream.request, path.to_owned());
    target::set_scheme(&mut stream.request, if location.scheme_str() == Some("https") { "https" } else { "http" });
    Some(())
}

/// RFC 9110, section 15.4.4: a 303 is followed with GET, and without the body.
fn become_get(stream: &mut Stream) {
    stream.request.method = Method::GET;
    stream.request.headers.remove(CONTENT_LENGTH);
    if let Some(upload) = stream.upload.take() {
        stream.info.bytes_received = upload.bytes();
        stream.info.timings.request_end = upload.ended();
    }
}

fn copy_headers(stream: &mut Stream, policy: &InternalRedirect, response: &Response<UpstreamBody>) {
    for name in &policy.copied {
        stream.request.headers.remove(name);
        for value in response.headers().get_all(name) {
            stream.request.headers.append(name, value.clone());
        }
    }
}
