use super::{LoadBalancer, Member, PickContext, Rng};

/// Any host, without regard to weights, as in Envoy.
#[derive(Debug)]
pub(super) struct Random {
    rng: Rng,
    len: usize,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), len: 0 }
    }
}

impl LoadBalancer for Random {
    fn set_hosts(&mut self, members: &[Member]) {
        self.len = members.len();
    }

    fn pick(&mut self, _cx: &PickContext<'_>) -> Option<usize> {
        (self.len > 0).then(|| self.rng.below(self.len))
    }
}
