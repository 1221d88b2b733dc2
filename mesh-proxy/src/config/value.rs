//! Small values that many messages share.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use ::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use ipnet::IpNet;
use mesh_xds_api::{
    any::{self, Any},
    envoy::{
        config::core::v3::{
            self as core, DataSource, RuntimeFractionalPercent, address, data_source::Specifier, socket_address,
        },
        r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
    },
};
use prost::{Message, Name};

use super::error::{At as _, Translated, refuse, refuse_field};
use crate::{
    model::{Address, Metadata, RuntimeFraction},
    supported,
};

supported! {
    /// Shared values.
    pub(crate) static VALUES =
    envoy.config.core.v3.Address {
        carried: socket_address, pipe;
    }
    envoy.config.core.v3.SocketAddress {
        carried: address, port_value;
        limited: protocol = "TCP";
    }
    envoy.config.core.v3.Pipe {
        carried: path;
        limited: mode = "0: only a listener makes the file of a socket";
    }
    envoy.config.core.v3.CidrRange {
        carried: address_prefix, prefix_len;
    }
    envoy.config.core.v3.DataSource {
        carried: filename, inline_bytes, inline_string, environment_variable;
    }
    envoy.config.core.v3.Metadata {
        carried: filter_metadata;
        irrelevant: typed_filter_metadata = "nothing here reads typed metadata";
    }
    envoy.config.core.v3.Locality {
        carried: region, zone, sub_zone;
    }
    envoy.config.core.v3.RuntimeFractionalPercent {
        carried: default_value;
        irrelevant: runtime_key = "there is no runtime that could set it: the default holds";
    }
    envoy.config.core.v3.RuntimeUInt32 {
        carried: default_value;
        irrelevant: runtime_key = "there is no runtime that could set it: the default holds";
    }
    envoy.config.core.v3.TcpKeepalive {
        carried: keepalive_probes, keepalive_time, keepalive_interval;
    }
    envoy.type.v3.FractionalPercent {
        carried: numerator, denominator;
    }
    envoy.type.v3.Percent {
        carried: value;
    }
    envoy.type.v3.Int64Range {
        carried: start, end;
    }
}

/// The message inside `config`.
pub(super) fn unpack<M: Message + Name + Default>(config: &Any) -> Translated<M> {
    any::unpack(config).or_else(|error| refuse(error.to_string()))
}

/// A duration that is not negative.
pub(crate) fn duration(value: &prost_types::Duration) -> Translated<Duration> {
    Duration::try_from(*value).or_else(|_| refuse("must not be negative"))
}

/// As [`duration`], with a default for a missing one.
pub(super) fn duration_or(
    value: Option<&prost_types::Duration>,
    field: &str,
    default: Duration,
) -> Translated<Duration> {
    Ok(optional_duration(value, field)?.unwrap_or(default))
}

/// As [`duration`], if there is one.
pub(super) fn optional_duration(value: Option<&prost_types::Duration>, field: &str) -> Translated<Option<Duration>> {
    value.map(duration).transpose().at(field)
}

/// As [`duration`], where zero means that there is none.
pub(super) fn nonzero_duration(value: Option<&prost_types::Duration>, field: &str) -> Translated<Option<Duration>> {
    Ok(optional_duration(value, field)?.filter(|d| !d.is_zero()))
}

/// As [`duration_or`], where zero is not allowed.
pub(super) fn positive_duration_or(
    value: Option<&prost_types::Duration>,
    field: &str,
    default: Duration,
) -> Translated<Duration> {
    match duration_or(value, field, default)? {
        Duration::ZERO => refuse_field(field, "must be greater than zero"),
        duration => Ok(duration),
    }
}

/// A value of an enumeration.
pub(super) fn enumeration<E: TryFrom<i32>>(value: i32, field: &str) -> Translated<E> {
    E::try_from(value).or_else(|_| refuse_field(field, format!("{value} is no value of this enumeration")))
}

/// A text that must be there.
pub(super) fn required<'t>(text: &'t str, field: &str) -> Translated<&'t str> {
    if text.is_empty() { refuse_field(field, "is required") } else { Ok(text) }
}

/// A message that must be there.
pub(super) fn present<'t, T>(message: Option<&'t T>, field: &str) -> Translated<&'t T> {
    message.map_or_else(|| refuse_field(field, "is required"), Ok)
}

/// A port.
pub(super) fn port(value: u32) -> Translated<u16> {
    u16::try_from(value).or_else(|_| refuse(format!("{value} is no port")))
}

/// An address; a host name is [`Address::Name`].
pub(super) fn any_address(value: &core::Address) -> Translated<Address> {
    match &value.address {
        Some(address::Address::SocketAddress(socket)) => socket_address(socket).at("socket_address"),
        Some(address::Address::Pipe(pipe)) => {
            let path = required(&pipe.path, "pipe.path")?;
            Ok(Address::Unix(path.into()))
        }
        Some(address::Address::EnvoyInternalAddress(_)) => refuse_field("envoy_internal_address", "is not carried"),
        None => refuse("is required"),
    }
}

