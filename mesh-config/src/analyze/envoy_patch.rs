//! Patches that have no effect, or one that depends on their order (IST0151 to IST0155).

use serde_json::Value;

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{EnvoyFilter, Kind, Object},
    path::FieldPath,
};

/// Checks the operations of EnvoyFilters.
#[derive(Debug)]
pub(super) struct EnvoyPatch;

impl Analyzer for EnvoyPatch {
    fn name(&self) -> &'static str {
        "envoyfilter.patch"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::EnvoyFilter]).reads([Kind::EnvoyFilter], [Kind::EnvoyFilter], Link::All)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut versioned = Vec::new();
        for filter in context.snapshot().all::<EnvoyFilter>() {
            patches(filter.object, &filter.spec.spec, &mut versioned, findings);
        }
    }
}

/// Checks the patches of one object; `versioned` collects the filters that are patched for some proxy versions only.
fn patches(object: &Object, spec: &Value, versioned: &mut Vec<String>, findings: &mut Vec<Diagnostic>) {
    let priority = spec.get("priority").and_then(Value::as_i64).unwrap_or_default();
    let root = FieldPath::spec();
    let path = root.field("configPatches");
    for (index, entry) in spec.get("configPatches").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(patch) = entry.get("patch").filter(|patch| !patch.is_null()) else { break };
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (operation, apply_to) = (text(patch, "operation"), text(entry, "applyTo"));
        let name = filter_name(entry, patch);
        let of_routes = matches!(apply_to.as_str(), "ROUTE_CONFIGURATION" | "HTTP_ROUTE");
        let relative = if versioned.contains(&name) { Code::RelativePatchByVersion } else { Code::RelativePatch };
        let code = match operation.as_str() {
            "ADD" if of_routes => Some(Code::AddNotApplicable),
            "REMOVE" if of_routes => Some(Code::RemoveNotApplicable),
            "REPLACE" if !matches!(apply_to.as_str(), "NETWORK_FILTER" | "HTTP_FILTER") => {
                Some(Code::ReplaceNotApplicable)
            }
            "REMOVE" | "REPLACE" | "INSERT_BEFORE" | "INSERT_AFTER" if priority == 0 => Some(relative),
            _ => None,
        };
        if let Some(code) = code {
            findings.push(Diagnostic::on(code, object, path.index(index), &[&operation]));
        }
        let version = entry.pointer("/match/proxy/proxyVersion").and_then(Value::as_str).unwrap_or_default();
        if !version.is_empty() {
            versioned.push(name);
        }
    }
}

/// The filter that a patch is about: by the name of what is put in, else of what is matched.
fn filter_name(entry: &Value, patch: &Value) -> String {
    let Some(value) = patch.get("value").filter(|value| value.is_object()) else { return String::new() };
    let given = value.get("name").and_then(Value::as_str);
    let matched = entry.pointer("/match/listener/filterChain/filter/name").and_then(Value::as_str);
    given.or(matched).unwrap_or_default().to_owned()
}
