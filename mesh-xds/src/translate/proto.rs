//! Shorthands for messages that occur everywhere.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use mesh_xds_api::{
    any,
    envoy::{
        config::{
            core::v3::{
                Address, AggregatedConfigSource, ApiVersion, CidrRange, ConfigSource, DataSource, Metadata,
                RuntimeFractionalPercent, SocketAddress, address, config_source::ConfigSourceSpecifier, data_source,
                socket_address::PortSpecifier,
            },
            listener::v3::{Filter, ListenerFilter, filter, listener_filter},
        },
        extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter},
        r#type::{
            matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
            v3::{FractionalPercent, Percent, fractional_percent::DenominatorType},
        },
    },
    google::protobuf::Any,
};
use prost::{Message, Name};
use prost_types::{Struct, Value, value::Kind};

/// Protobuf's form of a duration. Beyond protobuf's range of some 10 000 years it is cut off there.
pub(super) fn duration(value: Duration) -> prost_types::Duration {
    const LONGEST: i64 = 315_576_000_000;
    prost_types::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(LONGEST).min(LONGEST),
        // Invariant: below 1e9, so it fits.
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or_default(),
    }
}

/// A TCP address: an IP address, or a host name where the cluster resolves names.
pub(super) fn address(host: impl Into<String>, port: u16) -> Address {
    Address { address: Some(address::Address::SocketAddress(socket_address(host, port))) }
}

pub(super) fn socket_address(host: impl Into<String>, port: u16) -> SocketAddress {
    let port_specifier = Some(PortSpecifier::PortValue(u32::from(port)));
    SocketAddress { address: host.into(), port_specifier, ..Default::default() }
}

/// Resources of the stream that this resource came on, waited for without limit.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        initial_fetch_timeout: Some(duration(Duration::ZERO)),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

pub(super) fn network_filter<M: Message + Name>(name: &str, config: &M) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(any::pack(config))) }
}

pub(super) fn listener_filter<M: Message + Name>(name: &str, config: &M) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any::pack(config))),
        ..Default::default()
    }
}

pub(super) fn http_filter<M: Message + Name>(name: &str, config: &M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any::pack(config))),
        ..Default::default()
    }
}

pub(super) fn exact(value: impl Into<String>) -> StringMatcher {
    matcher(MatchPattern::Exact(value.into()))
}

pub(super) fn prefix(value: impl Into<String>) -> StringMatcher {
    matcher(MatchPattern::Prefix(value.into()))
}

pub(super) fn suffix(value: impl Into<String>) -> StringMatcher {
    matcher(MatchPattern::Suffix(value.into()))
}

pub(super) fn contains(value: impl Into<String>) -> StringMatcher {
    matcher(MatchPattern::Contains(value.into()))
}

/// Matches every value. (An empty prefix is refused by the API's rules.)
pub(super) fn anything() -> StringMatcher {
    full_regex(".*")
}

/// Matches whole values by the user's own expression.
pub(super) fn full_regex(value: impl Into<String>) -> StringMatcher {
    matcher(MatchPattern::SafeRegex(regex(value)))
}

fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { ignore_case: false, match_pattern: Some(pattern) }
}

pub(super) fn regex(value: impl Into<String>) -> RegexMatcher {
    RegexMatcher { regex: value.into(), ..Default::default() }
}

pub(super) fn percent(value: f64) -> Percent {
    Percent { value }
}

/// A percentage in millionths, cut off to 0..=100.
pub(super) fn fractional(percent: f64) -> FractionalPercent {
    // The product lies within 0..=1_000_000 after clamping; NaN becomes 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let numerator = (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32;
    FractionalPercent { numerator, denominator: DenominatorType::Million.into() }
}

pub(super) fn runtime_fractional(percent: f64) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent { default_value: Some(fractional(percent)), runtime_key: String::new() }
}

pub(super) fn inline_text(text: impl Into<String>) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::InlineString(text.into())), ..Default::default() }
}

/// A block of addresses; `None` if `text` is neither an address nor a CIDR block.
pub(super) fn cidr(text: &str) -> Option<CidrRange> {
    let net = text.parse::<ipnet::IpNet>().or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from)).ok()?;
    Some(CidrRange { address_prefix: net.network().to_string(), prefix_len: Some(u32::from(net.prefix_len())) })
}

pub(super) fn text(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

pub(super) fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(prost_types::ListValue { values })) }
}

pub(super) fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.into(), value)).collect() }
}

pub(super) fn value(fields: Struct) -> Value {
    Value { kind: Some(Kind::StructValue(fields)) }
}

/// Metadata of several filters; empty structs are left out.
pub(super) fn metadata<const N: usize>(filters: [(&str, Struct); N]) -> Option<Metadata> {
    let filter_metadata: BTreeMap<String, Struct> = filters
        .into_iter()
        .filter(|(_, fields)| !fields.fields.is_empty())
        .map(|(name, fields)| (name.to_owned(), fields))
        .collect();
    (!filter_metadata.is_empty()).then_some(Metadata { filter_metadata, ..Default::default() })
}

/// One entry of a typed map.
pub(super) fn typed<M: Message + Name>(key: &str, message: &M) -> BTreeMap<String, Any> {
    BTreeMap::from([(key.to_owned(), any::pack(message))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidr_forms() {
        let of = |t: &str| cidr(t).map(|c| (c.address_prefix, c.prefix_len));
        assert_eq!(of("10.1.2.3/8"), Some(("10.0.0.0".into(), Some(8))));
        assert_eq!(of("10.1.2.3"), Some(("10.1.2.3".into(), Some(32))));
        assert_eq!(of("::1"), Some(("::1".into(), Some(128))));
        assert_eq!(of("x"), None);
    }

    #[test]
    fn percentages_are_millionths() {
        assert_eq!(fractional(100.0).numerator, 1_000_000);
        assert_eq!(fractional(0.1).numerator, 1_000);
        assert_eq!(fractional(400.0).numerator, 1_000_000);
        assert_eq!(fractional(f64::NAN).numerator, 0);
    }
}
