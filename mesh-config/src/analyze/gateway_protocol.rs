//! Gateways that share a port of the same workloads with different protocols (MESH0104).

use std::collections::BTreeMap;

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Gateway, Kind, Object},
    path::FieldPath,
    precedence::oldest_first,
};

/// Finds servers of several Gateways on one port of the same workloads, of which one speaks TLS and the other does not, or
/// one HTTP and the other plain TCP: a listener speaks one, that of the oldest.
#[derive(Debug)]
pub(super) struct GatewayProtocol;

/// What a listener can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Http,
    Tls,
    Tcp,
}

impl Family {
    fn of(protocol: &str) -> Self {
        if crate::protocol::is_tls(protocol) {
            Self::Tls
        } else if ["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTP_PROXY"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(protocol))
        {
            Self::Http
        } else {
            Self::Tcp
        }
    }
}

impl Analyzer for GatewayProtocol {
    fn name(&self) -> &'static str {
        "gateway.protocol"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Gateway]).reads([Kind::Gateway], [Kind::Gateway], Link::All)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut gateways: Vec<_> = context.snapshot().all::<Gateway>().collect();
        gateways.sort_by(|one, other| oldest_first(one.object, other.object));
        let mut owners: BTreeMap<_, (Family, &Object)> = BTreeMap::new();
        let root = FieldPath::spec();
        let servers = root.field("servers");
        for gateway in gateways {
            for (index, server) in gateway.spec.servers.iter().enumerate() {
                let Some(port) = &server.port else { continue };
                let bind = server.bind.as_deref().unwrap_or_default();
                let family = Family::of(&port.protocol);
                let place = (&gateway.spec.selector, port.number, bind);
                let (first, owner) = *owners.entry(place).or_insert((family, gateway.object));
                if first != family {
                    let at = servers.index(index);
                    let at = at.field("port");
                    let args: [&dyn std::fmt::Display; 3] = [&port.number, &port.protocol, owner.key()];
                    findings.push(Diagnostic::on(
                        Code::GatewayPortProtocol,
                        gateway.object,
                        at.field("protocol"),
                        &args,
                    ));
                }
            }
        }
    }
}
