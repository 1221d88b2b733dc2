//! ServiceEntries with TCP ports and no address (IST0134).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, ServiceEntry},
    path::FieldPath,
};

/// Finds TCP ports of ServiceEntries that cannot be told apart, since no address is theirs.
#[derive(Debug)]
pub(super) struct ServiceEntryAddress;

/// Proxy metadata by which proxies answer DNS, and give addresses to hosts that have none.
const CAPTURE: &str = "ISTIO_META_DNS_CAPTURE";
const ALLOCATE: &str = "ISTIO_META_DNS_AUTO_ALLOCATE";

impl Analyzer for ServiceEntryAddress {
    fn name(&self) -> &'static str {
        "serviceentry.address"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::ServiceEntry])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let metadata = &context.mesh().default_config.proxy_metadata;
        let set = |key: &str| metadata.get(key).is_some_and(|value| value == "true");
        if set(CAPTURE) && set(ALLOCATE) {
            return;
        }
        let root = FieldPath::spec();
        let ports = root.field("ports");
        for entry in context.snapshot().all::<ServiceEntry>() {
            // Addresses that the control plane has given count where proxies answer DNS.
            let given = set(CAPTURE) && !entry.object.status.addresses.is_empty();
            if !entry.spec.addresses.is_empty() || given {
                continue;
            }
            for (index, port) in entry.spec.ports.iter().enumerate() {
                let protocol = port.protocol.as_deref().unwrap_or_default();
                if protocol.is_empty() || protocol.eq_ignore_ascii_case("TCP") {
                    findings.push(Diagnostic::on(
                        Code::AddressesRequired,
                        entry.object,
                        ports.index(index),
                        &[&port.number],
                    ));
                }
            }
        }
    }
}
