//! Addresses of listeners and the options of their sockets.

use mesh_xds_api::envoy::config::{
    core::v3::{
        Address as ProtoAddress, SocketOption as ProtoOption, TcpKeepalive, address,
        socket_option::{SocketIpVersion, SocketState as ProtoState, Value},
    },
    listener::v3::Listener as ProtoListener,
};

use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        value::{enumeration, ip_address, keepalive, present},
    },
    model::{Address, SocketOption, SocketSetting, SocketSettings, SocketState},
    supported,
};

supported! {
    /// Sockets of listeners.
    pub(in crate::config) static SOCKETS =
    envoy.config.core.v3.Pipe {
        carried: path, mode;
    }
    envoy.config.core.v3.SocketOption {
        carried: state, int_value, buf_value, ip_version;
        limited: level = "with name, an option that can be set: SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP or IPPROTO_IPV6",
            name = "see level",
            type = "stream; an option for datagrams only does not apply to a listener of TCP";
        irrelevant: description = "a remark";
    }
    envoy.config.core.v3.SocketOption.SocketType {
        carried: stream, datagram;
    }
    envoy.config.core.v3.SocketOption.SocketType.Stream {}
    envoy.config.core.v3.SocketOption.SocketType.Datagram {}
    envoy.config.core.v3.SocketOptionsOverride {
        carried: socket_options;
    }
}

/// Addresses and, in the same order, the settings of their sockets.
pub(super) fn sockets(value: &ProtoListener) -> Translated<(Vec<Address>, Vec<SocketSettings>)> {
    let shared = shared_options(value);
    let (address, first) = socket(
        present(value.address.as_ref(), "address")?,
        [&shared[..], &options(&value.socket_options, "socket_options")?].concat(),
        value.tcp_keepalive.as_ref(),
        "address",
    )?;
    let (mut addresses, mut settings) = (vec![address], vec![first.clone()]);
    for (i, other) in value.additional_addresses.iter().enumerate() {
        let field = format!("additional_addresses[{i}]");
        let Some(address) = &other.address else { return refuse_field(format!("{field}.address"), "is required") };
        let own = match &other.socket_options {
            Some(own) => {
                let own = options(&own.socket_options, "socket_options.socket_options").at(&field)?;
                [&shared[..], &own].concat()
            }
            None => first.options.clone(),
        };
        let keepalive = other.tcp_keepalive.as_ref().or(value.tcp_keepalive.as_ref());
        let (address, own) = socket(address, own, keepalive, &format!("{field}.address"))?;
        addresses.push(address);
        settings.push(own);
    }
    Ok((addresses, settings))
}

/// `transparent` and `freebind`, for every address.
fn shared_options(value: &ProtoListener) -> Vec<SocketOption> {
    let option = |setting| SocketOption { state: SocketState::PreBind, ipv4: None, setting };
    let settings =
        [(value.transparent, SocketSetting::Transparent(true)), (value.freebind, SocketSetting::FreeBind(true))];
    settings.into_iter().filter(|(on, _)| *on == Some(true)).map(|(_, setting)| option(setting)).collect()
}

fn socket(
    value: &ProtoAddress,
    options: Vec<SocketOption>,
    alive: Option<&TcpKeepalive>,
    field: &str,
) -> Translated<(Address, SocketSettings)> {
    let address = ip_address(value).at(field)?;
    let mut settings = SocketSettings { options, keepalive: alive.map(keepalive), mode: 0 };
    if let Some(address::Address::Pipe(pipe)) = &value.address {
        if pipe.mode > 0o777 {
            return refuse_field(format!("{field}.pipe.mode"), "must be at most 0777");
        }
        // Options of TCP mean nothing there.
        settings = SocketSettings { mode: pipe.mode, ..SocketSettings::default() };
    }
    Ok((address, settings))
}

fn options(values: &[ProtoOption], field: &str) -> Translated<Vec<SocketOption>> {
    let mut found = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        found.extend(option(value).at(format_args!("{field}[{i}]"))?);
    }
    Ok(found)
}

