//! What became of a request, and how two outcomes differ.

use std::collections::BTreeMap;

use crate::{backend::Seen, case::NAME, differences::Difference};

/// All that can be seen of a request from outside of the proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// 0: no answer.
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
    /// What the back ends got.
    pub(crate) seen: Vec<Seen>,
    /// What the access log says: name and value.
    pub(crate) log: Vec<(&'static str, String)>,
}

/// Headers whose values nobody can know: only that they are there is compared.
const UNKNOWABLE: [&str; 3] = ["date", "x-envoy-upstream-service-time", "x-request-id"];

impl Outcome {
    pub(crate) fn new(status: u16, mut headers: BTreeMap<String, Vec<String>>, body: Vec<u8>) -> Self {
        blank(&mut headers);
        Self { status, headers, body: String::from_utf8_lossy(&body).into_owned(), ..Self::default() }
    }

    /// There was no answer; `how`.
    pub(crate) fn failed(how: &str) -> Self {
        Self { body: how.to_owned(), ..Self::default() }
    }

    /// There will be a line in the access log that names the request.
    pub(crate) fn is_logged(&self) -> bool {
        self.status != 0
    }

    /// Where lots were drawn: what they fell on.
    pub(crate) fn choice(&self) -> String {
        let mut backends: Vec<&str> = self.seen.iter().map(|s| s.backend).collect();
        backends.sort_unstable();
        format!("{} {}", self.status, backends.join("+"))
    }
}

fn blank(headers: &mut BTreeMap<String, Vec<String>>) {
    for name in UNKNOWABLE {
        if let Some(values) = headers.get_mut(name) {
            values.iter_mut().for_each(|v| *v = "*".to_owned());
        }
    }
}

/// Every difference, by aspect.
pub(crate) fn differences(mesh: &Outcome, envoy: &Outcome) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut note = |aspect: String, mesh: String, envoy: String| {
        if mesh != envoy {
            found.push(Difference { aspect, mesh, envoy });
        }
    };
    note("status".into(), mesh.status.to_string(), envoy.status.to_string());
    note("body".into(), mesh.body.clone(), envoy.body.clone());
    headers("response header ", &mesh.headers, &envoy.headers, &mut note);
    for (mesh, envoy) in mesh.log.iter().zip(&envoy.log) {
        note(format!("log {}", mesh.0), mesh.1.clone(), envoy.1.clone());
    }
    note("log lines".into(), mesh.log.len().to_string(), envoy.log.len().to_string());
    // Copies come at any time, so they are looked at by themselves.
    for (what, copies) in [("request", false), ("copy", true)] {
        let of = |outcome: &Outcome| -> Vec<Seen> {
            outcome.seen.iter().filter(|s| (s.backend == "mirror") == copies).cloned().collect()
        };
        let (mut mesh, mut envoy) = (of(mesh), of(envoy));
        if copies {
            mesh.sort();
            envoy.sort();
        }
        note(format!("{what} count"), mesh.len().to_string(), envoy.len().to_string());
        for (mesh, envoy) in mesh.into_iter().zip(envoy) {
            note(format!("{what} upstream"), mesh.backend.to_owned(), envoy.backend.to_owned());
            note(format!("{what} line"), mesh.line, envoy.line);
            note(format!("{what} body"), mesh.body, envoy.body);
            let plain = |mut all: BTreeMap<String, Vec<String>>| {
                all.remove(NAME);
                blank(&mut all);
                all
            };
            headers(&format!("{what} header "), &plain(mesh.headers), &plain(envoy.headers), &mut note);
        }
    }
    found
}

fn headers(
    aspect: &str,
    mesh: &BTreeMap<String, Vec<String>>,
    envoy: &BTreeMap<String, Vec<String>>,
    note: &mut impl FnMut(String, String, String),
) {
    let names: std::collections::BTreeSet<&String> = mesh.keys().chain(envoy.keys()).collect();
    for name in names {
        let value = |all: &BTreeMap<String, Vec<String>>| all.get(name).map_or("none".to_owned(), |v| format!("{v:?}"));
        note(format!("{aspect}{name}"), value(mesh), value(envoy));
    }
}
