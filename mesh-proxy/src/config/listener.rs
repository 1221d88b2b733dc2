//! `listener.v3.Listener`.

mod chain;
mod filters;
mod sockets;

use std::{sync::Arc, time::Duration};

use mesh_xds_api::envoy::config::{
    core::v3::TrafficDirection,
    listener::v3::{
        Listener as ProtoListener,
        listener::{ConnectionBalanceConfig, connection_balance_config::BalanceType},
    },
};

use super::{
    access_log::access_logs,
    error::{At as _, Translated, refuse_field},
    source::Context,
    value::{duration_or, enumeration, metadata, required},
};
use crate::{model::Listener, supported};

supported! {
    /// Listeners.
    pub(super) static LISTENERS =
    envoy.config.listener.v3.Listener {
        carried: name, address, additional_addresses, stat_prefix, filter_chains, use_original_dst,
            default_filter_chain, per_connection_buffer_limit_bytes, metadata, deprecated_v1, listener_filters,
            listener_filters_timeout, continue_on_listener_filters_timeout, traffic_direction, enable_reuse_port,
            access_log, tcp_backlog_size, bind_to_port, socket_options, tcp_keepalive, transparent, freebind, enable_mptcp;
        limited: reuse_port = "with enable_reuse_port, which counts; true alone is the default",
            connection_balance_config = "exact_balance: the kernel balances among the workers' own sockets";
        irrelevant: drain_type = "there are no health checks by which it could be told to drain",
            max_connections_to_accept_per_socket_event = "only changes how often the event loop turns",
            ignore_global_conn_limit = "there is no global limit",
            bypass_overload_manager = "there is no overload manager";
    }
    envoy.config.listener.v3.Listener.DeprecatedV1 {
        carried: bind_to_port;
    }
    envoy.config.listener.v3.Listener.ConnectionBalanceConfig {
        carried: exact_balance;
    }
    envoy.config.listener.v3.Listener.ConnectionBalanceConfig.ExactBalance {}
    envoy.config.listener.v3.AdditionalAddress {
        carried: address, socket_options, tcp_keepalive;
    }
}
pub(super) use self::{
    chain::CHAINS,
    filters::{LISTENER_FILTERS, proxy_version, selection, tlv_kind},
    sockets::SOCKETS,
};

/// How long listener filters wait when nothing is said.
const FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn listener(value: &ProtoListener, cx: &Context<'_>) -> Translated<Listener> {
    refused_values(value)?;
    let name = required(&value.name, "name")?.to_owned();
    let mut filter_chains = Vec::with_capacity(value.filter_chains.len());
    for (i, chain) in value.filter_chains.iter().enumerate() {
        let chain = chain::filter_chain(chain, cx).at(format_args!("filter_chains[{i}]"))?;
        filter_chains.push(Arc::new(chain));
    }
    chain::distinct(&filter_chains)?;
    let default = value.default_filter_chain.as_ref().map(|chain| chain::filter_chain(chain, cx)).transpose();
    let default_filter_chain = default.at("default_filter_chain")?.map(Arc::new);
    if filter_chains.is_empty() && default_filter_chain.is_none() {
        return refuse_field("filter_chains", "one at least is required");
    }
    let bind = value.bind_to_port.or(value.deprecated_v1.and_then(|old| old.bind_to_port));
    let (addresses, sockets) = sockets::sockets(value)?;
    Ok(Listener {
        name,
        addresses,
        sockets,
        transparent: value.transparent.unwrap_or(false),
        mptcp: value.enable_mptcp,
        bind_to_port: bind.unwrap_or(true),
        use_original_dst: value.use_original_dst.unwrap_or(false),
        listener_filters: filters::listener_filters(&value.listener_filters)?,
        listener_filters_timeout: duration_or(
            value.listener_filters_timeout.as_ref(),
            "listener_filters_timeout",
            FILTERS_TIMEOUT,
        )?,
        continue_on_timeout: value.continue_on_listener_filters_timeout,
        filter_chains,
        default_filter_chain,
        buffer_limit: value.per_connection_buffer_limit_bytes.unwrap_or(1 << 20),
        backlog: value.tcp_backlog_size,
        reuse_port: value.enable_reuse_port.unwrap_or(true),
        inbound: match enumeration(value.traffic_direction, "traffic_direction")? {
            TrafficDirection::Unspecified => None,
            TrafficDirection::Inbound => Some(true),
            TrafficDirection::Outbound => Some(false),
        },
        stat_prefix: value.stat_prefix.clone(),
        metadata: metadata(value.metadata.as_ref()),
        access_log: access_logs(&value.access_log, "access_log")?,
        max_connections: None,
    })
}

fn refused_values(value: &ProtoListener) -> Translated<()> {
    match &value.connection_balance_config {
        None | Some(ConnectionBalanceConfig { balance_type: None | Some(BalanceType::ExactBalance(_)) }) => Ok(()),
        Some(_) => refuse_field("connection_balance_config", "only exact_balance is carried"),
    }
}
