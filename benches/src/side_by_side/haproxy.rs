//! The same cases as HAProxy's configuration.

use std::{fmt::Write as _, path::Path};

use super::{
    bootstrap::{MANY, Ports, ROUTES},
    case::Case,
    certs::NAME,
};

const GLOBAL: &str = "global\n  nbthread 1\n  maxconn 4000\n  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets\n  \
                      ssl-default-server-options ssl-min-ver TLSv1.3\ndefaults\n  timeout connect 5s\n  timeout client 600s\n  \
                      timeout server 600s\n";

/// The proxies of a case: one, or outbound and inbound.
pub(crate) fn of(case: Case, ports: Ports, certs: &Path) -> Vec<String> {
    let mode = if case.is_bytes() { "tcp" } else { "http" };
    let h2 = if case == Case::H2 { "proto h2" } else { "" };
    let front = |port: u16, options: &str, rules: &str| {
        format!("frontend f\n  mode {mode}\n  bind 127.0.0.1:{port} backlog 4096 {options}\n{rules}")
    };
    let back = |name: &str, port: u16, options: &str| {
        format!("backend {name}\n  mode {mode}\n  server s 127.0.0.1:{port} {options}\n")
    };
    let all = "  default_backend svc\n";
    let certs = certs.display();
    match case {
        _ if case.is_pair() => {
            let alpn = if case == Case::MtlsH2 { "alpn h2" } else { "" };
            let mutual = format!("ssl crt {certs}/leaf-all.pem ca-file {certs}/ca.pem verify required {alpn}");
            let client = format!("{mutual} verifyhost {NAME} sni str({NAME})");
            vec![
                format!("{GLOBAL}{}{}", front(ports.front, "", all), back("svc", ports.inner, &client)),
                format!("{GLOBAL}{}{}", front(ports.inner, &mutual, all), back("svc", ports.back, "")),
            ]
        }
        Case::Routes => {
            let mut rules = String::new();
            for k in 0..ROUTES {
                // Hosts are one set for each route: HAProxy's way of saying a thousand times ten.
                let _ =
                    writeln!(rules, "  use_backend svc{k} if {{ path_beg /r{k}/ }} {{ hdr(host) -f {certs}/hosts }}");
            }
            let backs: String = (0..ROUTES).map(|k| back(&format!("svc{k}"), ports.back, "")).collect();
            vec![format!("{GLOBAL}{}{backs}", front(ports.front, "", &rules))]
        }
        Case::Clusters => {
            let rules = format!("  use_backend %[hdr(host),map({certs}/map)]\n");
            let backs: String = (0..MANY).map(|i| back(&format!("svc{i}"), ports.back, "")).collect();
            vec![format!("{GLOBAL}{}{backs}", front(ports.front, "", &rules))]
        }
        _ => {
            let tls = if case.is_tls_in_front() { format!("ssl crt {certs}/leaf-all.pem") } else { h2.to_owned() };
            vec![format!("{GLOBAL}{}{}", front(ports.front, &tls, all), back("svc", ports.back, h2))]
        }
    }
}

/// Files that the configurations refer to.
pub(crate) fn write_tables(folder: &Path) -> std::io::Result<()> {
    let hosts: String = (0..MANY).map(|i| format!("svc{i}.bench.local\n")).collect();
    let map: String = (0..MANY).map(|i| format!("svc{i}.bench.local svc{i}\n")).collect();
    std::fs::write(folder.join("hosts"), hosts)?;
    std::fs::write(folder.join("map"), map)
}
