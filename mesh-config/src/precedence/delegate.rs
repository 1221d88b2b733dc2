//! Routes that are left to another VirtualService.

use std::collections::BTreeMap;

use crate::{
    model::{HttpMatchRequest, HttpRoute, Object, StringMatch, VirtualService},
    snapshot::Snapshot,
};

/// The content of a VirtualService with the rules of its delegates put in; as it is for another kind: empty.
///
/// A delegate is a VirtualService without hosts, and is resolved over one level. Its conditions must be narrower than those
/// of the route that names it; a combination that contradicts itself is left out, and a route of which no combination is
/// left has no effect. What a delegate's rule does not set it takes from the route. A route whose delegate is not there
/// has no effect.
#[must_use]
pub fn with_delegates(snapshot: &Snapshot, object: &Object) -> VirtualService {
    let Some(spec) = object.spec_as::<VirtualService>() else { return VirtualService::default() };
    let mut whole = spec.clone();
    whole.http = spec.http.iter().flat_map(|route| resolve(snapshot, object, route)).collect();
    whole
}

fn resolve(snapshot: &Snapshot, object: &Object, route: &HttpRoute) -> Vec<HttpRoute> {
    let Some(delegate) = &route.delegate else { return vec![route.clone()] };
    let namespace = delegate.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let found = snapshot.find::<VirtualService>(namespace.unwrap_or(object.namespace()), &delegate.name);
    let rules = found.filter(|found| found.spec.hosts.is_empty()).into_iter().flat_map(|found| &found.spec.http);
    rules.filter(|rule| rule.delegate.is_none()).filter_map(|rule| merge(route, rule)).collect()
}

/// A delegate's rule under the route that names it.
fn merge(route: &HttpRoute, rule: &HttpRoute) -> Option<HttpRoute> {
    let matches = match (route.matches.is_empty(), rule.matches.is_empty()) {
        (true, _) => rule.matches.clone(),
        (false, true) => route.matches.clone(),
        (false, false) => {
            let pairs = rule.matches.iter().flat_map(|inner| route.matches.iter().map(move |outer| (outer, inner)));
            let merged: Vec<_> = pairs.filter_map(|(outer, inner)| narrow(outer, inner)).collect();
            if merged.is_empty() {
                return None;
            }
            merged
        }
    };
    let mut merged = rule.clone();
    merged.matches = matches;
    merged.name = join(&route.name, &rule.name);
    let outer = route.clone();
    merged.rewrite = merged.rewrite.or(outer.rewrite);
    merged.timeout = merged.timeout.or(outer.timeout);
    merged.retries = merged.retries.or(outer.retries);
    merged.fault = merged.fault.or(outer.fault);
    merged.cors_policy = merged.cors_policy.or(outer.cors_policy);
    merged.headers = merged.headers.or(outer.headers);
    if merged.mirror.is_none() && merged.mirrors.is_empty() {
        (merged.mirror, merged.mirrors) = (outer.mirror, outer.mirrors);
    }
    merged.mirror_percent = merged.mirror_percent.or(outer.mirror_percent);
    merged.mirror_percentage = merged.mirror_percentage.or(outer.mirror_percentage);
    Some(merged)
}

fn join(outer: &Option<String>, inner: &Option<String>) -> Option<String> {
    match (outer, inner) {
        (Some(outer), Some(inner)) => Some(format!("{outer}-{inner}")),
        (one, other) => one.clone().or_else(|| other.clone()),
    }
}

/// Both conditions as one; `None` when the inner one is not narrower.
fn narrow(outer: &HttpMatchRequest, inner: &HttpMatchRequest) -> Option<HttpMatchRequest> {
    let port = agree(outer.port.as_ref(), inner.port.as_ref())?.copied();
    let namespace = agree(outer.source_namespace.as_ref(), inner.source_namespace.as_ref())?.cloned();
    if outer.uri.is_some() && inner.uri.is_some() && outer.ignore_uri_case != inner.ignore_uri_case {
        return None;
    }
    let mut source_labels = outer.source_labels.clone();
    for (key, value) in &inner.source_labels {
        if source_labels.insert(key.clone(), value.clone()).is_some_and(|old| old != *value) {
            return None;
        }
    }
    Some(HttpMatchRequest {
        name: join(&outer.name, &inner.name),
        uri: text(outer.uri.as_ref(), inner.uri.as_ref())?,
        scheme: text(outer.scheme.as_ref(), inner.scheme.as_ref())?,
        method: text(outer.method.as_ref(), inner.method.as_ref())?,
        authority: text(outer.authority.as_ref(), inner.authority.as_ref())?,
        headers: texts(&outer.headers, &inner.headers)?,
        query_params: texts(&outer.query_params, &inner.query_params)?,
        without_headers: texts(&outer.without_headers, &inner.without_headers)?,
        port,
        source_labels,
        source_namespace: namespace,
        gateways: if inner.gateways.is_empty() { outer.gateways.clone() } else { inner.gateways.clone() },
        ignore_uri_case: outer.ignore_uri_case || inner.ignore_uri_case,
        stat_prefix: inner.stat_prefix.clone().or_else(|| outer.stat_prefix.clone()),
    })
}

