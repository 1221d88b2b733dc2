//! Our server under gRPC's own xDS clients, and servers: C core (Python), JavaScript and Go, each with an `xds:///` target
//! and the file of its bootstrap. They speak state of the world on an aggregated stream, and ask for names only.
//!
//! Each scenario is named for what it shows, with the gRFC that says so, and runs for every implementation that has it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

/// One test for each implementation.
macro_rules! with_every {
    ($($scenario:ident: $($implementation:ident)+;)+) => {
        $(mod $scenario {
            $(#[test]
            #[allow(non_snake_case)]
            fn $implementation() {
                super::$scenario(crate::grpc::Implementation::$implementation);
            })+
        })+
    };
}

mod absence;
mod backend;
mod csds;
mod failover;
mod grpc;
mod management;
mod outage;
mod refusal;
mod resources;
mod routing;
mod security;
mod servers;
mod world;
