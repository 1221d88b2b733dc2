//! Filter chains.

use std::{sync::Arc, time::Duration};

use mesh_xds_api::{
    any::{self, Any},
    envoy::{
        config::listener::v3::{
            Filter, FilterChain as ProtoChain, FilterChainMatch as ProtoMatch, filter::ConfigType,
            filter_chain_match::ConnectionSourceType,
        },
        extensions::filters::network::{
            direct_response::v3::Config as DirectResponse, echo::v3::Echo,
            http_connection_manager::v3::HttpConnectionManager, sni_cluster::v3::SniCluster, tcp_proxy::v3::TcpProxy,
        },
    },
};

use prost::Message as _;

use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        hcm,
        source::Context,
        tcp_proxy, transport_socket,
        value::{cidrs, data, duration_or, enumeration, port, required, unpack},
    },
    filter::FilterContext,
    hash::sha256,
    model::{FilterChain, FilterChainMatch, NetworkFilterEntry, TerminalFilter, TransportProtocol},
    supported,
};

supported! {
    /// Filter chains.
    pub(in crate::config) static CHAINS =
    envoy.config.listener.v3.FilterChain {
        carried: filter_chain_match, filters, transport_socket, transport_socket_connect_timeout, name;
        limited: use_proxy_proto = "false; the proxy_protocol listener filter is carried";
        irrelevant: metadata = "nothing here reads the metadata of a filter chain";
    }
    envoy.config.listener.v3.FilterChainMatch {
        carried: destination_port, prefix_ranges, direct_source_prefix_ranges, source_type, source_prefix_ranges,
            source_ports, server_names, application_protocols;
        limited: transport_protocol = "raw_buffer, tls";
    }
    envoy.config.listener.v3.Filter {
        carried: name, typed_config;
    }
    envoy.extensions.filters.network.sni_cluster.v3.SniCluster {}
    envoy.extensions.filters.network.echo.v3.Echo {}
    envoy.extensions.filters.network.direct_response.v3.Config {
        carried: response;
    }
}

/// Handshake time when nothing is said. Envoy has no limit; a proxy that never lets go of a silent client is no
/// use, so the connection ends with the listener filters' default.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn filter_chain(value: &ProtoChain, cx: &Context<'_>) -> Translated<FilterChain> {
    if value.use_proxy_proto == Some(true) {
        return refuse_field("use_proxy_proto", "only false is carried: use the proxy_protocol listener filter");
    }
    let (filters, terminal) = filters(&value.filters, cx)?;
    let matches = value.filter_chain_match.as_ref().map(chain_match).transpose().at("filter_chain_match")?;
    Ok(FilterChain {
        name: value.name.clone(),
        matches: matches.unwrap_or_default(),
        tls: transport_socket::downstream(value.transport_socket.as_ref(), cx).at("transport_socket")?,
        tls_timeout: duration_or(
            value.transport_socket_connect_timeout.as_ref(),
            "transport_socket_connect_timeout",
            HANDSHAKE_TIMEOUT,
        )?,
        filters,
        terminal,
        digest: Some(sha256(&value.encode_to_vec())),
    })
}

fn chain_match(value: &ProtoMatch) -> Translated<FilterChainMatch> {
    let destination_port = value.destination_port.map(port).transpose().at("destination_port")?;
    let transport = match value.transport_protocol.as_str() {
        "" => None,
        "raw_buffer" => Some(TransportProtocol::RawBuffer),
        "tls" => Some(TransportProtocol::Tls),
        other => return refuse_field("transport_protocol", format!("{other} is not carried")),
    };
    let source_local = match enumeration(value.source_type, "source_type")? {
        ConnectionSourceType::Any => None,
        ConnectionSourceType::SameIpOrLoopback => Some(true),
        ConnectionSourceType::External => Some(false),
    };
    let mut server_names = Vec::with_capacity(value.server_names.len());
    for (i, name) in value.server_names.iter().enumerate() {
        server_names.push(server_name(name).at(format_args!("server_names[{i}]"))?);
    }
    let ports = value.source_ports.iter().enumerate();
    Ok(FilterChainMatch {
        destination_port,
        destination: cidrs(&value.prefix_ranges, "prefix_ranges")?,
        server_names,
        transport,
        application_protocols: value.application_protocols.clone(),
        direct_source: cidrs(&value.direct_source_prefix_ranges, "direct_source_prefix_ranges")?,
        source_local,
        source: cidrs(&value.source_prefix_ranges, "source_prefix_ranges")?,
        source_ports: ports
            .map(|(i, value)| port(*value).at(format_args!("source_ports[{i}]")))
            .collect::<Translated<_>>()?,
    })
}

