//! Filters that may change the route after a policy for it was applied (MESH0111).

use serde_json::Value;

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{AuthorizationPolicy, EnvoyFilter, Kind, PolicyTargetReference},
    path::FieldPath,
};

/// Finds patches of HTTP filters, for gateways or waypoints, where policies are bound to HTTPRoutes.
#[derive(Debug)]
pub(super) struct RouteCache;

impl Analyzer for RouteCache {
    fn name(&self) -> &'static str {
        "envoyfilter.route-cache"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::EnvoyFilter]).reads([Kind::EnvoyFilter], [Kind::AuthorizationPolicy], Link::All)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let bound = snapshot
            .all::<AuthorizationPolicy>()
            .any(|policy| policy.spec.target_ref.iter().chain(&policy.spec.target_refs).any(is_route));
        if !bound {
            return;
        }
        let root = FieldPath::spec();
        let path = root.field("configPatches");
        for filter in snapshot.all::<EnvoyFilter>() {
            let patches = filter.spec.spec.get("configPatches").and_then(Value::as_array);
            if let Some(index) = patches.into_iter().flatten().position(may_clear) {
                findings.push(Diagnostic::on(Code::RouteCacheCleared, filter.object, path.index(index), &[]));
            }
        }
    }
}

fn is_route(target: &PolicyTargetReference) -> bool {
    target.kind == "HTTPRoute" && target.group == "gateway.networking.k8s.io"
}

fn may_clear(patch: &Value) -> bool {
    let of_filter = patch.get("applyTo").and_then(Value::as_str) == Some("HTTP_FILTER");
    let context = patch.pointer("/match/context").and_then(Value::as_str).unwrap_or("ANY");
    of_filter && !matches!(context, "SIDECAR_INBOUND" | "SIDECAR_OUTBOUND")
}
