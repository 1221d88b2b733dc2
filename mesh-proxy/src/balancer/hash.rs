use xxhash_rust::xxh64::xxh64;

use super::{LoadBalancer, Member, PickContext, Rng};

/// Most entries of a ring, whatever is configured (8 Mi, the API's maximum).
const MAX_RING: u64 = 8 << 20;
/// Largest Maglev table (the API's maximum).
const MAX_TABLE: u64 = 5_000_011;

/// What a host is hashed by.
fn key(member: &Member) -> &str {
    &member.host.name
}

/// Weights as shares of one, and the least of them.
fn normalized(members: &[Member]) -> (Vec<f64>, f64) {
    let sum: f64 = members.iter().map(|m| m.weight).sum();
    let shares: Vec<f64> = members.iter().map(|m| m.weight / sum).collect();
    let min = shares.iter().copied().fold(1.0, f64::min);
    (shares, min)
}

/// Ketama-like ring: hosts at the hashes of `ADDRESS_0`, `ADDRESS_1`, …, as many as their weight asks for.
#[derive(Debug)]
pub(super) struct RingHash {
    min_size: u64,
    max_size: u64,
    rng: Rng,
    ring: Vec<(u64, u32)>,
}

impl RingHash {
    pub(super) fn new(min_size: u64, max_size: u64, seed: u64) -> Self {
        let max_size = max_size.clamp(1, MAX_RING);
        Self { min_size: min_size.clamp(1, max_size), max_size, rng: Rng::new(seed), ring: Vec::new() }
    }
}

impl LoadBalancer for RingHash {
    fn set_hosts(&mut self, members: &[Member]) {
        self.ring.clear();
        if members.is_empty() {
            return;
        }
        let (shares, min) = normalized(members);
        // The lightest host gets a whole number of entries, and the ring its least size, unless that is too large.
        let scale = ((min * self.min_size as f64).ceil() / min).min(self.max_size as f64);
        let mut wanted = 0.0;
        let mut text = String::new();
        for (index, (member, share)) in members.iter().zip(shares).enumerate() {
            wanted += scale * share;
            let mut i = 0u64;
            while (self.ring.len() as f64) < wanted {
                use std::fmt::Write;
                text.clear();
                // Writing to a string cannot fail.
                let _ = write!(text, "{}_{i}", key(member));
                self.ring.push((xxh64(text.as_bytes(), 0), index as u32));
                i += 1;
            }
        }
        self.ring.sort_unstable();
    }

    fn pick(&mut self, cx: &PickContext<'_>) -> Option<usize> {
        if self.ring.is_empty() {
            return None;
        }
        let hash = cx.hash.unwrap_or_else(|| self.rng.next_u64());
        let at = self.ring.partition_point(|(entry, _)| *entry < hash) + cx.attempt as usize;
        self.ring.get(at % self.ring.len()).map(|(_, index)| *index as usize)
    }
}

/// Maglev's table (Eisenbud et al., NSDI 2016, section 3.4), filled in proportion to weights.
#[derive(Debug)]
pub(super) struct Maglev {
    table_size: u64,
    rng: Rng,
    table: Vec<u32>,
}

impl Maglev {
    pub(super) fn new(table_size: u64, seed: u64) -> Self {
        Self { table_size: table_size.clamp(2, MAX_TABLE), rng: Rng::new(seed), table: Vec::new() }
    }
}

/// A place that no host has yet.
const FREE: u32 = u32::MAX;

/// A host while the table is filled.
struct Filling {
    index: u32,
    offset: u64,
    skip: u64,
    next: u64,
    weight: f64,
    target: f64,
}

impl Filling {
    fn new(index: usize, member: &Member, share: f64, size: u64) -> Self {
        let name = key(member).as_bytes();
        let (offset, skip) = (xxh64(name, 0) % size, xxh64(name, 1) % (size - 1) + 1);
        Self { index: index as u32, offset, skip, next: 0, weight: share, target: 0.0 }
    }

    /// The next free place of this host's permutation. With a prime size the steps visit every place; otherwise it goes
    /// on place by place. There must be a free one.
    fn next_place(&mut self, table: &[u32]) -> usize {
        let size = table.len() as u64;
        let place = |next: u64| ((self.offset + next * self.skip) % size) as usize;
        let mut at = place(self.next);
        let mut steps = 0;
        while table[at] != FREE {
            self.next += 1;
            steps += 1;
            at = if steps <= size { place(self.next) } else { (at + 1) % table.len() };
        }
        self.next += 1;
        at
    }
}

