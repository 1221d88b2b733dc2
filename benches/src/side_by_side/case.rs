//! The cases: what is proxied, and what is measured.

use std::{fmt, str::FromStr};

/// What is proxied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// HTTP/1.1 on both sides.
    H1,
    /// Cleartext HTTP/2 on both sides.
    H2,
    /// Bytes: answers of 1 KiB.
    Tcp,
    /// Bytes: answers of 1 MiB.
    Tcp1m,
    /// TLS ends at the proxy; HTTP/1.1.
    Tls,
    /// The same, with a connection for each request.
    Handshake,
    /// Two proxies, HTTP/1.1 in mutual TLS between them.
    MtlsH1,
    /// Two proxies, HTTP/2 in mutual TLS between them.
    MtlsH2,
    /// Two proxies, bytes in mutual TLS between them: answers of 1 KiB.
    MtlsTcp,
    /// The same, answers of 1 MiB.
    MtlsTcp1m,
    /// HTTP/1.1 over a thousand virtual hosts with ten routes each.
    Routes,
    /// Memory with a thousand clusters.
    Clusters,
    /// Memory of an idle HTTP/1.1 connection.
    Idle,
}

/// What a case is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// CPU time for a request, in microseconds.
    CpuMicros,
    /// Answer bytes for a second of CPU time, in GiB: more is better.
    GibPerCpuSecond,
    /// Resident memory, in MiB.
    RssMib,
    /// Resident memory for a connection, in KiB.
    KibPerConnection,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::CpuMicros => "CPU us/req",
            Unit::GibPerCpuSecond => "GiB/CPU s",
            Unit::RssMib => "RSS MiB",
            Unit::KibPerConnection => "KiB/conn",
        })
    }
}

const NAMES: [(Case, &str); 13] = [
    (Case::H1, "h1"),
    (Case::H2, "h2"),
    (Case::Tcp, "tcp"),
    (Case::Tcp1m, "tcp-1m"),
    (Case::Tls, "tls"),
    (Case::Handshake, "handshake"),
    (Case::MtlsH1, "mtls-h1"),
    (Case::MtlsH2, "mtls-h2"),
    (Case::MtlsTcp, "mtls-tcp"),
    (Case::MtlsTcp1m, "mtls-tcp-1m"),
    (Case::Routes, "routes"),
    (Case::Clusters, "clusters"),
    (Case::Idle, "idle"),
];

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(case, _)| *case).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(_, name)| *name).collect();
            format!("{text:?} is no case; there are {}", names.join(", "))
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(case, _)| case == self).map_or("?", |(_, name)| name);
        f.pad(name)
    }
}

impl Case {
    /// All cases, as `--cases` takes them.
    pub(crate) const ALL: &'static str =
        "h1,h2,tcp,tcp-1m,tls,handshake,mtls-h1,mtls-h2,mtls-tcp,mtls-tcp-1m,routes,clusters,idle";

    /// What it is measured in.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Case::Tcp1m | Case::MtlsTcp1m => Unit::GibPerCpuSecond,
            Case::Clusters => Unit::RssMib,
            Case::Idle => Unit::KibPerConnection,
            _ => Unit::CpuMicros,
        }
    }

    /// Two proxies, one behind the other.
    pub(crate) fn is_pair(self) -> bool {
        matches!(self, Case::MtlsH1 | Case::MtlsH2 | Case::MtlsTcp | Case::MtlsTcp1m)
    }

    /// Bytes are carried, whatever they mean.
    pub(crate) fn is_bytes(self) -> bool {
        matches!(self, Case::Tcp | Case::Tcp1m | Case::MtlsTcp | Case::MtlsTcp1m)
    }

    /// TLS between load and proxy.
    pub(crate) fn is_tls_in_front(self) -> bool {
        matches!(self, Case::Tls | Case::Handshake)
    }

    /// Path that the load asks for.
    pub(crate) fn path(self) -> &'static str {
        if self.unit() == Unit::GibPerCpuSecond { "/1m" } else { "/svc/x" }
    }
}
