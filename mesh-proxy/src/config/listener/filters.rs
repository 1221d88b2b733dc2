//! Listener filters.

use std::sync::Arc;

use mesh_xds_api::{
    any::{self, Any},
    envoy::{
        config::{
            core::v3::{
                ProxyProtocolPassThroughTlVs, proxy_protocol_config::Version,
                proxy_protocol_pass_through_tl_vs::PassTlVsMatchType,
            },
            listener::v3::{
                ListenerFilter as ProtoFilter, ListenerFilterChainMatchPredicate,
                listener_filter::ConfigType,
                listener_filter_chain_match_predicate::{MatchSet, Rule},
            },
        },
        extensions::filters::listener::{
            http_inspector::v3::HttpInspector,
            original_dst::v3::OriginalDst,
            proxy_protocol::v3::{
                ProxyProtocol as ProtoProxyProtocol,
                proxy_protocol::{Rule as ProtoRule, key_value_pair::ValueStringEncoding},
            },
            tls_inspector::v3::TlsInspector as ProtoInspector,
        },
    },
};

use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        value::{enumeration, present, required, unpack},
    },
    model::{
        ListenerFilter, ListenerFilterKind, ListenerPredicate, ProxyProtocol, ProxyProtocolVersion, TlsInspector,
        TlvRule, TlvSelection,
    },
    supported,
};

supported! {
    /// Listener filters.
    pub(in crate::config) static LISTENER_FILTERS =
    envoy.config.listener.v3.ListenerFilter {
        carried: name, typed_config, filter_disabled;
    }
    envoy.config.listener.v3.ListenerFilterChainMatchPredicate {
        carried: or_match, and_match, not_match, any_match, destination_port_range;
    }
    envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet {
        carried: rules;
    }
    envoy.type.v3.Int32Range {
        carried: start, end;
    }
    envoy.extensions.filters.listener.http_inspector.v3.HttpInspector {}
    envoy.extensions.filters.listener.original_dst.v3.OriginalDst {}
    envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol {
        carried: rules, allow_requests_without_proxy_protocol, pass_through_tlvs, disallowed_versions, stat_prefix;
        limited: tlv_location = "DYNAMIC_METADATA";
    }
    envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule {
        carried: tlv_type, on_tlv_present;
    }
    envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair {
        carried: metadata_namespace, key, value_string_encoding;
    }
    envoy.config.core.v3.ProxyProtocolPassThroughTLVs {
        carried: match_type, tlv_type;
    }
    envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector {
        carried: close_connection_on_client_hello_parsing_errors, max_client_hello_size;
        limited: enable_ja3_fingerprinting = "false",
            enable_ja4_fingerprinting = "false";
        irrelevant: initial_read_buffer_size = "only sizes a buffer";
    }
}

/// Namespace of the metadata of TLVs when a rule names none.
const TLV_NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

pub(super) fn listener_filters(values: &[ProtoFilter]) -> Translated<Vec<ListenerFilter>> {
    let one = |(i, value)| filter(value).at(format_args!("listener_filters[{i}]"));
    values.iter().enumerate().map(one).collect()
}

fn filter(value: &ProtoFilter) -> Translated<ListenerFilter> {
    let kind = match &value.config_type {
        Some(ConfigType::TypedConfig(config)) => typed(config).at("typed_config")?,
        Some(ConfigType::ConfigDiscovery(_)) => return refuse_field("config_discovery", "is not carried"),
        None => named(&value.name)?,
    };
    let disabled = value.filter_disabled.as_ref().map(predicate).transpose().at("filter_disabled")?;
    Ok(ListenerFilter { kind, disabled })
}

fn typed(config: &Any) -> Translated<ListenerFilterKind> {
    if any::is::<ProtoProxyProtocol>(config) {
        let message: ProtoProxyProtocol = unpack(config)?;
        Ok(ListenerFilterKind::ProxyProtocol(Arc::new(proxy_protocol(&message)?)))
    } else if any::is::<OriginalDst>(config) {
        Ok(ListenerFilterKind::OriginalDst)
    } else if any::is::<HttpInspector>(config) {
        Ok(ListenerFilterKind::HttpInspector)
    } else if any::is::<ProtoInspector>(config) {
        tls_inspector(&unpack(config)?).map(ListenerFilterKind::TlsInspector)
    } else {
        refuse(format!("listener filter {} is not carried", config.type_url))
    }
}

/// Some control planes name a filter without a configuration.
fn named(name: &str) -> Translated<ListenerFilterKind> {
    match name {
        "envoy.filters.listener.proxy_protocol" => Ok(ListenerFilterKind::ProxyProtocol(Arc::default())),
        "envoy.filters.listener.original_dst" => Ok(ListenerFilterKind::OriginalDst),
        "envoy.filters.listener.http_inspector" => Ok(ListenerFilterKind::HttpInspector),
        "envoy.filters.listener.tls_inspector" => Ok(ListenerFilterKind::TlsInspector(TlsInspector::default())),
        name => refuse_field("name", format!("listener filter {name} is not carried")),
    }
}