impl LoadBalancer for Maglev {
    fn set_hosts(&mut self, members: &[Member]) {
        self.table.clear();
        if members.is_empty() {
            return;
        }
        let size = self.table_size;
        let (shares, _) = normalized(members);
        let max = shares.iter().copied().fold(0.0, f64::max);
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|a, b| key(&members[*a]).cmp(key(&members[*b])));
        let mut hosts: Vec<Filling> =
            order.into_iter().map(|i| Filling::new(i, &members[i], shares[i], size)).collect();
        self.table.resize(size as usize, FREE);
        let mut left = size;
        let mut round = 0.0;
        while left > 0 {
            round += 1.0;
            for host in &mut hosts {
                // A host of full weight takes part in each round, a lighter one in its share of them.
                if left == 0 || round * host.weight < host.target {
                    continue;
                }
                host.target += max;
                let at = host.next_place(&self.table);
                self.table[at] = host.index;
                left -= 1;
            }
        }
    }

    fn pick(&mut self, cx: &PickContext<'_>) -> Option<usize> {
        let mut hash = cx.hash.unwrap_or_else(|| self.rng.next_u64());
        if cx.attempt > 0 {
            // A different, but for this attempt always equal, place.
            hash ^= (!0u64).wrapping_sub(u64::from(cx.attempt)).wrapping_add(1);
        }
        let at = hash.checked_rem(self.table.len() as u64)?;
        self.table.get(at as usize).map(|index| *index as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        balancer::conformance::members,
        cluster::{Host, SocketIndex},
        model::Address,
    };

    fn owners(lb: &mut dyn LoadBalancer, group: &[Member]) -> Vec<String> {
        lb.set_hosts(group);
        (0..2000u64)
            .map(|i| PickContext { hash: Some(xxh64(&i.to_le_bytes(), 9)), ..PickContext::default() })
            .map(|cx| group[lb.pick(&cx).unwrap()].host.name.to_string())
            .collect()
    }

    #[test]
    fn few_keys_move_when_a_host_leaves() {
        let group = members(&[1; 10]);
        let balancers: [Box<dyn LoadBalancer>; 2] =
            [Box::new(RingHash::new(1024, 8 << 20, 1)), Box::new(Maglev::new(65537, 1))];
        for mut lb in balancers {
            let before = owners(&mut *lb, &group);
            let after = owners(&mut *lb, &group[..9]);
            let gone = group[9].host.name.to_string();
            let moved = before.iter().zip(&after).filter(|(b, a)| b != a && **b != gone).count();
            assert!(moved < 200, "{moved} of 2000 keys of hosts that stayed have moved");
        }
    }

    /// What Envoy 1.40 answered for three hosts of weights 1, 2, 3 and a hash policy on a header with these values: a
    /// client keeps its host when it meets another kind of proxy.
    #[test]
    fn hosts_are_those_that_envoy_picks() {
        let mut group = members(&[1, 2, 3]);
        for (member, port) in group.iter_mut().zip(24101..) {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
            let mut host = Host::standalone(Address::Tcp(address), SocketIndex::Default);
            host.weight = member.host.weight;
            member.host = Arc::new(host);
        }
        let picks = |lb: &mut dyn LoadBalancer| -> String {
            lb.set_hosts(&group);
            let hash = |i| Some(xxh64(format!("key{i}").as_bytes(), 0));
            (0..60)
                .map(|i| lb.pick(&PickContext { hash: hash(i), ..PickContext::default() }).unwrap() + 1)
                .map(|host| host.to_string())
                .collect()
        };
        assert_eq!(
            picks(&mut RingHash::new(1024, 8 << 20, 1)),
            "132223331233332213311232213233212331312312323323323332232223"
        );
        assert_eq!(picks(&mut Maglev::new(65537, 1)), "331233322332232133223323212323333223332133333333333132112332");
    }

    #[test]
    fn another_attempt_finds_another_host() {
        let group = members(&[1; 4]);
        let mut lb = Maglev::new(65537, 1);
        lb.set_hosts(&group);
        let at = |lb: &mut Maglev, attempt| lb.pick(&PickContext { hash: Some(77), attempt, ..PickContext::default() });
        let first = at(&mut lb, 0);
        assert!((1..10).any(|attempt| at(&mut lb, attempt) != first));
        assert_eq!(at(&mut lb, 0), first, "equal hashes give equal hosts");
    }

    #[test]
    fn a_table_size_that_is_not_prime_still_fills() {
        let mut lb = Maglev::new(8, 1);
        lb.set_hosts(&members(&[3, 1]));
        assert!(lb.table.iter().all(|index| *index < 2));
    }
}
