//! PROXY protocol toward hosts: for whom a connection is made, and the header that says so.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    filter::ConnectionInfo,
    model::{ProxyHeader, ProxyProtocolVersion, Tlv, TlvMerge},
    proxy_protocol,
};

/// For whom a connection to a host is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnBehalf {
    /// The client, and where it meant to go.
    pub(crate) addresses: (SocketAddr, SocketAddr),
    /// TLVs that may be passed on.
    tlvs: Arc<[Tlv]>,
}

impl OnBehalf {
    /// For the client of this connection.
    pub(crate) fn of(connection: &ConnectionInfo) -> Self {
        Self { addresses: (connection.remote, connection.local), tlvs: connection.tlvs.clone() }
    }

    /// Adds TLVs to those of the client.
    pub(crate) fn add(&mut self, more: &[Tlv], merge: TlvMerge) {
        if more.is_empty() {
            return;
        }
        let has = |tlvs: &[Tlv], kind| tlvs.iter().any(|tlv| tlv.kind == kind);
        let old = self.tlvs.iter().filter(|tlv| merge != TlvMerge::Overwrite || !has(more, tlv.kind));
        let new = more.iter().filter(|tlv| merge != TlvMerge::AddIfAbsent || !has(&self.tlvs, tlv.kind));
        self.tlvs = old.chain(new).cloned().collect();
    }
}

/// The header of a connection with these own addresses (ours, the host's).
pub(super) fn header(
    config: &ProxyHeader,
    behalf: Option<&OnBehalf>,
    own: Option<(SocketAddr, SocketAddr)>,
) -> Vec<u8> {
    let added = |kind| config.added.iter().any(|tlv| tlv.kind == kind);
    let passed = behalf.map_or(&[][..], |behalf| &behalf.tlvs);
    let passed = passed.iter().filter(|tlv| config.pass_through.includes(tlv.kind) && !added(tlv.kind));
    let tlvs: Vec<Tlv> = config.added.iter().chain(passed).cloned().collect();
    let addresses = match (behalf, config.version) {
        (Some(behalf), _) => Some(behalf.addresses),
        // A connection of our own, such as a health check.
        (None, ProxyProtocolVersion::V1) => own,
        (None, ProxyProtocolVersion::V2) => None,
    };
    proxy_protocol::encode(config.version, addresses, &tlvs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TlvSelection;

    fn tlv(kind: u8, value: &'static str) -> Tlv {
        Tlv { kind, value: value.into() }
    }

    fn behalf(tlvs: &[Tlv]) -> OnBehalf {
        OnBehalf {
            addresses: ("192.0.2.1:7".parse().unwrap(), "192.0.2.2:8".parse().unwrap()),
            tlvs: tlvs.iter().cloned().collect(),
        }
    }

    #[test]
    fn tlvs_are_merged_as_the_policy_says() {
        for (merge, expected) in [
            (TlvMerge::AddIfAbsent, vec![tlv(5, "old"), tlv(6, "new")]),
            (TlvMerge::Overwrite, vec![tlv(5, "new"), tlv(6, "new")]),
            (TlvMerge::Append, vec![tlv(5, "old"), tlv(5, "new"), tlv(6, "new")]),
        ] {
            let mut found = behalf(&[tlv(5, "old")]);
            found.add(&[tlv(5, "new"), tlv(6, "new")], merge);
            assert_eq!(found.tlvs[..], expected, "{merge:?}");
        }
    }

    #[test]
    fn added_tlvs_replace_those_passed_on() {
        let config = ProxyHeader {
            version: ProxyProtocolVersion::V2,
            pass_through: TlvSelection::Kinds(vec![5, 6]),
            added: vec![tlv(5, "added")],
        };
        let bytes = header(&config, Some(&behalf(&[tlv(5, "x"), tlv(6, "y"), tlv(7, "z")])), None);
        let proxy_protocol::Parsed::Header(found) = proxy_protocol::parse(&bytes) else { panic!("no header") };
        assert_eq!(found.tlvs, [tlv(5, "added"), tlv(6, "y")]);
        assert_eq!(found.addresses, Some(behalf(&[]).addresses));
    }

    #[test]
    fn connections_for_nobody() {
        let own = Some(("192.0.2.9:1".parse().unwrap(), "192.0.2.8:2".parse().unwrap()));
        let config = |version| ProxyHeader { version, pass_through: TlvSelection::All, added: vec![] };
        assert_eq!(header(&config(ProxyProtocolVersion::V1), None, own), b"PROXY TCP4 192.0.2.9 192.0.2.8 1 2\r\n");
        assert_eq!(header(&config(ProxyProtocolVersion::V2), None, own)[12..], [0x20, 0, 0, 0]);
    }
}
