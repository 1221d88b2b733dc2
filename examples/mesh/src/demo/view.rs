//! The live view: drawn again every second, on a terminal.

use std::{fmt::Write as _, path::Path, time::Duration};

use serde_json::Value;

use super::{observe::Picture, traffic::Seen};

/// Moves the cursor home and clears what is below.
const HOME: &str = "\x1b[H\x1b[J";

/// What was seen at one moment.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) at: Duration,
    pub(crate) seen: Seen,
    pub(crate) picture: Picture,
}

/// Draws `now`; `before` is what was drawn last, for rates.
pub(crate) fn draw(config: &Path, now: &Frame, before: &Frame) -> String {
    let mut out = String::from(HOME);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "mesh demo   {:>4} s   edit the files in {} and watch\n", now.at.as_secs(), config.display());
    calls(&mut out, now, before);
    shares(&mut out, &now.seen, &before.seen);
    proxies(&mut out, &now.picture);
    findings(&mut out, &now.picture);
    let (seen, no_answer) = (&now.seen, now.seen.no_answer.values().sum::<u64>());
    let _ = writeln!(
        out,
        "\nfront page: {} sent, {} complete, {no_answer} without an answer. Ctrl-C ends.",
        seen.sent, seen.ok
    );
    out
}

fn calls(out: &mut String, now: &Frame, before: &Frame) {
    let seconds = now.at.saturating_sub(before.at).as_secs_f64().max(0.001);
    let _ = writeln!(
        out,
        "{:<16} {:<16} {:>7} {:>8} {:>8} {:>8} {:>8}  mTLS",
        "from", "to", "req/s", "success", "p50 ms", "p90 ms", "p99 ms"
    );
    for (key, edge) in &now.picture.edges {
        let earlier = before.picture.edges.get(key).map_or(0.0, |e| e.requests);
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

fn shares(out: &mut String, now: &Seen, before: &Seen) {
    let total: u64 = now.reviews.values().sum();
    let lately = total.saturating_sub(before.reviews.values().sum());
    if total == 0 {
        return;
    }
    let _ = write!(out, "\nreviews, now (and since the start):");
    for (version, count) in &now.reviews {
        let new = count.saturating_sub(before.reviews.get(version).copied().unwrap_or(0));
        let percent = |part: u64, of: u64| part as f64 * 100.0 / of.max(1) as f64;
        let _ = write!(out, "  {version} {:.0}% ({:.1}%)", percent(new, lately), percent(*count, total));
    }
    out.push('\n');
}

/// A line for each workload: its certificate, and what its proxy has acknowledged.
fn proxies(out: &mut String, picture: &Picture) {
    let _ = writeln!(out, "\n{:<16} {:>9} {:>7} {:>9}  xDS acknowledged", "workload", "cert age", "left", "rotations");
    for (workload, identity) in &picture.identities {
        let seconds = |name: &str| identity[name].as_f64().map_or("-".into(), |v| format!("{v:.0} s"));
        let rotations = identity["rotations"].as_u64().unwrap_or(0);
        let _ = write!(
            out,
            "{workload:<16} {:>9} {:>7} {rotations:>9} ",
            seconds("age_seconds"),
            seconds("expires_in_seconds")
        );
        match picture.proxies.as_array() {
            Some(proxies) => acknowledged(out, proxies.iter().find(|p| p["name"] == *workload)),
            None => out.push_str(" the control plane does not answer; the proxy goes on with what it has"),
        }
        out.push('\n');
    }
    for workload in &picture.silent {
        let _ = writeln!(out, "{workload:<16} does not answer");
    }
}

fn acknowledged(out: &mut String, proxy: Option<&Value>) {
    let Some(proxy) = proxy else {
        out.push_str(" not connected");
        return;
    };
    for (kind, state) in proxy["types"].as_object().into_iter().flatten() {
        let resources = state["resources"].as_object().map_or(0, serde_json::Map::len);
        let _ = match state["state"].as_str() {
            Some("ACKED") => write!(out, " {kind} {resources}"),
            other => write!(out, " {kind} {}", other.unwrap_or("?")),
        };
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
