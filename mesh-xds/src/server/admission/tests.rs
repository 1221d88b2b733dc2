//! Turns, on a clock that the test drives.

use super::*;
use crate::{
    server::{ServerLimits, XdsServer},
    store::{SingleView, View},
};

fn server(admission: AdmissionLimits) -> XdsServer {
    let limits = ServerLimits { admission, ..Default::default() };
    XdsServer::builder(SingleView(View::new())).limits(limits).build()
}

fn reason(entered: Result<Starting, Refusal>) -> String {
    match entered {
        Err(Refusal::NotReady(reason)) => reason,
        Err(other) => panic!("another refusal: {other:?}"),
        Ok(_) => panic!("was let in"),
    }
}

#[tokio::test(start_paused = true)]
async fn places_are_taken_in_turn_and_given_back() {
    let limits = AdmissionLimits { max_starting: 2, max_waiting: 2, ..Default::default() };
    let server = server(limits);
    let inner = &server.inner;
    let first = enter(inner).await.ok().unwrap();
    let _second = enter(inner).await.ok().unwrap();
    let (mut third, mut fourth) = (Box::pin(enter(inner)), Box::pin(enter(inner)));
    assert!(futures::poll!(third.as_mut()).is_pending() && futures::poll!(fourth.as_mut()).is_pending());
    let metrics = server.metrics();
    assert_eq!((metrics.streams_starting, metrics.streams_waiting), (2, 2));
    // Nobody waits behind those who may.
    assert!(reason(enter(inner).await).contains("wait to start"));
    drop(first);
    let third = third.await.ok().unwrap();
    assert!(futures::poll!(fourth.as_mut()).is_pending());
    // The last waits as long as it may.
    let started = tokio::time::Instant::now();
    assert!(reason(fourth.await).contains("at a time"));
    assert_eq!(started.elapsed().as_secs(), 10);
    drop(third);
    let metrics = server.metrics();
    assert_eq!((metrics.streams_starting, metrics.streams_waiting, metrics.streams_shed), (1, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn starts_are_paced() {
    let server =
        server(AdmissionLimits { max_per_second: Some(1), max_wait: Duration::from_secs(2), ..Default::default() });
    let inner = &server.inner;
    let started = tokio::time::Instant::now();
    let all = futures::future::join_all((0..4).map(|_| enter(inner))).await;
    assert_eq!(started.elapsed().as_secs(), 2, "the third waited for two seconds");
    let entered = all.iter().filter(|e| e.is_ok()).count();
    assert_eq!((entered, server.metrics().streams_shed), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_long_gives_its_place_back() {
    let server = server(AdmissionLimits { max_starting: 1, ..Default::default() });
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let first = enter(&server.inner).await.ok().unwrap();
    let slow = tokio::spawn(keep(first, finished));
    let started = tokio::time::Instant::now();
    let second = enter(&server.inner).await.ok().unwrap();
    assert_eq!(started.elapsed().as_secs(), 5);
    finish.send(()).unwrap();
    assert!(slow.await.unwrap().1.is_none(), "the place went to another");
    let (done, place) = keep(second, std::future::ready(7)).await;
    assert!(done == 7 && place.is_some());
}