fn tls_inspector(value: &ProtoInspector) -> Translated<TlsInspector> {
    for (on, field) in [
        (value.enable_ja3_fingerprinting, "enable_ja3_fingerprinting"),
        (value.enable_ja4_fingerprinting, "enable_ja4_fingerprinting"),
    ] {
        if on == Some(true) {
            return refuse_field(field, "only false is carried");
        }
    }
    let default = TlsInspector::default();
    let max_client_hello = value.max_client_hello_size.unwrap_or(default.max_client_hello);
    if max_client_hello == 0 || max_client_hello > default.max_client_hello {
        return refuse_field("max_client_hello_size", "must be 1 to 16384");
    }
    Ok(TlsInspector { max_client_hello, close_on_error: value.close_connection_on_client_hello_parsing_errors })
}

fn proxy_protocol(value: &ProtoProxyProtocol) -> Translated<ProxyProtocol> {
    if value.tlv_location != 0 {
        return refuse_field("tlv_location", "only DYNAMIC_METADATA is carried");
    }
    let mut found = ProxyProtocol {
        optional: value.allow_requests_without_proxy_protocol,
        stat_prefix: value.stat_prefix.clone(),
        pass_through: value
            .pass_through_tlvs
            .as_ref()
            .map(selection)
            .transpose()
            .at("pass_through_tlvs")?
            .unwrap_or_default(),
        ..ProxyProtocol::default()
    };
    for (i, version) in value.disallowed_versions.iter().enumerate() {
        found.disallowed.push(proxy_version(*version, &format!("disallowed_versions[{i}]"))?);
    }
    for (i, rule) in value.rules.iter().enumerate() {
        found.rules.push(tlv_rule(rule).at(format_args!("rules[{i}]"))?);
    }
    Ok(found)
}

fn tlv_rule(rule: &ProtoRule) -> Translated<TlvRule> {
    let kind = tlv_kind(rule.tlv_type).at("tlv_type")?;
    let pair = present(rule.on_tlv_present.as_ref(), "on_tlv_present")?;
    let key = required(&pair.key, "on_tlv_present.key")?.to_owned();
    let namespace = match pair.metadata_namespace.as_str() {
        "" => TLV_NAMESPACE,
        name => name,
    };
    let encoding: ValueStringEncoding =
        enumeration(pair.value_string_encoding, "on_tlv_present.value_string_encoding")?;
    let base64 = encoding == ValueStringEncoding::Base64;
    Ok(TlvRule { kind, namespace: namespace.to_owned(), key, base64 })
}

/// A type of TLV: one byte.
pub(in crate::config) fn tlv_kind(value: u32) -> Translated<u8> {
    u8::try_from(value).or_else(|_| refuse("must be below 256"))
}

/// A version of PROXY protocol.
pub(in crate::config) fn proxy_version(value: i32, field: &str) -> Translated<ProxyProtocolVersion> {
    Ok(match enumeration(value, field)? {
        Version::V1 => ProxyProtocolVersion::V1,
        Version::V2 => ProxyProtocolVersion::V2,
    })
}

/// TLVs that are passed on.
pub(in crate::config) fn selection(value: &ProxyProtocolPassThroughTlVs) -> Translated<TlvSelection> {
    if enumeration::<PassTlVsMatchType>(value.match_type, "match_type")? == PassTlVsMatchType::IncludeAll {
        return Ok(TlvSelection::All);
    }
    let one = |(i, kind): (usize, &u32)| tlv_kind(*kind).at(format_args!("tlv_type[{i}]"));
    value.tlv_type.iter().enumerate().map(one).collect::<Translated<_>>().map(TlvSelection::Kinds)
}

fn predicate(value: &ListenerFilterChainMatchPredicate) -> Translated<ListenerPredicate> {
    Ok(match present(value.rule.as_ref(), "any_match")? {
        Rule::OrMatch(set) => ListenerPredicate::Or(predicates(set).at("or_match")?),
        Rule::AndMatch(set) => ListenerPredicate::And(predicates(set).at("and_match")?),
        Rule::NotMatch(rule) => ListenerPredicate::Not(Box::new(predicate(rule).at("not_match")?)),
        Rule::AnyMatch(true) => ListenerPredicate::Any,
        Rule::AnyMatch(false) => return refuse_field("any_match", "must be true"),
        Rule::DestinationPortRange(range) => ListenerPredicate::DestinationPort(range.start..range.end),
    })
}

fn predicates(set: &MatchSet) -> Translated<Vec<ListenerPredicate>> {
    if set.rules.len() < 2 {
        return refuse_field("rules", "two at least are required");
    }
    set.rules.iter().enumerate().map(|(i, rule)| predicate(rule).at(format_args!("rules[{i}]"))).collect()
}
