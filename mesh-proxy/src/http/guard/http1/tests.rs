use proptest::prelude::{Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::{Framing, Seen, Violation};

/// What is seen of `text`, given `size` bytes at a time, and how many heads were complete.
fn feed(text: &[u8], size: usize) -> (Option<(Violation, usize)>, u32) {
    let mut framing = Framing::new(false);
    let mut before = 0;
    for piece in text.chunks(size) {
        if let Seen::Refused(violation, at) = framing.feed(piece) {
            return (Some((violation, before + at)), framing.heads());
        }
        before += piece.len();
    }
    (None, framing.heads())
}

#[test]
fn ambiguous_heads_are_refused_however_they_are_cut() {
    let cases: &[(&str, Option<Violation>)] = &[
        ("content-length: 3\r\ntransfer-encoding: chunked\r\n", Some(Violation::LengthAndEncoding)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Some(Violation::LengthAndEncoding)),
        ("content-length: 0\r\ncontent-length: 0\r\n", Some(Violation::Length)),
        ("content-length: 1\r\ncontent-length: 2\r\n", Some(Violation::Length)),
        ("content-length: 1, 1\r\n", Some(Violation::Length)),
        ("content-length: +1\r\n", Some(Violation::Length)),
        ("content-length: -1\r\n", Some(Violation::Length)),
        ("content-length: 0x1\r\n", Some(Violation::Length)),
        ("content-length:\r\n", Some(Violation::Length)),
        ("content-length: 18446744073709551616\r\n", Some(Violation::Length)),
        ("transfer-encoding: gzip, chunked\r\n", Some(Violation::Encoding)),
        ("transfer-encoding: chunked, identity\r\n", Some(Violation::Encoding)),
        ("transfer-encoding: \x0bchunked\r\n", Some(Violation::Encoding)),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Some(Violation::Encoding)),
        ("transfer-encoding : chunked, x\r\n", Some(Violation::Encoding)),
        ("x: y\r\n z\r\n", Some(Violation::Codec)),
        ("x-content-length: 3\r\ntransfer-encodings: 4\r\n", None),
        ("upgrade: h2c\r\n", None),
        ("content-length:\t0 \r\n", None),
    ];
    for (lines, expected) in cases {
        let text = format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
        for size in [1, 2, 7, 1000] {
            let (refused, heads) = feed(text.as_bytes(), size);
            assert_eq!(refused.map(|(v, _)| v), *expected, "{lines:?} by {size}");
            assert_eq!(refused.map_or(text.len(), |(_, at)| at), text.len(), "{lines:?} by {size}");
            assert_eq!(heads, 1);
        }
    }
}

#[test]
fn a_pipelined_head_is_found_behind_each_kind_of_body() {
    let bad = "POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    for first in [
        "GET / HTTP/1.1\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\n\n",
        "POST / HTTP/1.1\r\ncontent-length: 26\r\n\r\ntransfer-encoding: chunked",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nupgrade: x\r\ncontent-length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n0\r\nx: y\r\ncontent-length: 7\r\n\r\n",
    ] {
        let text = format!("{first}{bad}");
        for size in [1, 3, 1000] {
            let (refused, heads) = feed(text.as_bytes(), size);
            assert_eq!(refused, Some((Violation::LengthAndEncoding, text.len())), "{first:?} by {size}");
            assert_eq!(heads, 2);
        }
    }
}

#[test]
fn connect_has_no_body() {
    let text = b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\ncontent-length: 3\r\n\r\n";
    assert_eq!(feed(text, 7), (Some((Violation::Body, text.len())), 1));
}

#[test]
fn a_tunnel_is_left_alone() {
    for head in ["CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n"] {
        let mut framing = Framing::new(false);
        assert_eq!(framing.feed(head.as_bytes()), Seen::Fine);
        assert!(framing.is_opaque());
        assert_eq!(framing.feed(b"\r\nPOST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"), Seen::Fine);
    }
}

#[test]
fn a_length_beside_chunked_can_be_allowed() {
    let mut framing = Framing::new(true);
    let text =
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(framing.feed(text), Seen::Fine);
    assert_eq!(framing.heads(), 2);
}

/// However long the line is before what decides, and in whichever pieces it comes.
#[test]
fn long_lines_are_judged_alike_whole_and_in_parts() {
    let long = "x".repeat(100);
    let spaces = " ".repeat(100);
    for (head, expected) in [
        (format!("GET /{long}#f HTTP/1.1\r\n\r\n"), Some(Violation::Fragment)),
        (format!("GET / HTTP/1.1\r\ncontent-length:{spaces}5\r\n\r\n"), Some(Violation::Length)),
        (format!("GET / HTTP/1.1\r\ntransfer-encoding:{spaces}chunked\r\n\r\n"), Some(Violation::Encoding)),
        (format!("GET / HTTP/1.1\r\nx-{long}: #\r\n\r\n"), None),
    ] {
        for size in [1, 7, 64, 1000] {
            let refused = expected.map(|violation| (violation, head.len()));
            assert_eq!(feed(head.as_bytes(), size), (refused, 1), "{head:?} by {size}");
        }
    }
}

/// Mostly what lines of a head are made of, so that there are heads.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "content-length",
        "transfer-encoding",
        "chunked",
        "upgrade",
        ":",
        " ",
        "5",
        "0",
        "#",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "x",
        "12345678901234567890123456789012",
    ]);
    let word = prop_oneof![9 => word.prop_map(|word| word.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 1..80)];
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn however_words_of_heads_are_cut_they_mean_the_same(text in bytes(), size in 1_usize..80) {
        prop_assert_eq!(feed(&text, size), feed(&text, 100_000));
    }

    #[test]
    fn how_bytes_are_cut_changes_nothing(text in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..9) {
        prop_assert_eq!(feed(&text, size), feed(&text, 1000));
    }
}
