//! Listeners of gateways.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use mesh_config::model::{Object, Secret, Server, ServerTlsMode, ServerTlsSettings};
use mesh_xds_api::envoy::config::{
    core::v3::{TrafficDirection, TransportSocket},
    listener::v3::{FilterChainMatch, Listener},
};

use super::{chain, listener, tls_inspector};
use crate::{
    discovery::{Notice, Protocol, TargetPort},
    translate::{
        Interception,
        http::{self, HttpKey, Routes, Side},
        names, route, tls,
        view::View,
        virtual_host::{self, Table},
    },
};

/// What the servers of a node's gateways become.
#[derive(Debug, Default)]
pub(crate) struct Gateways<'a> {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) tables: Vec<Table<'a>>,
    /// Names of secrets that must come with the other resources.
    pub(crate) secrets: BTreeSet<String>,
}

type Servers<'a> = Vec<(&'a Object, &'a Server)>;

/// The listeners and routes of a router.
pub(crate) fn gateways<'a>(view: &View<'a>, notices: &mut Vec<Notice>) -> Gateways<'a> {
    let mut made = Gateways::default();
    for ((bind, port), servers) in by_port(view, notices) {
        let (plain, encrypted): (Servers<'_>, Servers<'_>) =
            servers.into_iter().partition(|(_, server)| !protocol(server).is_tls());
        let mut listener = listener(bind, port, TrafficDirection::Outbound);
        if !plain.is_empty() && !encrypted.is_empty() {
            for (gateway, server) in &encrypted {
                let message = "another server takes plain HTTP on this port: the server is left out";
                notices.push(Notice::new(gateway.key(), path(gateway, server), message));
            }
        }
        if plain.is_empty() {
            for (gateway, server) in encrypted {
                encrypted_server(view, gateway, server, port, &mut listener, &mut made, notices);
            }
            listener.listener_filters = vec![tls_inspector()];
        } else {
            let number = server_port(plain[0].1);
            let name = names::gateway_http_route(number);
            let table = virtual_host::gateway(view, name.clone(), number, &plain);
            let filters = vec![manager(view, &listener.name, name, &table)];
            listener.filter_chains = vec![chain("", FilterChainMatch::default(), filters, None)];
            made.tables.push(table);
        }
        if !listener.filter_chains.is_empty() {
            made.listeners.push(listener);
        }
    }
    made
}

/// Servers that can be carried, by where they listen.
fn by_port<'a>(view: &View<'a>, notices: &mut Vec<Notice>) -> BTreeMap<(IpAddr, u16), Servers<'a>> {
    let mut all: BTreeMap<(IpAddr, u16), Servers<'a>> = BTreeMap::new();
    for (gateway, server) in virtual_host::servers(view) {
        let mut refuse = |field: &str, message: &str| {
            notices.push(Notice::new(gateway.key(), format!("{}.{field}", path(gateway, server)), message));
        };
        let number = server_port(server);
        let kind = protocol(server);
        if !kind.is_http() && kind != Protocol::Https {
            refuse("port.protocol", "only HTTP, HTTP2, GRPC and HTTPS servers are implemented: the server is left out");
            continue;
        }
        let bind = match server.bind.as_deref().filter(|bind| !bind.is_empty()).map(str::parse::<IpAddr>) {
            None => default_bind(view),
            Some(Ok(bind)) => bind,
            Some(Err(_)) => {
                refuse("bind", "only IP addresses are implemented: the server is left out");
                continue;
            }
        };
        all.entry((bind, target_port(view, number))).or_default().push((gateway, server));
    }
    all
}

