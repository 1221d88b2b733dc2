use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::RouteTable;

/// Virtual hosts by domain. Searched in Envoy's order: exact name, longest suffix wildcard, longest prefix wildcard, `*`.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: Names,
    suffixes: ByLength,
    prefixes: ByLength,
    any: Option<usize>,
    ignore_port: bool,
}

type Names = HashMap<Box<str>, usize, BuildHasherDefault<OneShot>>;

/// Wildcards by the length of their fixed part, longest first.
#[derive(Debug, Default)]
struct ByLength(Vec<(usize, Names)>);

impl Hosts {
    pub(super) fn new(table: &RouteTable) -> Self {
        let mut hosts = Hosts { ignore_port: table.ignore_port_in_host_matching, ..Hosts::default() };
        for (at, virtual_host) in table.virtual_hosts.iter().enumerate() {
            for domain in &virtual_host.domains {
                hosts.add(domain, at);
            }
        }
        hosts.suffixes.sort();
        hosts.prefixes.sort();
        hosts
    }

    fn add(&mut self, domain: &str, at: usize) {
        if domain == "*" {
            self.any = Some(at);
        } else if let Some(suffix) = domain.strip_prefix('*') {
            self.suffixes.add(suffix, at);
        } else if let Some(prefix) = domain.strip_suffix('*') {
            self.prefixes.add(prefix, at);
        } else {
            self.exact.insert(domain.into(), at);
        }
    }

    /// The position of the virtual host for `authority`.
    pub(super) fn find(&self, authority: &str) -> Option<usize> {
        if authority.is_empty() || (self.exact.is_empty() && self.suffixes.0.is_empty() && self.prefixes.0.is_empty()) {
            return self.any;
        }
        let host = if self.ignore_port { without_port(authority) } else { authority };
        if !host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.find_lower(host);
        }
        let mut buffer = [0_u8; 256];
        if let Some(lower) = buffer.get_mut(..host.len()) {
            lower.copy_from_slice(host.as_bytes());
            lower.make_ascii_lowercase();
            // Lower case of ASCII letters leaves UTF-8 valid.
            return std::str::from_utf8(lower).ok().and_then(|host| self.find_lower(host));
        }
        self.find_lower(&host.to_ascii_lowercase())
    }

    fn find_lower(&self, host: &str) -> Option<usize> {
        self.exact
            .get(host)
            .copied()
            .or_else(|| self.suffixes.find(host, |host, len| host.get(host.len() - len..)))
            .or_else(|| self.prefixes.find(host, |host, len| host.get(..len)))
            .or(self.any)
    }
}

impl ByLength {
    fn add(&mut self, fixed: &str, at: usize) {
        let names = match self.0.iter_mut().position(|(len, _)| *len == fixed.len()) {
            Some(i) => &mut self.0[i].1,
            None => {
                self.0.push((fixed.len(), Names::default()));
                let last = self.0.len() - 1;
                &mut self.0[last].1
            }
        };
        names.insert(fixed.into(), at);
    }

    fn sort(&mut self) {
        self.0.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
    }

    /// A wildcard stands for at least one character.
    fn find<'h>(&self, host: &'h str, part: impl Fn(&'h str, usize) -> Option<&'h str>) -> Option<usize> {
        self.0
            .iter()
            .filter(|(len, _)| *len < host.len())
            .find_map(|(len, names)| names.get(part(host, *len)?).copied())
    }
}

/// `authority` without its port. An IPv6 address stands in brackets.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if authority.rfind(']').is_none_or(|bracket| bracket < colon) => &authority[..colon],
        _ => authority,
    }
}

/// A quick hash. Keys come from configuration; requests only look up, so nobody can fill a bucket from outside.
#[derive(Default)]
pub(super) struct OneShot(u64);

impl Hasher for OneShot {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
