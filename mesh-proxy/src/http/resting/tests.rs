use std::{cell::Cell, convert::Infallible, rc::Rc};

use ::http::Response;
use futures::{FutureExt as _, poll};
use http_body_util::Full;
use hyper::{body::Bytes, service::service_fn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

/// The time after which it rests goes by.
async fn quiet_time() {
    sleep(AFTER + Duration::from_millis(2)).await;
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A server of answers of `size` bytes, driven by hand, and its client.
macro_rules! server {
    ($size:expr, $room:expr) => {{
        let (client, io) = duplex($room);
        let served = Rc::new(Cell::new(0_u32));
        let count = served.clone();
        let service = service_fn(move |_| {
            count.set(count.get() + 1);
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; $size])))) }
        });
        (client, Box::pin(Resting::new(Builder::new(), io, service, || true)), served)
    }};
}

fn rests<I, S: HttpService<Incoming>, Q>(conn: &Resting<I, S, Q>) -> bool {
    matches!(conn.state, State::Resting(..))
}

/// What the client can read now.
fn read(client: &mut DuplexStream) -> usize {
    let mut got = vec![0; 1 << 20];
    client.read(&mut got).now_or_never().map_or(0, Result::unwrap)
}

#[tokio::test]
async fn requests_are_served_whether_it_rests_or_not() {
    let (mut client, mut conn, served) = server!(10, 1 << 16);
    assert!(poll!(&mut conn).is_pending() && rests(&conn), "nothing has come yet");
    for round in 1..4 {
        client.write_all(REQUEST).await.unwrap();
        assert!(poll!(&mut conn).is_pending() && !rests(&conn));
        assert!(read(&mut client) > 10);
        // It does not rest between requests that follow each other.
        client.write_all(REQUEST).await.unwrap();
        assert!(poll!(&mut conn).is_pending());
        assert!(read(&mut client) > 10);
        assert_eq!(served.get(), 2 * round);
        quiet_time().await;
        assert!(poll!(&mut conn).is_pending() && !rests(&conn), "something came in this time");
        quiet_time().await;
        assert!(poll!(&mut conn).is_pending() && rests(&conn));
    }
    drop(client);
    conn.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_not_lost() {
    let (mut client, mut conn, _) = server!(100_000, 1000);
    client.write_all(REQUEST).await.unwrap();
    let mut taken = 0;
    while taken < 100_000 {
        for _ in 0..4 {
            assert!(poll!(&mut conn).is_pending());
            quiet_time().await;
        }
        assert!(!rests(&conn), "after {taken} bytes");
        let n = read(&mut client);
        assert!(n > 0, "after {taken} bytes");
        taken += n;
    }
    for _ in 0..4 {
        assert!(poll!(&mut conn).is_pending());
        taken += read(&mut client);
        quiet_time().await;
    }
    assert!(rests(&conn) && taken > 100_000);
}

#[tokio::test]
async fn half_a_head_is_kept() {
    let (mut client, mut conn, served) = server!(10, 1 << 16);
    for part in REQUEST.chunks(9) {
        client.write_all(part).await.unwrap();
        for _ in 0..4 {
            assert!(poll!(&mut conn).is_pending());
            quiet_time().await;
        }
    }
    assert_eq!(served.get(), 1);
    assert!(read(&mut client) > 10);
}

#[tokio::test]
async fn it_can_be_ended_while_it_rests() {
    let (mut client, mut conn, _) = server!(10, 1 << 16);
    assert!(poll!(&mut conn).is_pending() && rests(&conn));
    conn.as_mut().graceful_shutdown();
    conn.as_mut().await.unwrap();
    drop(conn);
    assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
}
