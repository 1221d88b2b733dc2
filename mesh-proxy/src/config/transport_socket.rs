//! Transport sockets of filter chains and clusters.

use std::sync::Arc;

use mesh_xds_api::{
    any,
    envoy::{
        config::core::v3::{ProxyProtocolConfig, TransportSocket, transport_socket::ConfigType},
        extensions::transport_sockets::{
            proxy_protocol::v3::ProxyProtocolUpstreamTransport,
            raw_buffer::v3::RawBuffer,
            tls::v3::{DownstreamTlsContext, UpstreamTlsContext},
        },
    },
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    listener::{proxy_version, selection},
    source::Context,
    tcp_proxy::tlv_entries,
    tls,
    value::{present, unpack},
};
use crate::{
    model::{ProxyHeader, ProxyProtocolVersion, ServerTls, UpstreamSocket},
    supported,
};

supported! {
    /// Transport sockets.
    pub(super) static TRANSPORT_SOCKETS =
    envoy.config.core.v3.TransportSocket {
        carried: typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer {}
    envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport {
        carried: config, transport_socket;
    }
    envoy.config.core.v3.ProxyProtocolConfig {
        carried: version, pass_through_tlvs, added_tlvs;
    }
    envoy.config.core.v3.ProxyProtocolPassThroughTLVs {
        carried: match_type, tlv_type;
    }
    envoy.config.core.v3.TlvEntry {
        carried: type, value;
    }
}

/// TLS toward clients, if the socket of a filter chain is not plaintext.
pub(super) fn downstream(value: Option<&TransportSocket>, cx: &Context<'_>) -> Translated<Option<Arc<ServerTls>>> {
    let Some(config) = typed_config(value)? else { return Ok(None) };
    if any::is::<RawBuffer>(config) {
        return Ok(None);
    }
    if !any::is::<DownstreamTlsContext>(config) {
        return refuse_field("typed_config", format!("transport socket {} is not carried", config.type_url));
    }
    let context: DownstreamTlsContext = unpack(config).at("typed_config")?;
    tls::server(&context, cx).at("typed_config").map(|tls| Some(Arc::new(tls)))
}

/// The transport toward hosts of a cluster.
pub(super) fn upstream(value: Option<&TransportSocket>, cx: &Context<'_>) -> Translated<UpstreamSocket> {
    let Some(config) = typed_config(value)? else { return Ok(UpstreamSocket::Plain) };
    if any::is::<RawBuffer>(config) {
        return Ok(UpstreamSocket::Plain);
    }
    if any::is::<ProxyProtocolUpstreamTransport>(config) {
        let transport: ProxyProtocolUpstreamTransport = unpack(config).at("typed_config")?;
        return proxied(&transport, cx).at("typed_config");
    }
    if !any::is::<UpstreamTlsContext>(config) {
        return refuse_field("typed_config", format!("transport socket {} is not carried", config.type_url));
    }
    let context: UpstreamTlsContext = unpack(config).at("typed_config")?;
    tls::client(&context, cx).at("typed_config").map(|tls| UpstreamSocket::Tls(Arc::new(tls)))
}

fn proxied(value: &ProxyProtocolUpstreamTransport, cx: &Context<'_>) -> Translated<UpstreamSocket> {
    let inner = present(value.transport_socket.as_ref(), "transport_socket")?;
    let inner = upstream(Some(inner), cx).at("transport_socket")?;
    if inner.proxy_header().is_some() {
        return refuse_field("transport_socket", "has a PROXY protocol header of its own: one is enough");
    }
    let default = ProxyProtocolConfig::default();
    let header = header(value.config.as_ref().unwrap_or(&default)).at("config")?;
    Ok(UpstreamSocket::Proxied(Arc::new(header), Box::new(inner)))
}

fn header(value: &ProxyProtocolConfig) -> Translated<ProxyHeader> {
    let version = proxy_version(value.version, "version")?;
    let pass_through = value.pass_through_tlvs.as_ref().map(selection).transpose().at("pass_through_tlvs")?;
    if version == ProxyProtocolVersion::V1 && !(pass_through.is_none() && value.added_tlvs.is_empty()) {
        return refuse("TLVs need version V2");
    }
    Ok(ProxyHeader {
        version,
        pass_through: pass_through.unwrap_or_default(),
        added: tlv_entries(&value.added_tlvs, "added_tlvs")?,
    })
}

/// Some control planes name the raw buffer without a configuration.
fn typed_config(value: Option<&TransportSocket>) -> Translated<Option<&any::Any>> {
    match value {
        None => Ok(None),
        Some(TransportSocket { config_type: Some(ConfigType::TypedConfig(config)), .. }) => Ok(Some(config)),
        Some(TransportSocket { name, .. }) if name == "envoy.transport_sockets.raw_buffer" || name == "raw_buffer" => {
            Ok(None)
        }
        Some(_) => refuse_field("typed_config", "is required"),
    }
}
