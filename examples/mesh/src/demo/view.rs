//! The live view: drawn again every second, on a terminal.

use std::{fmt::Write as _, path::Path, time::Duration};

use serde_json::Value;

use super::{observe::Picture, traffic::Seen};

/// Moves the cursor home and clears what is below.
const HOME: &str = "\x1b[H\x1b[J";

/// Draws the view. `previous` is what was drawn last, for rates.
pub(crate) fn draw(
    config: &Path,
    elapsed: Duration,
    seen: &Seen,
    picture: &Picture,
    previous: &(Duration, Picture),
) -> String {
    let mut out = String::from(HOME);
    // Writing to a String cannot fail.
    let _ =
        writeln!(out, "mesh demo   {:>4} s   edit the files in {} and watch\n", elapsed.as_secs(), config.display());
    calls(&mut out, elapsed, picture, previous);
    shares(&mut out, seen);
    certificates(&mut out, picture);
    proxies(&mut out, picture);
    findings(&mut out, picture);
    let no_answer: u64 = seen.no_answer.values().sum();
    let _ = writeln!(
        out,
        "\nfront page: {} sent, {} complete, {} without an answer. Ctrl-C ends.",
        seen.sent, seen.ok, no_answer
    );
    out
}

fn calls(out: &mut String, elapsed: Duration, picture: &Picture, (then, before): &(Duration, Picture)) {
    let seconds = elapsed.saturating_sub(*then).as_secs_f64().max(0.001);
    let _ = writeln!(
        out,
        "{:<16} {:<16} {:>7} {:>8} {:>8} {:>8} {:>8}  mTLS",
        "from", "to", "req/s", "success", "p50 ms", "p90 ms", "p99 ms"
    );
    for (key, edge) in &picture.edges {
        let earlier = before.edges.get(key).map_or(0.0, |e| e.requests);
        let rate = (edge.requests - earlier).max(0.0) / seconds;
        let ms = |q| edge.latency(q).map_or("-".into(), |v| format!("{v:.1}"));
        let _ = writeln!(
            out,
            "{:<16} {:<16} {rate:>7.1} {:>7.2}% {:>8} {:>8} {:>8}  {}",
            key.0,
            key.1,
            edge.success_rate() * 100.0,
            ms(0.5),
            ms(0.9),
            ms(0.99),
            if edge.mutual_tls { "on" } else { "off" },
        );
    }
}

fn shares(out: &mut String, seen: &Seen) {
    let total: u64 = seen.reviews.values().sum();
    if total == 0 {
        return;
    }
    let _ = write!(out, "\nreviews:");
    for (version, count) in &seen.reviews {
        let _ = write!(out, "  {version} {:.1}%", *count as f64 * 100.0 / total as f64);
    }
    out.push('\n');
}

fn certificates(out: &mut String, picture: &Picture) {
    let _ = write!(out, "\ncertificates (age / left / rotations):");
    for (workload, identity) in &picture.identities {
        let seconds = |name: &str| identity[name].as_f64().map_or("-".into(), |v| format!("{v:.0}s"));
        let rotations = identity["rotations"].as_u64().unwrap_or(0);
        let _ = write!(out, "  {workload} {}/{}/{rotations}", seconds("age_seconds"), seconds("expires_in_seconds"));
    }
    for workload in &picture.silent {
        let _ = write!(out, "  {workload} (no answer)");
    }
    out.push('\n');
}

fn proxies(out: &mut String, picture: &Picture) {
    let Some(proxies) = picture.proxies.as_array() else {
        let _ = writeln!(out, "\nxDS: the control plane does not answer; proxies go on with what they have");
        return;
    };
    let _ = writeln!(out, "\nxDS:");
    for proxy in proxies {
        let _ = write!(out, "  {:<16}", proxy["name"].as_str().unwrap_or("?"));
        for (kind, state) in proxy["types"].as_object().into_iter().flatten() {
            let _ = write!(
                out,
                " {kind} {} {}",
                state["state"].as_str().unwrap_or("?"),
                state["resources"].as_object().map_or(0, serde_json::Map::len)
            );
        }
        out.push('\n');
    }
}

fn findings(out: &mut String, picture: &Picture) {
    let Some(findings) = picture.config["diagnostics"].as_array().filter(|f| !f.is_empty()) else { return };
    let _ = writeln!(out, "\nconfiguration:");
    for finding in findings.iter().take(8) {
        let text = |name: &str| finding.get(name).and_then(Value::as_str).unwrap_or("");
        let line = finding["line"].as_u64().unwrap_or(0);
        let _ = writeln!(out, "  {} {} {}:{line}: {}", text("level"), text("code"), text("file"), text("message"));
    }
}
