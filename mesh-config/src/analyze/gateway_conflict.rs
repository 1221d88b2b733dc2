//! Gateways that claim the same hosts and port of the same workloads (IST0145).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{AnalysisContext, Analyzer, Inputs, Link, inputs::WORKLOADS, workload::print_selector};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Gateway, Kind, ObjectKey, labels_match},
    path::FieldPath,
};

/// Finds Gateways whose servers claim the same host, on the same port and address, of proxies that both select.
///
/// Both select the same proxies when their selectors are the same, or when one asks for more labels than the other and
/// a workload carries them all. Hosts with wildcards are other hosts: the most specific one wins.
#[derive(Debug)]
pub(super) struct GatewayConflict;

type Selector = BTreeMap<String, String>;

/// Who claims a host on a port and an address.
type Claims<'a> = HashMap<(u32, &'a str, &'a str), Vec<(&'a ObjectKey, &'a Selector)>>;

impl Analyzer for GatewayConflict {
    fn name(&self) -> &'static str {
        "gateway.conflict"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Gateway]).reads([Kind::Gateway], [Kind::Gateway], Link::All).reads(
            [Kind::Gateway],
            WORKLOADS,
            Link::Selects,
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut claims = Claims::new();
        for gateway in context.snapshot().all::<Gateway>() {
            for server in &gateway.spec.servers {
                let Some(port) = &server.port else { continue };
                for host in &server.hosts {
                    let place = (port.number, server.bind.as_deref().unwrap_or_default(), host.as_str());
                    claims.entry(place).or_default().push((gateway.object.key(), &gateway.spec.selector));
                }
            }
        }
        let root = FieldPath::spec();
        let servers = root.field("servers");
        for gateway in context.snapshot().all::<Gateway>() {
            let selector = &gateway.spec.selector;
            for (index, server) in gateway.spec.servers.iter().enumerate() {
                let Some(port) = &server.port else { continue };
                let bind = server.bind.as_deref().unwrap_or_default();
                let others: BTreeSet<_> = server
                    .hosts
                    .iter()
                    .filter_map(|host| claims.get(&(port.number, bind, host.as_str())))
                    .flatten()
                    .filter(|(key, _)| *key != gateway.object.key())
                    .filter(|(_, other)| selects_same(context, selector, other))
                    .map(|(key, _)| format!("{}/{}", key.namespace, key.name))
                    .collect();
                if !others.is_empty() {
                    let others = others.into_iter().collect::<Vec<_>>().join(", ");
                    let (selector, hosts) = (print_selector(selector), server.hosts.join(", "));
                    let args: [&dyn std::fmt::Display; 4] = [&others, &port.number, &selector, &hosts];
                    let at = servers.index(index);
                    findings.push(Diagnostic::on(Code::ConflictingGateways, gateway.object, at, &args));
                }
            }
        }
    }
}

/// Whether two selectors select a workload in common.
fn selects_same(context: &AnalysisContext<'_>, one: &Selector, other: &Selector) -> bool {
    let wider = if one.len() < other.len() { (one, other) } else { (other, one) };
    one == other || (labels_match(wider.0, wider.1) && context.workloads().selected(wider.1).next().is_some())
}
