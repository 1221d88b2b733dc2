//! Options of listening sockets.

use std::{io, time::Duration};

use socket2::{Socket, TcpKeepalive};

use crate::model::{SocketSetting, SocketSettings, SocketState};

/// Sets the options of this state. The first that the kernel refuses ends it, as in Envoy.
pub(super) fn apply(socket: &Socket, settings: &SocketSettings, state: SocketState, ipv4: bool) -> io::Result<()> {
    let wanted = settings.options.iter().filter(|o| o.state == state && o.ipv4.is_none_or(|only| only == ipv4));
    for option in wanted {
        set(socket, &option.setting, ipv4)
            .map_err(|e| io::Error::new(e.kind(), format!("socket option {:?}: {e}", option.setting)))?;
    }
    Ok(())
}

fn set(socket: &Socket, setting: &SocketSetting, ipv4: bool) -> io::Result<()> {
    use SocketSetting as S;
    let seconds = |n: u32| Duration::from_secs(u64::from(n));
    match setting {
        S::ReuseAddress(on) => socket.set_reuse_address(*on),
        S::ReusePort(on) => socket.set_reuse_port(*on),
        S::SendBuffer(bytes) => socket.set_send_buffer_size(*bytes as usize),
        S::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(*bytes as usize),
        S::KeepAlive(on) => socket.set_keepalive(*on),
        S::Priority(n) => socket.set_priority(*n),
        S::Mark(n) => socket.set_mark(*n),
        S::BusyPoll(n) => socket.set_busy_poll(*n),
        S::Linger(n) => socket.set_linger(n.map(seconds)),
        S::Device(name) => socket.bind_device(Some(name)),
        S::NoDelay(on) => socket.set_tcp_nodelay(*on),
        S::MaxSegment(n) => socket.set_tcp_mss(*n),
        S::Cork(on) => socket.set_tcp_cork(*on),
        S::KeepIdle(n) => keepalive(socket, &TcpKeepalive::new().with_time(seconds(*n))),
        S::KeepInterval(n) => keepalive(socket, &TcpKeepalive::new().with_interval(seconds(*n))),
        S::KeepCount(n) => keepalive(socket, &TcpKeepalive::new().with_retries(*n)),
        S::QuickAck(on) => socket.set_tcp_quickack(*on),
        S::Congestion(name) => socket.set_tcp_congestion(name),
        S::UserTimeout(n) => socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(*n)))),
        S::NotSentLowWater(n) => socket.set_tcp_notsent_lowat(*n),
        S::TypeOfService(n) => socket.set_tos_v4(*n),
        S::TrafficClass(n) => socket.set_tclass_v6(*n),
        S::FreeBind(on) if ipv4 => socket.set_freebind_v4(*on),
        S::FreeBind(on) => socket.set_freebind_v6(*on),
        S::Transparent(on) if ipv4 => socket.set_ip_transparent_v4(*on),
        S::Transparent(on) => socket.set_ip_transparent_v6(*on),
    }
}

/// The numbers alone: whether keepalive is on is an option of its own.
fn keepalive(socket: &Socket, numbers: &TcpKeepalive) -> io::Result<()> {
    let on = socket.keepalive()?;
    socket.set_tcp_keepalive(numbers)?;
    socket.set_keepalive(on)
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;
    use crate::model::SocketOption;

    fn tcp() -> Socket {
        Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
    }

    fn with(options: &[(SocketState, Option<bool>, SocketSetting)]) -> SocketSettings {
        let option = |(state, ipv4, setting): &(SocketState, Option<bool>, SocketSetting)| SocketOption {
            state: *state,
            ipv4: *ipv4,
            setting: setting.clone(),
        };
        SocketSettings { options: options.iter().map(option).collect(), ..SocketSettings::default() }
    }

    #[test]
    fn options_of_the_state_and_family_are_set() {
        use SocketState::{Bound, PreBind};
        let settings = with(&[
            (PreBind, None, SocketSetting::KeepIdle(11)),
            (PreBind, Some(true), SocketSetting::UserTimeout(1234)),
            (PreBind, Some(false), SocketSetting::KeepAlive(true)),
            (PreBind, None, SocketSetting::Linger(Some(3))),
            (PreBind, None, SocketSetting::Congestion(b"reno".to_vec())),
            (Bound, None, SocketSetting::NoDelay(true)),
        ]);
        let socket = tcp();
        apply(&socket, &settings, PreBind, true).unwrap();
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(11));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1234)));
        assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(3)));
        assert!(!socket.keepalive().unwrap() && !socket.tcp_nodelay().unwrap());
        apply(&socket, &settings, Bound, true).unwrap();
        assert!(socket.tcp_nodelay().unwrap());
    }

    #[test]
    fn what_the_kernel_refuses_is_named() {
        let settings = with(&[(SocketState::PreBind, None, SocketSetting::Congestion(b"no such thing".to_vec()))]);
        let error = apply(&tcp(), &settings, SocketState::PreBind, true).unwrap_err();
        assert!(error.to_string().contains("Congestion"), "{error}");
    }
}
