use super::{LoadBalancer, Member, PickContext, Rng, edf::Edf};

/// Weighted round robin: in turn while weights are equal, else by earliest deadline first.
#[derive(Debug)]
pub(super) struct RoundRobin {
    rng: Rng,
    weights: Vec<f64>,
    schedule: Schedule,
}

#[derive(Debug)]
enum Schedule {
    InTurn(usize),
    Weighted(Edf),
}

impl RoundRobin {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), weights: Vec::new(), schedule: Schedule::InTurn(0) }
    }
}

/// Whether all weights are equal.
pub(super) fn equal(members: &[Member]) -> bool {
    members.windows(2).all(|pair| pair[0].weight == pair[1].weight)
}

impl LoadBalancer for RoundRobin {
    fn set_hosts(&mut self, members: &[Member]) {
        self.weights = members.iter().map(|m| m.weight).collect();
        self.schedule = if equal(members) {
            Schedule::InTurn(self.rng.below(members.len()))
        } else {
            Schedule::Weighted(Edf::new(self.weights.iter().copied(), &mut self.rng))
        };
    }

    fn pick(&mut self, _cx: &PickContext<'_>) -> Option<usize> {
        match &mut self.schedule {
            Schedule::Weighted(edf) => edf.next(|i| self.weights[i]),
            Schedule::InTurn(_) if self.weights.is_empty() => None,
            Schedule::InTurn(at) => {
                let picked = *at;
                *at = if picked + 1 < self.weights.len() { picked + 1 } else { 0 };
                Some(picked)
            }
        }
    }
}
