//! Who takes part in the demo, and at which loopback addresses.
//!
//! Each workload has an address of its own for every role, so that the configuration is what a cluster would have, with no
//! privileges and no capture of traffic:
//!
//! ```text
//!   127.N.0.x  control plane (x = 2)      127.N.2.x  where the application of workload x finds services
//!   127.N.1.x  workload x, its sidecar    127.N.3.x  where the application of workload x listens
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;

/// Port of every Bookinfo service.
pub(crate) const SERVICE_PORT: u16 = 9080;

/// One workload.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) app: &'static str,
    pub(crate) version: &'static str,
    index: u8,
}

impl Workload {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.app, self.version)
    }

    pub(crate) fn service_account(&self) -> String {
        format!("bookinfo-{}", self.app)
    }
}

const WORKLOADS: [(&str, &str); 7] = [
    ("traffic", "v1"),
    ("productpage", "v1"),
    ("details", "v1"),
    ("reviews", "v1"),
    ("reviews", "v2"),
    ("reviews", "v3"),
    ("ratings", "v1"),
];

/// Workloads and addresses of one run.
#[derive(Debug)]
pub(crate) struct Plan {
    network: u8,
    pub(crate) workloads: Vec<Workload>,
    /// Keeps other demos off this network while this one runs.
    _claim: TcpListener,
}

impl Plan {
    /// Claims a network of loopback addresses that no other demo uses.
    pub(crate) fn claim() -> anyhow::Result<Self> {
        let start = (std::process::id() % 150) as u8;
        let claim = (0..150u8).map(|i| 50 + (start + i) % 150).find_map(|network| {
            TcpListener::bind((Ipv4Addr::new(127, network, 0, 1), SERVICE_PORT)).ok().map(|l| (network, l))
        });
        let (network, claim) = claim.context(
            "no free loopback network: addresses 127.x.0.1 cannot be bound (the demo needs Linux, where all of 127.0.0.0/8 is loopback)",
        )?;
        let workloads =
            WORKLOADS.iter().zip(11..).map(|(&(app, version), index)| Workload { app, version, index }).collect();
        Ok(Self { network, workloads, _claim: claim })
    }

    fn ip(&self, role: u8, index: u8) -> IpAddr {
        Ipv4Addr::new(127, self.network, role, index).into()
    }

    pub(crate) fn control_plane(&self) -> SocketAddr {
        (self.ip(0, 2), 15012).into()
    }

    pub(crate) fn control_plane_admin(&self) -> SocketAddr {
        (self.ip(0, 2), 15014).into()
    }

    pub(crate) fn workload_ip(&self, workload: &Workload) -> IpAddr {
        self.ip(1, workload.index)
    }

    pub(crate) fn outbound(&self, workload: &Workload) -> IpAddr {
        self.ip(2, workload.index)
    }

    pub(crate) fn app(&self, workload: &Workload) -> IpAddr {
        self.ip(3, workload.index)
    }

    pub(crate) fn admin(&self, workload: &Workload) -> SocketAddr {
        (self.workload_ip(workload), 15000).into()
    }

    pub(crate) fn status(&self, workload: &Workload) -> SocketAddr {
        (self.workload_ip(workload), 15021).into()
    }

    /// The workload that makes the traffic.
    pub(crate) fn traffic(&self) -> &Workload {
        // Invariant: WORKLOADS begins with it.
        &self.workloads[0]
    }

    /// What a program beside the demo needs to know, as JSON (`demo.json`).
    pub(crate) fn describe(&self, config: &std::path::Path) -> serde_json::Value {
        let workloads: serde_json::Map<_, _> = self
            .workloads
            .iter()
            .map(|w| {
                let facts = serde_json::json!({
                    "address": self.workload_ip(w),
                    "outbound": SocketAddr::new(self.outbound(w), SERVICE_PORT),
                    "app": SocketAddr::new(self.app(w), SERVICE_PORT),
                    "admin": self.admin(w),
                    "status": self.status(w),
                });
                (w.name(), facts)
            })
            .collect();
        serde_json::json!({
            "config": config,
            "control_plane": self.control_plane(),
            "control_plane_admin": self.control_plane_admin(),
            "workloads": workloads,
        })
    }
}
