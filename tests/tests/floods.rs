//! Attacks on `mesh proxy` as a process: what they cost in memory, and what another client notices.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use mesh_tests::{
    data_plane::{DataPlane, Kind, forwarding},
    process,
    recorder::Recorder,
    wait,
};
use serde_json::json;

/// Memory that an attack may cost, KiB.
const MEMORY: u64 = 48 << 10;
/// The longest that another client may wait meanwhile: generous, since the attackers share the machine with the proxy.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an attack goes on, if it is not ended.
const LENGTH: Duration = Duration::from_secs(2);

const REQUEST: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("short").to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn connect(proxy: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(proxy).expect("the proxy listens");
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
    stream
}

fn http2(proxy: SocketAddr) -> TcpStream {
    let mut stream = connect(proxy);
    let settings = frame(4, 0, 0, &[]);
    let _ = stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat());
    stream
}

/// Sends what `next` gives on connections, again and again, while another client asks.
fn attack(name: &str, edit: impl FnOnce(&mut serde_json::Value), next: impl Fn(u32) -> Vec<u8> + Sync) {
    let recorder = Recorder::start();
    let plane = DataPlane::start(Kind::Mesh, &forwarding(recorder.address, edit));
    let proxy = plane.listener("l");
    process::get(proxy, "a", "/", &[]).expect("it answers");
    let (before, end) = (plane.memory(), Instant::now() + LENGTH);
    let (mut most, mut slowest) = (before, Duration::ZERO);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while Instant::now() < end {
                    let mut stream = http2(proxy);
                    let mut n = 0;
                    // It ends when the proxy closes the connection, or reads no more.
                    while Instant::now() < end && stream.write_all(&next(n)).is_ok() {
                        n += 1;
                    }
                }
            });
        }
        while Instant::now() < end {
            let asked = Instant::now();
            let answer = process::get(proxy, "a", "/", &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(answer.status, 200, "{name}");
            slowest = slowest.max(asked.elapsed());
            most = most.max(plane.memory());
            thread::sleep(Duration::from_millis(10));
        }
    });
    println!("{name}: {} KiB, slowest {slowest:?}", most - before);
    assert!(most - before < MEMORY, "{name}: {} KiB", most - before);
    assert!(slowest < PATIENCE, "{name}: {slowest:?}");
    wait::until(&format!("{name}: all is over"), Duration::from_secs(10), || {
        (plane.stat("http.t.downstream_rq_active") == 0).then_some(())
    });
}

#[test]
fn frames() {
    let open = |n: u32| frame(1, 5, n * 2 + 1, REQUEST);
    attack("rapid reset", |_| {}, |n| [open(n), frame(3, 0, n * 2 + 1, &[0, 0, 0, 8])].concat());
    attack("pings", |_| {}, |_| frame(6, 0, 0, &[1; 8]).repeat(100));
    attack("settings", |_| {}, |_| frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100));
    attack("window updates", |_| {}, |_| frame(8, 0, 0, &[0, 0, 0, 1]).repeat(100));
    attack("priorities", |_| {}, |_| frame(2, 0, 1, &[0, 0, 0, 3, 7]).repeat(100));
    let field = [&[0, 1, b'x', 120][..], &[b'y'; 120]].concat();
    attack(
        "continuations",
        |_| {},
        |n| {
            if n == 0 { frame(1, 1, 1, REQUEST) } else { frame(9, 0, 1, &field.repeat(100)) }
        },
    );
    attack("empty data", |_| {}, |n| if n == 0 { frame(1, 4, 1, REQUEST) } else { frame(0, 0, 1, &[]).repeat(100) });
    attack("small data", |_| {}, |n| if n == 0 { frame(1, 4, 1, REQUEST) } else { frame(0, 0, 1, b"x").repeat(100) });
    attack("streams", |_| {}, |n| frame(1, 4, n * 2 + 1, REQUEST));
}

#[test]
fn slow_clients() {
    let recorder = Recorder::start();
    let limits = |manager: &mut serde_json::Value| {
        manager["request_headers_timeout"] = json!("1s");
        manager["stream_idle_timeout"] = json!("1s");
    };
    let plane = DataPlane::start(Kind::Mesh, &forwarding(recorder.address, limits));
    let proxy = plane.listener("l");
    let before = plane.memory();
    // Half of them begin a head, half a body; each says a byte from time to time.
    let mut clients: Vec<TcpStream> = (0..400).map(|_| connect(proxy)).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        let begin: &[u8] = if i % 2 == 0 {
            b"GET / HTTP/1.1\r\nx: "
        } else {
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"
        };
        client.write_all(begin).expect("it reads");
    }
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(300));
        for client in clients.iter_mut().step_by(2) {
            let _ = client.write_all(b"y");
        }
        assert_eq!(process::get(proxy, "a", "/", &[]).expect("it answers").status, 200);
    }
    let cost = plane.memory().saturating_sub(before);
    assert!(cost < MEMORY, "{cost} KiB");
    for (i, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
        let mut answer = Vec::new();
        let ended = client.read_to_end(&mut answer);
        let reset = ended.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(ended.is_ok() || reset, "client {i} is still connected: {ended:?}");
    }
    assert_eq!(plane.stat("http.t.downstream_rq_header_timeout"), 200);
    assert_eq!(plane.stat("http.t.downstream_rq_idle_timeout"), 200);
}
