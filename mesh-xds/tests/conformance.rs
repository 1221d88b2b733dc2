//! The protocol's rules, case by case: our server and our client keep them, and peers that break one are found out.
#![cfg(all(feature = "server", feature = "client", feature = "test-util"))]
#![allow(clippy::unwrap_used)] // helpers of a test

use std::{sync::Arc, time::Duration};

use mesh_xds::{
    server::XdsServer,
    store::{SingleView, View},
    testing::{
        TestServer,
        conformance::{
            client,
            server::{self, Target, ViewFixture},
        },
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_server_keeps_the_rules() {
    let view = View::new();
    let running = TestServer::start(XdsServer::builder(SingleView(view.clone()))).await.unwrap();
    let target = Target::plain(running.address().to_string()).quiet(Duration::from_millis(150));
    let report = server::run(&target, Arc::new(ViewFixture(view))).await;
    println!("{report}");
    report.assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_keeps_the_rules() {
    let patience = client::Patience { due: Duration::from_secs(5), quiet: Duration::from_millis(150) };
    let report = client::run(Arc::new(client::MeshClient), patience).await;
    println!("{report}");
    report.assert_passed();
}