/// The value of two, when they do not contradict each other.
fn agree<'t, T: PartialEq>(outer: Option<&'t T>, inner: Option<&'t T>) -> Option<Option<&'t T>> {
    match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => None,
        (outer, inner) => Some(inner.or(outer)),
    }
}

fn text(outer: Option<&StringMatch>, inner: Option<&StringMatch>) -> Option<Option<StringMatch>> {
    match (outer, inner) {
        (Some(outer), Some(inner)) if !is_narrower(outer, inner) => None,
        (outer, inner) => Some(inner.or(outer).cloned()),
    }
}

fn texts(
    outer: &BTreeMap<String, StringMatch>,
    inner: &BTreeMap<String, StringMatch>,
) -> Option<BTreeMap<String, StringMatch>> {
    let mut both = outer.clone();
    for (name, condition) in inner {
        let merged = text(outer.get(name), Some(condition))?;
        both.extend(merged.map(|merged| (name.clone(), merged)));
    }
    Some(both)
}

/// Whether what `inner` takes `outer` takes as well, as far as that can be seen.
fn is_narrower(outer: &StringMatch, inner: &StringMatch) -> bool {
    match (outer, inner) {
        (StringMatch::Present, _) => true,
        (StringMatch::Prefix(outer), StringMatch::Prefix(inner) | StringMatch::Exact(inner)) => {
            inner.starts_with(&**outer)
        }
        // Every path begins with a slash.
        (StringMatch::Prefix(outer), StringMatch::Regex(_)) => outer == "/",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precedence::tests::snapshot;

    const DELEGATE: &str = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pages, namespace: b}
spec:
  http:
  - {name: exact, match: [{uri: {exact: /pages/one}, port: 80}], redirect: {uri: /x}}
  - {name: other, match: [{uri: {prefix: /elsewhere}}], redirect: {uri: /x}}
  - {name: any, timeout: 5s, redirect: {uri: /x}}
";

    fn resolved(route: &str) -> Vec<HttpRoute> {
        let root = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: root, namespace: a}}\nspec: \
             {{hosts: [h.example.com], gateways: [gw], http: [{route}]}}\n"
        );
        let all = snapshot(&(root + DELEGATE));
        let object = all.of_kind(crate::model::Kind::VirtualService).next().unwrap();
        with_delegates(&all, object).http
    }

    #[test]
    fn narrower_conditions_are_put_in_and_others_left_out() {
        let routes = resolved(
            "{name: top, match: [{uri: {prefix: /pages}, headers: {x: {exact: y}}}], timeout: 9s, delegate: {name: pages, \
             namespace: b}}",
        );
        let names: Vec<_> = routes.iter().map(|route| route.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["top-exact", "top-any"]);
        let first = &routes[0].matches[0];
        assert_eq!(first.uri, Some(StringMatch::Exact("/pages/one".to_owned())));
        assert_eq!((first.port, first.headers.len()), (Some(80), 1));
        assert_eq!(routes[1].matches[0].uri, Some(StringMatch::Prefix("/pages".to_owned())));
        // What the delegate sets counts; what it does not set comes from the route.
        let timeouts: Vec<_> = routes.iter().map(|route| route.timeout.unwrap().to_string()).collect();
        assert_eq!(timeouts, ["9s", "5s"]);
        assert!(routes.iter().all(|route| route.delegate.is_none()));
    }

    #[test]
    fn a_delegate_that_is_not_there_has_no_effect() {
        assert!(resolved("{delegate: {name: pages}}").is_empty());
        assert!(resolved("{match: [{uri: {exact: /x}}], delegate: {name: root, namespace: a}}").is_empty());
    }
}
