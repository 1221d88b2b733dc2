//! Gateways that claim the same hosts and port of the same workloads (IST0145).

use std::collections::{BTreeMap, BTreeSet};

use super::{AnalysisContext, Analyzer, Inputs, Link, workload::print_selector};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::host_covers,
    model::{Gateway, Kind, ObjectKey},
    path::FieldPath,
};

/// Finds Gateways with the same selector whose servers overlap.
#[derive(Debug)]
pub(super) struct GatewayConflict;

/// The hosts of each gateway on a port.
type Claims<'a> = BTreeMap<&'a ObjectKey, Vec<&'a str>>;

impl Analyzer for GatewayConflict {
    fn name(&self) -> &'static str {
        "gateway.conflict"
    }

    fn inputs(&self) -> Inputs {
        let gateways = [Kind::Gateway];
        Inputs::each(gateways).reads(gateways, gateways, Link::GatewayHost)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut claims: BTreeMap<(String, u32), Claims<'_>> = BTreeMap::new();
        for gateway in context.snapshot().all::<Gateway>() {
            let selector = print_selector(&gateway.spec.selector);
            for server in &gateway.spec.servers {
                let Some(port) = &server.port else { continue };
                let hosts = claims.entry((selector.clone(), port.number)).or_default();
                hosts.entry(gateway.object.key()).or_default().extend(server.hosts.iter().map(String::as_str));
            }
        }
        let root = FieldPath::spec();
        let servers = root.field("servers");
        for gateway in context.snapshot().all::<Gateway>() {
            let selector = print_selector(&gateway.spec.selector);
            for (index, server) in gateway.spec.servers.iter().enumerate() {
                let Some(port) = &server.port else { continue };
                let Some(claims) = claims.get(&(selector.clone(), port.number)) else { continue };
                let others: BTreeSet<_> = claims
                    .iter()
                    .filter(|(key, _)| **key != gateway.object.key())
                    .filter(|(_, hosts)| server.hosts.iter().any(|host| hosts.iter().any(|other| overlap(host, other))))
                    .map(|(key, _)| format!("{}/{}", key.namespace, key.name))
                    .collect();
                if !others.is_empty() {
                    let others = others.into_iter().collect::<Vec<_>>().join(", ");
                    let hosts = server.hosts.join(", ");
                    let args: [&dyn std::fmt::Display; 4] = [&others, &port.number, &selector, &hosts];
                    findings.push(Diagnostic::on(
                        Code::ConflictingGateways,
                        gateway.object,
                        servers.index(index),
                        &args,
                    ));
                }
            }
        }
    }
}

/// Whether two hosts of servers share a name; an entry for other namespaces is another one.
fn overlap(one: &str, other: &str) -> bool {
    host_covers(one, other) || host_covers(other, one)
}
