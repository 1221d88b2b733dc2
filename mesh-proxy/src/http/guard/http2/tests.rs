use std::time::{Duration, Instant};

use super::{Flood, FloodWatch, Frames};
use crate::model::Http2Limits;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// How many of `frames` pass, one after another.
fn passed(watch: &mut FloodWatch, frames: impl Iterator<Item = Vec<u8>>, now: Instant) -> (usize, Option<Flood>) {
    let mut walk = Frames::of_server();
    for (n, bytes) in frames.enumerate() {
        if let Err(flood) = walk.walk(&bytes, |f| watch.received(f, now)) {
            return (n, Some(flood));
        }
    }
    (usize::MAX, None)
}

#[test]
fn frames_are_found_however_they_are_cut() {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[0; 12]));
    bytes.extend(frame(1, 4, 1, b"headers"));
    bytes.extend(frame(0, 8, 1, &[2, 0, 0]));
    bytes.extend(frame(0, 8, 1, &[]));
    bytes.extend(frame(0, 1, 1, b"x"));
    for size in [1, 2, 5, 9, 10, 1000] {
        let mut found = Vec::new();
        let mut frames = Frames::of_client();
        for piece in bytes.chunks(size) {
            frames
                .walk(piece, |f| {
                    found.push((f.kind, f.len, f.stream, f.is_empty()));
                    Ok::<(), Flood>(())
                })
                .unwrap();
        }
        let expected = [(4, 12, 0, false), (1, 7, 1, false), (0, 3, 1, true), (0, 0, 1, true), (0, 1, 1, false)];
        assert_eq!(found, expected, "by {size}");
    }
}

#[test]
fn a_field_block_is_followed_to_its_end() {
    let mut frames = Frames::of_server();
    let mut walk = |bytes: &[u8]| {
        frames.walk(bytes, |_| Ok::<(), Flood>(())).unwrap();
        frames.is_in_field_block()
    };
    let whole = frame(1, 4, 1, b"headers");
    assert!(!walk(&frame(4, 0, 0, &[])));
    assert!(walk(&whole[..12]));
    assert!(!walk(&whole[12..]));
    assert!(walk(&frame(1, 0, 3, b"headers")));
    assert!(walk(&frame(9, 0, 3, b"more")));
    assert!(!walk(&frame(9, 4, 3, b"end")));
}

#[test]
fn a_stream_is_open_until_its_answer_is_written() {
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let mut watch = FloodWatch::new(Http2Limits::default(), start);
    assert_eq!(passed(&mut watch, (0..3).map(|n| frame(1, 5, n * 2 + 1, b"h")), start).1, None);
    assert_eq!((watch.open(), watch.moved()), (3, start));
    let mut sent = Frames::of_server();
    let answers = [frame(1, 4, 1, b"h"), frame(0, 1, 1, b"x"), frame(3, 0, 3, &[0; 4])].concat();
    sent.walk(&answers, |f| {
        watch.sent(f, later);
        Ok::<(), Flood>(())
    })
    .unwrap();
    assert_eq!((watch.open(), watch.moved()), (1, later));
    assert_eq!(passed(&mut watch, std::iter::once(frame(3, 0, 5, &[0; 4])), later).1, None);
    assert_eq!(watch.open(), 0);
}

#[test]
fn each_flood_is_named() {
    let now = Instant::now();
    let watch = || FloodWatch::new(Http2Limits::default(), now);
    // Envoy's defaults: one empty frame, 100 PRIORITY frames and one more per stream, 5 WINDOW_UPDATE frames and some.
    let empty = std::iter::repeat_n(frame(0, 0, 1, &[]), 9);
    assert_eq!(passed(&mut watch(), empty, now), (1, Some(Flood::EmptyFrames)));
    let priority = std::iter::repeat_n(frame(2, 0, 1, &[0; 5]), 1000);
    assert_eq!(passed(&mut watch(), priority, now), (100, Some(Flood::Priority)));
    let update = std::iter::repeat_n(frame(8, 0, 0, &[0; 4]), 1000);
    assert_eq!(passed(&mut watch(), update.clone(), now), (5, Some(Flood::WindowUpdate)));
    let mut opened = watch();
    assert_eq!(passed(&mut opened, (0..10).map(|n| frame(1, 4, n * 2 + 1, b"h")), now).1, None);
    assert_eq!(passed(&mut opened, update, now), (25, Some(Flood::WindowUpdate)));
    let end = std::iter::repeat_n(frame(0, 1, 1, &[]), 1000);
    assert_eq!(passed(&mut watch(), end, now).1, None);
}

#[test]
fn resets_have_a_burst_and_a_rate() {
    let start = Instant::now();
    let limits = Http2Limits { reset_burst: 10, reset_rate: 2, ..Http2Limits::default() };
    let mut watch = FloodWatch::new(limits, start);
    let resets = || std::iter::repeat_n(frame(3, 0, 1, &[0; 4]), 100);
    assert_eq!(passed(&mut watch, resets(), start), (10, Some(Flood::Resets)));
    let later = start + Duration::from_secs(2);
    assert_eq!(passed(&mut watch, resets(), later), (4, Some(Flood::Resets)));
    assert_eq!(passed(&mut watch, resets(), later + Duration::from_secs(60)), (10, Some(Flood::Resets)));
}
