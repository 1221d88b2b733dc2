use crate::model::HealthStatus;

/// Percent of the traffic by priority: what goes to healthy hosts, what to degraded ones, and whether a priority is in
/// panic mode (all its hosts are used).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PriorityLoads {
    pub(super) healthy: Vec<u32>,
    pub(super) degraded: Vec<u32>,
    pub(super) panic: Vec<bool>,
}

/// Hosts of one priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) total: u64,
    pub(super) healthy: u64,
    pub(super) degraded: u64,
}

impl PriorityLoads {
    /// Envoy's rule (docs: "Priority levels", "Degraded endpoints", "Panic threshold"). `overprovisioning` in percent;
    /// `panic_threshold` in percent, zero = no panic mode.
    pub(super) fn new(counts: &[Counts], overprovisioning: u32, panic_threshold: f64) -> Self {
        let availability = |available: u64, total: u64| {
            (u64::from(overprovisioning) * available).checked_div(total).unwrap_or(0).min(100) as u32
        };
        let healthy: Vec<u32> = counts.iter().map(|c| availability(c.healthy, c.total)).collect();
        let degraded: Vec<u32> = counts.iter().map(|c| availability(c.degraded, c.total)).collect();
        let sum = healthy.iter().chain(&degraded).sum::<u32>().min(100);
        let mut loads = Self { panic: vec![false; counts.len()], ..Self::default() };
        loads.spread(&healthy, &degraded, sum);
        if counts.is_empty() {
            return loads;
        }
        if sum < 100 && panic_threshold > 0.0 {
            for (panic, c) in loads.panic.iter_mut().zip(counts) {
                let percent = if c.total == 0 { 0.0 } else { 100.0 * (c.healthy + c.degraded) as f64 / c.total as f64 };
                *panic = percent < panic_threshold;
            }
            if loads.panic.iter().all(|p| *p) {
                loads.spread_in_total_panic(counts);
            }
        }
        if loads.healthy.iter().chain(&loads.degraded).all(|load| *load == 0) {
            // Loads must add up; the first priority answers that it has no host.
            loads.healthy[0] = 100;
        }
        loads
    }

    /// Fills priorities in order, healthy hosts of all of them before degraded ones.
    fn spread(&mut self, healthy: &[u32], degraded: &[u32], sum: u32) {
        let mut left = 100;
        let mut take = |availability: &[u32]| -> Vec<u32> {
            availability
                .iter()
                .map(|percent| {
                    let load = (percent * 100).checked_div(sum).map_or(0, |load| load.min(left));
                    left -= load;
                    load
                })
                .collect()
        };
        self.healthy = take(healthy);
        self.degraded = take(degraded);
        // What rounding left goes to the first that takes any.
        if left < 100
            && let Some(first) = self.healthy.iter_mut().chain(&mut self.degraded).find(|load| **load > 0)
        {
            *first += left;
        }
    }

    /// Every priority is in panic: traffic goes by the number of hosts.
    fn spread_in_total_panic(&mut self, counts: &[Counts]) {
        let total: u64 = counts.iter().map(|c| c.total).sum();
        self.degraded.fill(0);
        self.healthy.fill(0);
        let Some(first) = counts.iter().position(|c| c.total > 0) else { return };
        for (load, c) in self.healthy.iter_mut().zip(counts) {
            *load = (100 * c.total / total) as u32;
        }
        self.healthy[first] += 100 - self.healthy.iter().sum::<u32>();
    }

    /// The priority for a value in `0..100`, and which of its hosts.
    pub(super) fn choose(&self, percent: u32) -> Option<(usize, HealthStatus)> {
        let mut upto = 0;
        let healthy = self.healthy.iter().map(|load| (load, HealthStatus::Healthy)).enumerate();
        let degraded = self.degraded.iter().map(|load| (load, HealthStatus::Degraded)).enumerate();
        for (priority, (load, health)) in healthy.chain(degraded) {
            upto += load;
            if percent < upto {
                return Some((priority, health));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(of: &[(u64, u64, u64)]) -> Vec<Counts> {
        let count = |(total, healthy, degraded): &(u64, u64, u64)| Counts {
            total: *total,
            healthy: *healthy,
            degraded: *degraded,
        };
        of.iter().map(count).collect()
    }

    fn loads(of: &[(u64, u64, u64)]) -> PriorityLoads {
        PriorityLoads::new(&counts(of), 140, 50.0)
    }

    /// The table of Envoy's documentation, "Priority levels" and "Degraded endpoints".
    #[test]
    fn documented_examples() {
        for (p0, p1, expected) in [
            (100, 100, [100, 0]),
            (72, 100, [100, 0]),
            (71, 100, [99, 1]),
            (50, 100, [70, 30]),
            (25, 100, [35, 65]),
            (0, 100, [0, 100]),
            (25, 25, [50, 50]),
        ] {
            assert_eq!(loads(&[(100, p0, 0), (100, p1, 0)]).healthy, expected, "{p0}% and {p1}% healthy");
        }
        let mixed = loads(&[(100, 25, 75), (100, 0, 0)]);
        assert_eq!((mixed.healthy, mixed.degraded), (vec![35, 0], vec![65, 0]));
    }

    #[test]
    fn panic_only_when_no_priority_can_take_over() {
        assert_eq!(loads(&[(10, 1, 0), (10, 10, 0)]).panic, [false, false]);
        assert_eq!(loads(&[(10, 4, 0)]).panic, [true]);
        assert_eq!(loads(&[(10, 5, 0)]).panic, [false], "the threshold itself is no panic");
        let total = loads(&[(10, 0, 0), (30, 0, 0)]);
        assert_eq!((total.panic, total.healthy), (vec![true, true], vec![25, 75]));
        assert_eq!(PriorityLoads::new(&counts(&[(10, 0, 0)]), 140, 0.0).panic, [false]);
    }

    #[test]
    fn no_hosts() {
        assert_eq!(loads(&[]).choose(0), None);
        assert_eq!(loads(&[(0, 0, 0)]).choose(99), Some((0, HealthStatus::Healthy)));
    }

    proptest! {
        /// Loads always add up to 100, and nobody without an available host gets any outside panic mode.
        #[test]
        fn loads_add_up(of in proptest::collection::vec((0u64..50, 0u64..50, 0u64..50), 1..5), threshold in 0u32..101) {
            let of: Vec<_> = of.into_iter().map(|(rest, h, d)| (rest + h + d, h, d)).collect();
            let loads = PriorityLoads::new(&counts(&of), 140, f64::from(threshold));
            let sum: u32 = loads.healthy.iter().chain(&loads.degraded).sum();
            prop_assert_eq!(sum, 100);
            prop_assert!((0..100).all(|p| loads.choose(p).is_some()));
            let available = of.iter().any(|(_, h, d)| h + d > 0);
            if available && !loads.panic.iter().all(|p| *p) {
                for ((load, (_, healthy, _)), panic) in loads.healthy.iter().zip(&of).zip(&loads.panic) {
                    prop_assert!(*load == 0 || *healthy > 0 || *panic);
                }
            }
        }
    }
}
