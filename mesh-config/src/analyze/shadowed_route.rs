//! Rules of VirtualServices that no request can reach (MESH0105).

use std::collections::BTreeMap;

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{HttpMatchRequest, Kind, StringMatch, VirtualService},
    path::FieldPath,
};

/// Finds HTTP rules each of whose matches asks for all that one match of a rule before asks for, and more.
///
/// Beyond IST0130 and IST0131, which compare what is written, this compares which requests fit: an exact path under a
/// prefix, conditions on headers that only narrow down. Expressions are covered only by the same expression.
#[derive(Debug)]
pub(super) struct ShadowedRoute;

impl Analyzer for ShadowedRoute {
    fn name(&self) -> &'static str {
        "virtualservice.shadowed-route"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::VirtualService])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        let http = root.field("http");
        for service in context.snapshot().all::<VirtualService>() {
            let routes = &service.spec.http;
            for (index, route) in routes.iter().enumerate().skip(1) {
                // A rule without matches behind another one is reported as such (IST0130).
                let catches_all = routes[..index].iter().any(|before| before.matches.is_empty());
                if route.matches.is_empty() || catches_all {
                    continue;
                }
                let before = || {
                    let rules = routes[..index].iter().enumerate();
                    rules.flat_map(|(number, rule)| rule.matches.iter().map(move |one| (number, one)))
                };
                let covering: Option<Vec<usize>> = route
                    .matches
                    .iter()
                    .map(|one| before().find(|(_, first)| covers(first, one)).map(|(number, _)| number))
                    .collect();
                let same = |one: &HttpMatchRequest| before().any(|(_, first)| is_same(first, one));
                let Some(covering) = covering.filter(|_| !route.matches.iter().all(same)) else { continue };
                let mut names: Vec<_> =
                    covering.iter().map(|number| label(routes[*number].name.as_ref(), *number)).collect();
                names.dedup();
                let args: [&dyn std::fmt::Display; 2] = [&label(route.name.as_ref(), index), &names.join(", ")];
                let finding = Diagnostic::on(Code::ShadowedRoute, service.object, http.index(index), &args);
                findings.push(finding.with_help("put the narrower rule before the wider one"));
            }
        }
    }
}

fn label(name: Option<&String>, index: usize) -> String {
    name.filter(|name| !name.is_empty()).map_or_else(|| format!("#{index}"), |name| format!("{name:?}"))
}

fn is_same(one: &HttpMatchRequest, other: &HttpMatchRequest) -> bool {
    let nameless = |one: &HttpMatchRequest| HttpMatchRequest { name: None, ..one.clone() };
    nameless(one) == nameless(other)
}

/// Whether every request that fits `later` fits `first` as well.
fn covers(first: &HttpMatchRequest, later: &HttpMatchRequest) -> bool {
    let paths = match (&first.uri, &later.uri) {
        (None, _) => true,
        // Every path begins with the root.
        (Some(StringMatch::Prefix(root)), _) if root == "/" => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => first.ignore_uri_case == later.ignore_uri_case && wider(one, other),
    };
    let gateways = first.gateways.is_empty()
        || (!later.gateways.is_empty() && later.gateways.iter().all(|gateway| first.gateways.contains(gateway)));
    paths
        && gateways
        && [(&first.scheme, &later.scheme), (&first.method, &later.method), (&first.authority, &later.authority)]
            .into_iter()
            .all(|(first, later)| narrows(first.as_ref(), later.as_ref()))
        && (first.port.is_none() || first.port == later.port)
        && (first.source_namespace.is_none() || first.source_namespace == later.source_namespace)
        && first.source_labels.iter().all(|(key, value)| later.source_labels.get(key) == Some(value))
        && all_narrow(&first.headers, &later.headers)
        && all_narrow(&first.query_params, &later.query_params)
        && first.without_headers.iter().all(|(name, text)| later.without_headers.get(name) == Some(text))
}

fn narrows(first: Option<&StringMatch>, later: Option<&StringMatch>) -> bool {
    first.is_none_or(|first| later.is_some_and(|later| wider(first, later)))
}

fn all_narrow(first: &BTreeMap<String, StringMatch>, later: &BTreeMap<String, StringMatch>) -> bool {
    first.iter().all(|(name, text)| narrows(Some(text), later.get(name)))
}

/// Whether every text that fits `later` fits `first`.
fn wider(first: &StringMatch, later: &StringMatch) -> bool {
    match (first, later) {
        (StringMatch::Present, _) => true,
        (StringMatch::Prefix(wide), StringMatch::Prefix(narrow) | StringMatch::Exact(narrow)) => {
            narrow.starts_with(wide.as_str())
        }
        (first, later) => first == later,
    }
}
