//! gRPC's own client and server with two `mesh proxy` hops between, HTTP/2 all the way: streams, metadata, trailers,
//! cancellation, deadlines.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use mesh_tests::{
    data_plane::{DataPlane, Kind, forwarding},
    peer,
    process::Process,
    wait,
};
use serde_json::{Value, json};

fn hop(to: SocketAddr) -> DataPlane {
    let mut bootstrap = forwarding(to, |manager| {
        manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["timeout"] = json!("0s")
    });
    bootstrap["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    DataPlane::start(Kind::Mesh, &bootstrap)
}

#[test]
fn streams_pass_two_hops() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let script = peer::script("grpc_stream.py");
    // Its input stays open as long as the shell's.
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 600 | \"$0\" \"$1\" serve"]).arg(peer::python()).arg(&script);
    let server = Process::start(&mut command, &folder.path().join("server"));
    let port = wait::until("the server's port", Duration::from_secs(20), || {
        let line: Value = serde_json::from_str(server.output().lines().next()?).ok()?;
        u16::try_from(line["port"].as_u64()?).ok()
    });
    let inner = hop(([127, 0, 0, 1], port).into());
    let outer = hop(inner.listener("l"));
    let mut call = Command::new(peer::python());
    call.arg(&script).arg("call").arg(outer.listener("l").to_string());
    let out = call.stdin(Stdio::null()).output().expect("the client runs");
    let found: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{e}: {out:?}\n{}\n{}", outer.log(), inner.log()));
    let expected = json!({
        "echo": { "sizes": [1, 100_000, 1], "code": "OK", "initial": "yes", "count": "3", "saw": "1", "binary": "00ff" },
        "fail": { "code": "FAILED_PRECONDITION", "details": "no: 100 % ä", "why": "because" },
        "cancelled": "CANCELLED",
        "late": "DEADLINE_EXCEEDED",
        "none": "UNIMPLEMENTED",
    });
    assert_eq!(found, expected);
    for proxy in [&outer, &inner] {
        wait::until("all streams are over", Duration::from_secs(10), || {
            (proxy.stat("http.t.downstream_rq_active") == 0 && proxy.stat("cluster.c.upstream_rq_active") == 0)
                .then_some(())
        });
    }
}