/// Without interception several nodes share a machine: each keeps to its own address.
fn default_bind(view: &View<'_>) -> IpAddr {
    match view.node.interception {
        Interception::None => view.node.address(),
        Interception::Redirect => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

/// The port to listen on: where the gateway's own service sends the server's port, else that port itself.
fn target_port(view: &View<'_>, number: u16) -> u16 {
    let records = view.context.registry.services().filter(|record| {
        record.service.namespace() == view.node.namespace
            && record.service.selector.as_ref().is_some_and(|selector| view.labels.matches(selector))
    });
    let mut ports = records.filter_map(|record| record.service.port(number));
    match ports.next().map(|port| &port.target) {
        Some(TargetPort::Number(target)) => *target,
        _ => number,
    }
}

/// A number out of range was refused by validation.
fn server_port(server: &Server) -> u16 {
    server.port.as_ref().and_then(|port| u16::try_from(port.number).ok()).unwrap_or_default()
}

fn protocol(server: &Server) -> Protocol {
    server.port.as_ref().map(|port| Protocol::parse(&port.protocol)).unwrap_or_default()
}

fn path(gateway: &Object, server: &Server) -> String {
    let servers = gateway.spec_as::<mesh_config::model::Gateway>().map(|spec| spec.servers.as_slice());
    let index = servers.unwrap_or_default().iter().position(|other| std::ptr::eq(other, server));
    format!("spec.servers[{}]", index.unwrap_or_default())
}

fn manager(
    view: &View<'_>,
    listener: &str,
    route: String,
    table: &Table<'_>,
) -> mesh_xds_api::envoy::config::listener::v3::Filter {
    let policies = view.context.policies.workload(&view.node.namespace, &view.labels);
    http::manager(HttpKey {
        stat_prefix: format!("outbound_{listener}"),
        routes: Routes::Named(route),
        side: Side::Gateway,
        authorization: policies.http_filters(),
        cors: table.config.virtual_hosts.iter().any(route::uses_cors),
        options: &view.context.options,
    })
}

fn encrypted_server<'a>(
    view: &View<'a>,
    gateway: &'a Object,
    server: &'a Server,
    port: u16,
    listener: &mut Listener,
    made: &mut Gateways<'a>,
    notices: &mut Vec<Notice>,
) {
    let socket = match server.tls.as_ref() {
        Some(settings) => server_tls(view, settings, &mut made.secrets),
        None => Err(("tls", "an HTTPS server needs tls: the server is left out".to_owned())),
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err((field, message)) => {
            notices.push(Notice::new(gateway.key(), format!("{}.{field}", path(gateway, server)), message));
            return;
        }
    };
    let number = server_port(server);
    let port_name = server.port.as_ref().map(|port| port.name.as_str()).unwrap_or_default();
    let name = names::gateway_https_route(number, port_name, gateway.name(), gateway.namespace());
    let table = virtual_host::gateway(view, name.clone(), number, &[(gateway, server)]);
    let hosts = server.hosts.iter().map(|host| host.split_once('/').map_or(host.as_str(), |(_, host)| host));
    let mut server_names: Vec<String> = hosts.map(str::to_ascii_lowercase).collect();
    if server_names.iter().any(|name| name == "*") {
        server_names.clear();
    }
    let taken = listener.filter_chains.iter().any(|chain| {
        let other = chain.filter_chain_match.as_ref().map(|m| m.server_names.as_slice()).unwrap_or_default();
        (other.is_empty() && server_names.is_empty()) || other.iter().any(|name| server_names.contains(name))
    });
    if taken {
        let message = format!("another server on port {port} has one of these hosts: the server is left out");
        notices.push(Notice::new(gateway.key(), format!("{}.hosts", path(gateway, server)), message));
        return;
    }
    let matches = FilterChainMatch { server_names, ..Default::default() };
    let filters = vec![manager(view, &listener.name, name.clone(), &table)];
    listener.filter_chains.push(chain(name, matches, filters, Some(socket)));
    made.tables.push(table);
}

fn server_tls(
    view: &View<'_>,
    settings: &ServerTlsSettings,
    secrets: &mut BTreeSet<String>,
) -> Result<TransportSocket, (&'static str, String)> {
    let mutual = match settings.mode {
        ServerTlsMode::Simple => false,
        ServerTlsMode::Mutual => true,
        ServerTlsMode::IstioMutual => return Ok(tls::mesh_server(true)),
        _ => {
            return Err((
                "tls.mode",
                "only SIMPLE, MUTUAL and ISTIO_MUTUAL are implemented: the server is left out".into(),
            ));
        }
    };
    let name = settings.credential_name.as_deref().filter(|name| !name.is_empty());
    let Some(name) = name.or_else(|| settings.credential_names.first().map(String::as_str)) else {
        let message = "only certificates from a Secret (credentialName) are implemented: the server is left out";
        return Err(("tls.credentialName", message.to_owned()));
    };
    let namespace = &view.node.namespace;
    let found = view.context.snapshot.find::<Secret>(namespace, name).map(|typed| typed.spec);
    let missing = |what: &str| {
        let message = format!("Secret {namespace}/{name} {what}: the server is left out until it is there");
        Err(("tls.credentialName", message))
    };
    let Some(secret) = found else { return missing("does not exist") };
    if secret.value("tls.crt").is_none() || secret.value("tls.key").is_none() {
        return missing("holds no tls.crt and tls.key");
    }
    let certificate = format!("kubernetes://{name}");
    secrets.insert(certificate.clone());
    if !mutual {
        return Ok(tls::gateway_server(&certificate, None));
    }
    let roots = format!("kubernetes://{name}-cacert");
    let apart = view.context.snapshot.find::<Secret>(namespace, &format!("{name}-cacert"));
    if secret.value("ca.crt").is_none() && apart.is_none() {
        return missing("holds no ca.crt, and there is no Secret with -cacert behind its name");
    }
    secrets.insert(roots.clone());
    Ok(tls::gateway_server(&certificate, Some(&roots)))
}
