use std::{sync::OnceLock, time::Duration};

/// Settings of a listening socket. Connections accepted from it inherit them, as far as the kernel does that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketSettings {
    /// Options by number, in order.
    pub options: Vec<SocketOption>,
    /// TCP keepalive: idle time, interval, probes.
    pub keepalive: Option<(Duration, Duration, u32)>,
    /// Mode of a Unix socket's file (`chmod`); zero = as the process makes files.
    pub mode: u32,
}

impl SocketSettings {
    /// Nothing set.
    pub(crate) fn none() -> &'static Self {
        static NONE: OnceLock<SocketSettings> = OnceLock::new();
        NONE.get_or_init(Self::default)
    }
}

/// `core.v3.SocketOption`, of those that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOption {
    /// When it is set.
    pub state: SocketState,
    /// Only on sockets of this family, if told: `true` = IPv4.
    pub ipv4: Option<bool>,
    /// What is set.
    pub setting: SocketSetting,
}

/// State of a socket in which an option is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// Before `bind(2)`.
    PreBind,
    /// Between `bind(2)` and `listen(2)`.
    Bound,
    /// After `listen(2)`.
    Listening,
}

/// A socket option and its value, by the names of Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketSetting {
    /// `SO_REUSEADDR`.
    ReuseAddress(bool),
    /// `SO_REUSEPORT`.
    ReusePort(bool),
    /// `SO_SNDBUF`, bytes.
    SendBuffer(u32),
    /// `SO_RCVBUF`, bytes.
    ReceiveBuffer(u32),
    /// `SO_KEEPALIVE`.
    KeepAlive(bool),
    /// `SO_PRIORITY`.
    Priority(u32),
    /// `SO_MARK`.
    Mark(u32),
    /// `SO_BUSY_POLL`, microseconds.
    BusyPoll(u32),
    /// `SO_LINGER`: seconds, `None` = off.
    Linger(Option<u32>),
    /// `SO_BINDTODEVICE`: name of the interface.
    Device(Vec<u8>),
    /// `TCP_NODELAY`.
    NoDelay(bool),
    /// `TCP_MAXSEG`, bytes.
    MaxSegment(u32),
    /// `TCP_CORK`.
    Cork(bool),
    /// `TCP_KEEPIDLE`, seconds.
    KeepIdle(u32),
    /// `TCP_KEEPINTVL`, seconds.
    KeepInterval(u32),
    /// `TCP_KEEPCNT`.
    KeepCount(u32),
    /// `TCP_QUICKACK`.
    QuickAck(bool),
    /// `TCP_CONGESTION`: name of the algorithm.
    Congestion(Vec<u8>),
    /// `TCP_USER_TIMEOUT`, milliseconds.
    UserTimeout(u32),
    /// `TCP_NOTSENT_LOWAT`, bytes.
    NotSentLowWater(u32),
    /// `IP_TOS`.
    TypeOfService(u32),
    /// `IP_FREEBIND` or `IPV6_FREEBIND`.
    FreeBind(bool),
    /// `IP_TRANSPARENT` or `IPV6_TRANSPARENT`.
    Transparent(bool),
    /// `IPV6_TCLASS`.
    TrafficClass(u32),
}
