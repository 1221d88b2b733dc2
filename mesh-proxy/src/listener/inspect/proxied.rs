//! PROXY protocol as a listener filter (`envoy.filters.listener.proxy_protocol`): which headers are taken, and what is
//! kept of them.

use serde_json::{Map, Value};

use super::{Findings, InspectError, InspectorStats};
use crate::{
    base64,
    model::{ProxyProtocol, Tlv, TlvRule},
    proxy_protocol::{Header, Parsed},
};

/// Decides about the first bytes of a connection; tells how many of them are the header.
pub(super) fn take(
    config: &ProxyProtocol,
    stats: &InspectorStats,
    found: Parsed,
    findings: &mut Findings,
) -> Result<usize, InspectError> {
    let refused = |reason| {
        stats.proxy_error.inc();
        Err(InspectError::ProxyProtocol(reason))
    };
    let version = match &found {
        Parsed::Header(header) => header.version,
        Parsed::Bad(version, _) => *version,
        Parsed::Absent | Parsed::More => return absent(config, stats).or_else(|()| refused("no header")),
    };
    if config.disallowed.contains(&version) {
        // A version that is not spoken is taken for payload where that is allowed.
        if config.optional {
            return absent(config, stats).or_else(|()| refused("no header"));
        }
        stats.version(version).disallowed.inc();
        return refused("this version is not allowed");
    }
    match found {
        Parsed::Header(header) => {
            stats.version(version).found.inc();
            Ok(keep(config, header, findings))
        }
        Parsed::Bad(_, reason) => {
            stats.version(version).error.inc();
            refused(reason)
        }
        Parsed::Absent | Parsed::More => refused("no header"),
    }
}

fn absent(config: &ProxyProtocol, stats: &InspectorStats) -> Result<usize, ()> {
    if config.optional {
        stats.proxy_not_found_allowed.inc();
        Ok(0)
    } else {
        stats.proxy_not_found_disallowed.inc();
        Err(())
    }
}

fn keep(config: &ProxyProtocol, header: Header, findings: &mut Findings) -> usize {
    for tlv in &header.tlvs {
        for rule in config.rules.iter().filter(|rule| rule.kind == tlv.kind) {
            let namespace = findings.metadata.entry(rule.namespace.clone()).or_insert_with(|| Map::new().into());
            if let Value::Object(fields) = namespace {
                fields.insert(rule.key.clone(), text(rule, tlv).into());
            }
        }
    }
    findings.proxied = header.addresses;
    findings.tlvs = header.tlvs.into_iter().filter(|tlv| config.pass_through.includes(tlv.kind)).collect();
    header.length
}

fn text(rule: &TlvRule, tlv: &Tlv) -> String {
    if rule.base64 {
        return base64::encode(&tlv.value);
    }
    let mut text = String::with_capacity(tlv.value.len());
    for chunk in tlv.value.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '!'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Listener, ProxyProtocolVersion, TlvSelection},
        proxy_protocol::{encode, parse},
        stats::Stats,
        testing,
    };

    fn listener() -> Listener {
        testing::listener("l", vec![])
    }

    fn tlv(kind: u8, value: &'static [u8]) -> Tlv {
        Tlv { kind, value: value.into() }
    }

    #[test]
    fn tlvs_become_metadata_and_are_kept_for_upstreams() {
        let rule = |kind, key: &str, base64| TlvRule { kind, namespace: "n".into(), key: key.into(), base64 };
        let config = ProxyProtocol {
            rules: vec![rule(2, "authority", false), rule(5, "id", true)],
            pass_through: TlvSelection::Kinds(vec![5]),
            ..ProxyProtocol::default()
        };
        let stats = InspectorStats::new(&Stats::default(), &listener());
        let addresses = Some(("192.0.2.1:7".parse().unwrap(), "192.0.2.2:8".parse().unwrap()));
        let header = encode(ProxyProtocolVersion::V2, addresses, &[tlv(2, b"a\xff\xfeb"), tlv(5, b"fo"), tlv(6, b"")]);
        let mut findings = Findings::default();
        assert_eq!(take(&config, &stats, parse(&header), &mut findings).unwrap(), header.len());
        assert_eq!(Value::from(findings.metadata), serde_json::json!({"n": {"authority": "a!!b", "id": "Zm8="}}));
        assert_eq!((findings.proxied, findings.tlvs), (addresses, vec![tlv(5, b"fo")]));
    }

    /// What Envoy 1.40 does with the same bytes, and counts.
    #[test]
    fn which_connections_go_on() {
        let v1 = ProxyProtocolVersion::V1;
        let required = ProxyProtocol::default();
        let optional = ProxyProtocol { optional: true, ..ProxyProtocol::default() };
        let without_v1 = ProxyProtocol { disallowed: vec![v1], ..ProxyProtocol::default() };
        let either = ProxyProtocol { disallowed: vec![v1], ..optional.clone() };
        let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
        for (config, bytes, expected, counted) in [
            (&required, &b"GET /"[..], None, "proxy_proto.not_found_disallowed"),
            (&optional, b"GET /", Some(0), "proxy_proto.not_found_allowed"),
            (&required, header, Some(header.len()), "proxy_proto.versions.v1.found"),
            (&optional, b"PROXY x\r\n", None, "proxy_proto.versions.v1.error"),
            (&without_v1, header, None, "proxy_proto.versions.v1.disallowed"),
            (&either, header, Some(0), "proxy_proto.not_found_allowed"),
        ] {
            let stats = Stats::default();
            let counters = InspectorStats::new(&stats, &listener());
            let taken = take(config, &counters, parse(bytes), &mut Findings::default()).ok();
            assert_eq!(taken, expected, "{bytes:?}");
            assert_eq!(stats.counter(counted).value(), 1, "{counted}");
            assert_eq!(stats.counter("downstream_cx_proxy_proto_error").value(), u64::from(expected.is_none()));
        }
    }
}