fn socket_address(value: &core::SocketAddress) -> Translated<Address> {
    if value.protocol != socket_address::Protocol::Tcp as i32 {
        return refuse_field("protocol", "only TCP is carried");
    }
    let host = required(&value.address, "address")?;
    let port = match value.port_specifier {
        Some(socket_address::PortSpecifier::PortValue(value)) => port(value).at("port_value")?,
        Some(socket_address::PortSpecifier::NamedPort(_)) => return refuse_field("named_port", "is not carried"),
        None => return refuse_field("port_value", "is required"),
    };
    Ok(match host.parse::<IpAddr>() {
        Ok(ip) => Address::Tcp((ip, port).into()),
        Err(_) => Address::Name(host.to_owned(), port),
    })
}

/// An address that needs no resolver.
pub(super) fn ip_address(value: &core::Address) -> Translated<Address> {
    match any_address(value)? {
        Address::Name(host, _) => refuse_field(
            "socket_address.address",
            format!("malformed IP address: {host}. Host names need a cluster of type STRICT_DNS or LOGICAL_DNS"),
        ),
        address => Ok(address),
    }
}

/// A range of addresses.
pub(crate) fn cidr(value: &core::CidrRange) -> Translated<IpNet> {
    let ip: IpAddr = value
        .address_prefix
        .parse()
        .or_else(|_| refuse_field("address_prefix", format!("{:?} is no IP address", value.address_prefix)))?;
    let len = u8::try_from(value.prefix_len.unwrap_or(0)).unwrap_or(u8::MAX);
    let net = IpNet::new(ip, len).or_else(|_| refuse_field("prefix_len", "is longer than the address"))?;
    Ok(net.trunc())
}

/// Several ranges.
pub(super) fn cidrs(values: &[core::CidrRange], field: &str) -> Translated<Vec<IpNet>> {
    values.iter().enumerate().map(|(i, range)| cidr(range).at(format_args!("{field}[{i}]"))).collect()
}

/// The content of a data source, read now.
pub(super) fn data(source: &DataSource) -> Translated<Bytes> {
    match &source.specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::InlineString(text)) => Ok(text.clone().into()),
        Some(Specifier::Filename(path)) => file(Path::new(path)).at("filename"),
        Some(Specifier::EnvironmentVariable(name)) => match std::env::var(name) {
            Ok(value) => Ok(value.into()),
            Err(_) => refuse_field("environment_variable", format!("{name} is not set")),
        },
        None => refuse("one of filename, inline_bytes, inline_string, environment_variable is required"),
    }
}

fn file(path: &Path) -> Translated<Bytes> {
    std::fs::read(path).map(Bytes::from).or_else(|error| refuse(format!("cannot read {}: {error}", path.display())))
}

/// The name of a header that may be changed: no pseudo header, not `host`.
pub(super) fn editable_header(name: &str) -> Translated<HeaderName> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return refuse(format!("{name}: :-prefixed or host headers may not be modified"));
    }
    header_name(name)
}

/// The name of a regular header.
pub(super) fn header_name(name: &str) -> Translated<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).or_else(|_| refuse(format!("{name:?} is no header name")))
}

/// Several names of regular headers.
pub(super) fn header_names(names: &[String], field: &str) -> Translated<Vec<HeaderName>> {
    names.iter().enumerate().map(|(i, name)| header_name(name).at(format_args!("{field}[{i}]"))).collect()
}

/// The value of a header.
pub(super) fn header_value(text: &str) -> Translated<HeaderValue> {
    HeaderValue::from_str(text).or_else(|_| refuse(format!("{text:?} is no header value")))
}

/// A share in percent.
pub(crate) fn fraction(value: &FractionalPercent) -> Translated<RuntimeFraction> {
    let denominator = match enumeration(value.denominator, "denominator")? {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Ok(RuntimeFraction { numerator: value.numerator, denominator })
}

/// A share whose default value holds.
pub(super) fn runtime_fraction(value: &RuntimeFractionalPercent) -> Translated<RuntimeFraction> {
    fraction(present(value.default_value.as_ref(), "default_value")?).at("default_value")
}

/// Filter metadata as JSON.
pub(super) fn metadata(value: Option<&core::Metadata>) -> Metadata {
    let Some(value) = value else { return Metadata::default() };
    Arc::new(value.filter_metadata.iter().map(|(name, fields)| (name.clone(), object(fields).into())).collect())
}

/// A `Struct` as a JSON object.
pub(crate) fn object(value: &prost_types::Struct) -> serde_json::Map<String, serde_json::Value> {
    value.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

fn json(value: &prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        // Whole numbers are shown as such.
        #[allow(clippy::cast_possible_truncation)] // the guard keeps it in range
        Some(Kind::NumberValue(value)) if value.fract() == 0.0 && value.abs() < 9e15 => (*value as i64).into(),
        Some(Kind::NumberValue(value)) => (*value).into(),
        Some(Kind::StringValue(value)) => value.as_str().into(),
        Some(Kind::StructValue(value)) => object(value).into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect::<Vec<_>>().into(),
    }
}

/// TCP keepalive: idle time, interval, probes; Linux's defaults where none are given.
pub(super) fn keepalive(value: &core::TcpKeepalive) -> (Duration, Duration, u32) {
    let seconds = |value: Option<u32>, default| Duration::from_secs(u64::from(value.unwrap_or(default)));
    (seconds(value.keepalive_time, 7200), seconds(value.keepalive_interval, 75), value.keepalive_probes.unwrap_or(9))
}
