//! Both ends of the way out, without tasks.

use std::time::Duration;

use futures::FutureExt;
use mesh_xds_api::google::protobuf::Any;

use super::*;
use crate::{
    Resource, TypeUrl,
    protocol::{Content, Variant},
    server::{PushLimits, ServerLimits, XdsServer, budget::Turn},
    store::{SingleView, View},
};

const MIB: usize = 1 << 20;

fn server() -> XdsServer {
    let pushes = PushLimits { max_bytes_in_flight: 10 * MIB, ..Default::default() };
    let limits = ServerLimits { pushes, ..Default::default() };
    XdsServer::builder(SingleView(View::new())).limits(limits).build()
}

fn push(bytes: usize) -> Push {
    let any = Any { type_url: TypeUrl::CLUSTER.as_str().into(), value: vec![0; bytes].into() };
    let resources = vec![Arc::new(Resource::new("c", any))];
    let content = Content::new(TypeUrl::CLUSTER, Variant::Delta, false, resources, Vec::new());
    Push { nonce: "1".into(), content: Arc::new(content) }
}

fn next(outlet: &mut Outlet) -> Option<Option<Item>> {
    poll_fn(|cx| outlet.poll_next(cx)).now_or_never()
}

#[test]
fn a_push_has_left_when_the_last_byte_of_its_last_frame_has() {
    let server = server();
    let (outbox, mut outlet) = outbox();
    let start = Instant::now();
    let second = Duration::from_secs(1);
    for (n, bytes) in [MIB, 1, 3 * MIB].into_iter().enumerate() {
        let push = push(bytes);
        let hold = Turn::of(&server.inner, &push.content).take();
        outbox.push(push, start + second * n as u32, hold);
        assert!(outbox.room().now_or_never().is_none());
        // The last one is not taken.
        assert!(n == 2 || next(&mut outlet).is_some());
    }
    let in_flight = || server.metrics().push_bytes_in_flight as usize / MIB;
    let facts = || (in_flight(), outbox.due().map(|by| (by - start).as_secs()));
    let mut first = outlet.last_frame(Bytes::from_static(b"first"));
    let rest = first.split_off(3);
    drop(first);
    assert_eq!(facts(), (4, Some(0)), "two bytes are still to be written");
    drop(rest);
    assert_eq!(facts(), (3, Some(1)));
    let frame = outlet.last_frame(Bytes::from_static(b"second"));
    // A response that ends sends no more of what was handed over.
    drop(outlet);
    assert_eq!(facts(), (0, Some(1)));
    assert!(outbox.gone().now_or_never().is_some() && outbox.room().now_or_never().is_some());
    let late = push(MIB);
    let hold = Turn::of(&server.inner, &late.content).take();
    outbox.push(late, start, hold);
    assert_eq!(facts(), (0, Some(1)));
    drop(frame);
    assert_eq!(facts(), (0, None));
}

#[test]
fn the_end_comes_behind_what_was_handed_over() {
    let (outbox, mut outlet) = outbox();
    assert!(next(&mut outlet).is_none(), "nothing yet");
    assert!(outbox.room().now_or_never().is_some());
    outbox.push(push(1), Instant::now(), None);
    assert!(outbox.room().now_or_never().is_none(), "one place");
    drop(outbox);
    assert!(matches!(next(&mut outlet), Some(Some(Ok(_)))));
    assert!(matches!(next(&mut outlet), Some(None)));
}

#[tokio::test]
async fn each_end_wakes_the_other() {
    let (outbox, mut outlet) = outbox();
    let reader = tokio::spawn(async move {
        let mut pushes = 0;
        while let Some(Ok(_)) = poll_fn(|cx| outlet.poll_next(cx)).await {
            pushes += 1;
            if pushes == 3 {
                break;
            }
        }
        pushes
    });
    for _ in 0..3 {
        outbox.room().await;
        outbox.push(push(1), Instant::now(), None);
    }
    assert_eq!(reader.await.unwrap(), 3);
    outbox.gone().await;
}
