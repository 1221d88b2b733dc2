use std::time::Duration;

use super::{AccessLogConfig, HeaderEdit, Tlv};

/// `filters.network.tcp_proxy.v3.TcpProxy`.
#[derive(Clone, Debug)]
pub struct TcpProxy {
    /// Prefix of statistics.
    pub stat_prefix: String,
    /// Destinations and weights; one of weight 1 for a plain `cluster`.
    pub clusters: Vec<(String, u32)>,
    /// The cluster is the server name that the client asked for, if it did (`envoy.filters.network.sni_cluster`).
    pub sni_cluster: bool,
    /// Closed when no byte moved for this long, either way. Default 1 h; zero = never.
    pub idle_timeout: Duration,
    /// Attempts to connect upstream. Default 1.
    pub max_connect_attempts: u32,
    /// Pause between attempts: a random share of the first, doubled each time up to the second. `None` = no pause.
    pub backoff: Option<(Duration, Duration)>,
    /// Longest life of a connection; `None` = unlimited.
    pub max_downstream_duration: Option<Duration>,
    /// That life is longer by a random share of at most this, from 0 to 1.
    pub duration_jitter: f64,
    /// Hosts are chosen by the client's address, for policies that hash.
    pub hash_source_ip: bool,
    /// A host is connected to only when the client has sent something, of which at most so much is held until then, bytes
    /// (`ON_DOWNSTREAM_DATA`). `None` = at once.
    pub early_data: Option<u32>,
    /// TLVs for the PROXY protocol header toward the host, beside those of the client's.
    pub tlvs: Vec<Tlv>,
    /// What becomes of them where the client sent such a TLV too.
    pub tlv_merge: TlvMerge,
    /// Connections go through a tunnel that the host is asked for; `None` = to the host itself.
    pub tunnel: Option<TcpTunnel>,
    /// Access logs.
    pub access_log: Vec<AccessLogConfig>,
    /// When lines are written beside the one at the end.
    pub log_times: TcpLogTimes,
}

/// `TcpProxy.TunnelingConfig`: a `CONNECT` request to the host, in the protocol of its cluster.
#[derive(Clone, Debug)]
pub struct TcpTunnel {
    /// Authority that is asked for, such as `example.com:443`; may hold command operators.
    pub hostname: String,
    /// Headers of the request.
    pub headers: Vec<HeaderEdit>,
}

/// `ProxyProtocolTlvMergePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlvMerge {
    /// The client's stay; others are added.
    #[default]
    AddIfAbsent,
    /// The client's of the same types are replaced.
    Overwrite,
    /// All are sent, the client's first.
    Append,
}

/// `TcpProxy.TcpAccessLogOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpLogTimes {
    /// Every so often; `None` = not.
    pub interval: Option<Duration>,
    /// When a host is connected.
    pub on_connected: bool,
    /// When the client has connected.
    pub on_start: bool,
}