/// An exact name, or `*.` and a suffix.
fn server_name(name: &str) -> Translated<String> {
    let fixed = name.strip_prefix("*.").unwrap_or(name);
    if fixed.is_empty() || fixed.contains('*') {
        return refuse(format!("{name:?}: partial wildcards are not supported in server_names"));
    }
    Ok(name.to_ascii_lowercase())
}

/// Two chains with equal conditions would leave it open which one is meant.
pub(super) fn distinct(chains: &[Arc<FilterChain>]) -> Translated<()> {
    for (i, chain) in chains.iter().enumerate() {
        if let Some(other) = chains[..i].iter().position(|other| other.matches == chain.matches) {
            let reason = format!("has the same conditions as filter_chains[{other}]");
            return refuse_field(format!("filter_chains[{i}].filter_chain_match"), reason);
        }
    }
    Ok(())
}

fn filters(values: &[Filter], cx: &Context<'_>) -> Translated<(Vec<NetworkFilterEntry>, TerminalFilter)> {
    let Some((last, others)) = values.split_last() else {
        return refuse_field("filters", "one at least is required");
    };
    let mut before = Vec::with_capacity(others.len());
    let mut sni_cluster = None;
    for (i, value) in others.iter().enumerate() {
        let field = format!("filters[{i}]");
        if any::is::<SniCluster>(typed_config(value).at(&field)?) {
            sni_cluster = Some(field);
        } else {
            before.push(network_filter(value, cx).at(field)?);
        }
    }
    let mut terminal = terminal(last, cx).at(format_args!("filters[{}]", others.len()))?;
    if let Some(field) = sni_cluster {
        match &mut terminal {
            TerminalFilter::Tcp(proxy) => Arc::make_mut(proxy).sni_cluster = true,
            _ => return refuse_field(field, "sni_cluster chooses the cluster of a TCP proxy, which is not there"),
        }
    }
    Ok((before, terminal))
}

fn typed_config(value: &Filter) -> Translated<&Any> {
    match &value.config_type {
        Some(ConfigType::TypedConfig(config)) => Ok(config),
        Some(ConfigType::ConfigDiscovery(_)) => refuse_field("config_discovery", "is not carried"),
        None => refuse_field("typed_config", "is required"),
    }
}

fn network_filter(value: &Filter, cx: &Context<'_>) -> Translated<NetworkFilterEntry> {
    let name = required(&value.name, "name")?.to_owned();
    let config = typed_config(value)?;
    if any::is::<SniCluster>(config) {
        return refuse(format!("{name} does not end the chain and must not be the last filter"));
    }
    if ends_the_chain(config) {
        return refuse(format!("{name} ends the chain and must be the last filter"));
    }
    let Some(factory) = cx.filters.network(&config.type_url) else {
        return refuse_field("typed_config", format!("no filter of type {} is registered", config.type_url));
    };
    Ok(NetworkFilterEntry {
        name,
        filter: factory.filter(config, &FilterContext { stats: cx.stats, stat_prefix: "" }).at("typed_config")?,
    })
}

fn ends_the_chain(config: &Any) -> bool {
    any::is::<HttpConnectionManager>(config)
        || any::is::<TcpProxy>(config)
        || any::is::<Echo>(config)
        || any::is::<DirectResponse>(config)
}

fn terminal(value: &Filter, cx: &Context<'_>) -> Translated<TerminalFilter> {
    let config = typed_config(value)?;
    if any::is::<HttpConnectionManager>(config) {
        let manager: HttpConnectionManager = unpack(config).at("typed_config")?;
        let manager = hcm::manager(&manager, cx).at("typed_config")?;
        return Ok(TerminalFilter::Http(Arc::new(manager)));
    }
    if any::is::<TcpProxy>(config) {
        let proxy: TcpProxy = unpack(config).at("typed_config")?;
        return Ok(TerminalFilter::Tcp(Arc::new(tcp_proxy::tcp_proxy(&proxy).at("typed_config")?)));
    }
    if any::is::<Echo>(config) {
        return Ok(TerminalFilter::Echo);
    }
    if any::is::<DirectResponse>(config) {
        let answer: DirectResponse = unpack(config).at("typed_config")?;
        let answer = answer.response.as_ref().map(data).transpose().at("typed_config.response")?;
        return Ok(TerminalFilter::DirectResponse(answer.unwrap_or_default()));
    }
    network_filter(value, cx).map(TerminalFilter::Custom)
}
