//! Resolution of the names of a cluster: asked on the control thread, never by a worker.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
};

use super::hosts::Resolved;
use crate::model::{Address, Assignment, DnsFamily};

/// Most addresses kept of one name.
const MAX_ADDRESSES: usize = 256;

/// A name and what came of resolving it.
pub(super) type Answer = ((String, u16), io::Result<Vec<SocketAddr>>);

/// Every name of `assignment`, once.
pub(super) fn names(assignment: &Assignment) -> Vec<(String, u16)> {
    let mut seen = HashSet::new();
    let endpoints = assignment.localities.iter().flat_map(|l| &l.endpoints);
    endpoints
        .filter_map(|e| match &e.address {
            Address::Name(name, port) => Some((name.clone(), *port)),
            _ => None,
        })
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

/// Asks the system's resolver.
///
/// # Errors
///
/// The resolver's; a name without an address of the family is an error too.
pub(super) async fn lookup(name: &str, port: u16, family: DnsFamily) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = match name.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => tokio::net::lookup_host((name, port)).await?.collect(),
    };
    let chosen = select(found, family);
    if chosen.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address of the wanted family"));
    }
    Ok(chosen)
}

/// The addresses that `family` asks for, sorted, each once.
fn select(found: Vec<SocketAddr>, family: DnsFamily) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv4);
    let mut chosen = match family {
        DnsFamily::V4Only => v4,
        DnsFamily::V6Only => v6,
        DnsFamily::V4Preferred if !v4.is_empty() => v4,
        DnsFamily::V4Preferred => v6,
        DnsFamily::Auto if !v6.is_empty() => v6,
        DnsFamily::Auto => v4,
        DnsFamily::All => [v4, v6].concat(),
    };
    chosen.sort_unstable();
    chosen.dedup();
    chosen.truncate(MAX_ADDRESSES);
    chosen
}

/// Takes over what was found; names that could not be resolved keep their last good addresses. True if anything changed.
pub(super) fn merge(known: &mut Resolved, answers: Vec<Answer>) -> bool {
    let mut changed = false;
    for (name, answer) in answers {
        if let Ok(addresses) = answer {
            changed |= known.get(&name) != Some(&addresses);
            known.insert(name, addresses);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(text: &[&str]) -> Vec<SocketAddr> {
        text.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn families() {
        let both = addrs(&["[::1]:1", "127.0.0.2:1", "127.0.0.1:1", "127.0.0.1:1"]);
        let v4 = addrs(&["127.0.0.1:1", "127.0.0.2:1"]);
        let v6 = addrs(&["[::1]:1"]);
        for (family, expected) in [
            (DnsFamily::Auto, v6.clone()),
            (DnsFamily::V4Preferred, v4.clone()),
            (DnsFamily::V4Only, v4.clone()),
            (DnsFamily::V6Only, v6.clone()),
            (DnsFamily::All, [v4.clone(), v6.clone()].concat()),
        ] {
            assert_eq!(select(both.clone(), family), expected, "{family:?}");
        }
        assert_eq!(select(v4.clone(), DnsFamily::Auto), v4);
    }

    #[test]
    fn failures_keep_the_last_good_answer() {
        let name = || ("db".to_owned(), 1);
        let mut known = Resolved::new();
        assert!(merge(&mut known, vec![(name(), Ok(addrs(&["127.0.0.1:1"])))]));
        assert!(!merge(&mut known, vec![(name(), Err(io::ErrorKind::TimedOut.into()))]));
        assert_eq!(known[&name()], addrs(&["127.0.0.1:1"]));
    }

    #[tokio::test]
    async fn localhost_and_literals_resolve() {
        assert!(lookup("localhost", 80, DnsFamily::All).await.unwrap().iter().all(|a| a.ip().is_loopback()));
        assert_eq!(lookup("127.0.0.9", 80, DnsFamily::Auto).await.unwrap(), addrs(&["127.0.0.9:80"]));
        assert!(lookup("127.0.0.9", 80, DnsFamily::V6Only).await.is_err());
    }
}