/// `None`: the option is not for sockets of TCP.
fn option(value: &ProtoOption) -> Translated<Option<SocketOption>> {
    let state = match enumeration(value.state, "state")? {
        ProtoState::StatePrebind => SocketState::PreBind,
        ProtoState::StateBound => SocketState::Bound,
        ProtoState::StateListening => SocketState::Listening,
    };
    let ipv4 = match enumeration(value.ip_version, "ip_version")? {
        SocketIpVersion::Unspecified => None,
        SocketIpVersion::Ipv4 => Some(true),
        SocketIpVersion::Ipv6 => Some(false),
    };
    let setting = match present(value.value.as_ref(), "int_value")? {
        Value::IntValue(number) => by_number(value.level, value.name, *number),
        Value::BufValue(bytes) => by_bytes(value.level, value.name, bytes),
    };
    let Some(setting) = setting else {
        return refuse(format!("option {} of level {} cannot be set to such a value", value.name, value.level));
    };
    let elsewhere = value.r#type.is_some_and(|t| t.datagram.is_some() && t.stream.is_none());
    Ok((!elsewhere).then_some(SocketOption { state, ipv4, setting }))
}

const SOL_SOCKET: i64 = 1;
const IPPROTO_IP: i64 = 0;
const IPPROTO_TCP: i64 = 6;
const IPPROTO_IPV6: i64 = 41;

/// Numbers of Linux (`asm-generic/socket.h`, `linux/tcp.h`, `linux/in.h`, `linux/in6.h`).
fn by_number(level: i64, name: i64, value: i64) -> Option<SocketSetting> {
    use SocketSetting as S;
    let on = value != 0;
    let number = u32::try_from(value).ok().filter(|n| i32::try_from(*n).is_ok())?;
    Some(match (level, name) {
        (SOL_SOCKET, 2) => S::ReuseAddress(on),
        (SOL_SOCKET, 7) => S::SendBuffer(number),
        (SOL_SOCKET, 8) => S::ReceiveBuffer(number),
        (SOL_SOCKET, 9) => S::KeepAlive(on),
        (SOL_SOCKET, 12) => S::Priority(number),
        (SOL_SOCKET, 15) => S::ReusePort(on),
        (SOL_SOCKET, 36) => S::Mark(number),
        (SOL_SOCKET, 46) => S::BusyPoll(number),
        (IPPROTO_TCP, 1) => S::NoDelay(on),
        (IPPROTO_TCP, 2) => S::MaxSegment(number),
        (IPPROTO_TCP, 3) => S::Cork(on),
        (IPPROTO_TCP, 4) => S::KeepIdle(number),
        (IPPROTO_TCP, 5) => S::KeepInterval(number),
        (IPPROTO_TCP, 6) => S::KeepCount(number),
        (IPPROTO_TCP, 12) => S::QuickAck(on),
        (IPPROTO_TCP, 18) => S::UserTimeout(number),
        (IPPROTO_TCP, 25) => S::NotSentLowWater(number),
        (IPPROTO_IP, 1) => S::TypeOfService(number),
        (IPPROTO_IP, 15) | (IPPROTO_IPV6, 78) => S::FreeBind(on),
        (IPPROTO_IP, 19) | (IPPROTO_IPV6, 75) => S::Transparent(on),
        (IPPROTO_IPV6, 67) => S::TrafficClass(number),
        _ => return None,
    })
}

/// A number in the byte order of this machine, a name, or `struct linger`.
fn by_bytes(level: i64, name: i64, bytes: &[u8]) -> Option<SocketSetting> {
    let text = || bytes.strip_suffix(b"\0").unwrap_or(bytes).to_vec();
    match (level, name) {
        (SOL_SOCKET, 13) => {
            let (on, seconds) = bytes.split_first_chunk::<4>()?;
            let seconds = u32::try_from(i32::from_ne_bytes(seconds.try_into().ok()?)).ok()?;
            Some(SocketSetting::Linger((i32::from_ne_bytes(*on) != 0).then_some(seconds)))
        }
        (SOL_SOCKET, 25) => Some(SocketSetting::Device(text())),
        (IPPROTO_TCP, 13) => Some(SocketSetting::Congestion(text())),
        _ => by_number(level, name, i32::from_ne_bytes(bytes.try_into().ok()?).into()),
    }
}
