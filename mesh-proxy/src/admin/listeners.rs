use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::model::Address;

/// A listener to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Addresses it is bound to, with the ports that the system chose; the configured ones if it is not bound.
    pub addresses: Vec<Address>,
}

pub(super) fn text(listeners: &[ListenerStatus]) -> String {
    let mut out = String::new();
    for listener in listeners {
        let addresses: Vec<_> = listener.addresses.iter().map(ToString::to_string).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}::{}", listener.name, addresses.join(", "));
    }
    out
}

pub(super) fn json(listeners: &[ListenerStatus]) -> Value {
    let one = |listener: &ListenerStatus| {
        let mut addresses = listener.addresses.iter().map(address);
        let mut out = json!({"name": listener.name, "local_address": addresses.next()});
        let others: Vec<_> = addresses.collect();
        if !others.is_empty() {
            out["additional_local_addresses"] = others.into();
        }
        out
    };
    json!({ "listener_statuses": listeners.iter().map(one).collect::<Vec<_>>() })
}

/// `core.v3.Address`.
pub(super) fn address(address: &Address) -> Value {
    match address {
        Address::Tcp(socket) => {
            json!({"socket_address": {"address": socket.ip().to_string(), "port_value": socket.port()}})
        }
        Address::Name(host, port) => json!({"socket_address": {"address": host, "port_value": port}}),
        Address::Unix(path) => json!({"pipe": {"path": path.display().to_string()}}),
    }
}
