//! What every [`LoadBalancer`] must do. Run [`check`] on your own.

use std::sync::Arc;

use super::{LoadBalancer, Member, PickContext, Rng};
use crate::{
    cluster::{Host, SocketIndex},
    model::Address,
};

/// A group with these weights, at made-up addresses.
#[must_use]
pub fn members(weights: &[u32]) -> Vec<Member> {
    weights
        .iter()
        .enumerate()
        .map(|(i, weight)| {
            let address = std::net::SocketAddr::from(([10, 0, (i >> 8) as u8, i as u8], 80));
            let mut host = Host::standalone(Address::Tcp(address), SocketIndex::Default);
            host.weight = *weight;
            Member { host: Arc::new(host), weight: f64::from(*weight) }
        })
        .collect()
}

/// Checks the contract. `weighted` says that the policy knows weights.
///
/// # Panics
///
/// When the contract is broken.
pub fn check(balancer: &mut dyn LoadBalancer, weighted: bool) {
    let mut rng = Rng::new(42);
    let mut pick = |balancer: &mut dyn LoadBalancer| {
        balancer.pick(&PickContext { hash: Some(rng.next_u64()), ..PickContext::default() })
    };
    balancer.set_hosts(&[]);
    assert_eq!(pick(balancer), None, "an empty group has no host");
    balancer.set_hosts(&members(&[5]));
    assert_eq!(pick(balancer), Some(0), "a group of one");
    for weights in [&[1, 1, 1][..], &[1, 2, 7]] {
        balancer.set_hosts(&members(weights));
        let mut seen = vec![0u32; weights.len()];
        for _ in 0..20_000 {
            match pick(balancer).and_then(|at| seen.get_mut(at)) {
                Some(seen) => *seen += 1,
                None => panic!("a group with hosts always has one to pick"),
            }
        }
        let sum: u32 = weights.iter().sum();
        for (weight, seen) in weights.iter().zip(&seen) {
            let share = if weighted { f64::from(*weight) / f64::from(sum) } else { 1.0 / weights.len() as f64 };
            let got = f64::from(*seen) / 20_000.0;
            assert!((got - share).abs() < 0.25 * share + 0.02, "weights {weights:?} gave {seen}: {got} not {share}");
        }
    }
    balancer.set_hosts(&members(&[1]));
    assert_eq!(pick(balancer), Some(0), "a smaller group replaces a larger one");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{balancer::load_balancer, model::LbPolicy};

    #[test]
    fn ready_made_balancers_conform() {
        for (policy, weighted) in [
            (LbPolicy::RoundRobin, true),
            (LbPolicy::LeastRequest { choices: 2 }, true),
            (LbPolicy::Random, false),
            (LbPolicy::RingHash { min_size: 1024, max_size: 8 << 20 }, true),
            (LbPolicy::Maglev { table_size: 65537 }, true),
        ] {
            check(&mut *load_balancer(&policy, 3), weighted);
        }
    }
}
