use super::{LoadBalancer, Member, PickContext, Rng, edf::Edf, round_robin::equal};

/// Least active requests among a few random hosts; with unequal weights, earliest deadline first by
/// `weight / (active + 1)`.
#[derive(Debug)]
pub(super) struct LeastRequest {
    choices: usize,
    rng: Rng,
    members: Vec<Member>,
    /// `None` while weights are equal.
    weighted: Option<Edf>,
}

impl LeastRequest {
    pub(super) fn new(choices: u32, seed: u64) -> Self {
        Self { choices: choices.max(2) as usize, rng: Rng::new(seed), members: Vec::new(), weighted: None }
    }
}

/// Weight under the load of this moment (`active_request_bias` = 1).
fn loaded(member: &Member) -> f64 {
    member.weight / (f64::from(member.host.state.active_requests()) + 1.0)
}

impl LoadBalancer for LeastRequest {
    fn set_hosts(&mut self, members: &[Member]) {
        self.members = members.to_vec();
        self.weighted = (!equal(members)).then(|| Edf::new(members.iter().map(loaded), &mut self.rng));
    }

    fn pick(&mut self, _cx: &PickContext<'_>) -> Option<usize> {
        if let Some(edf) = &mut self.weighted {
            return edf.next(|i| loaded(&self.members[i]));
        }
        let mut best: Option<(usize, u32)> = None;
        for _ in 0..self.choices {
            let candidate = self.rng.below(self.members.len());
            let active = self.members.get(candidate)?.host.state.active_requests();
            if best.is_none_or(|(_, least)| active < least) {
                best = Some((candidate, active));
            }
        }
        best.map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::balancer::conformance::members;

    #[test]
    fn busy_hosts_get_less() {
        for weights in [&[1, 1][..], &[1, 2]] {
            let group = members(weights);
            let mut lb = LeastRequest::new(2, 7);
            lb.set_hosts(&group);
            group[0].host.state.rq_active.store(1000, Relaxed);
            let busy = (0..1000).filter(|_| lb.pick(&PickContext::default()) == Some(0)).count();
            assert!(busy < 300, "{busy} of 1000 picks went to the busy host, weights {weights:?}");
        }
    }
}
