use std::sync::Arc;

use super::{
    LoadBalancer, Member, PickContext, PickError, Rng,
    edf::Edf,
    load_balancer,
    priority::{Counts, PriorityLoads},
};
use crate::{
    cluster::{Host, HostSet, PriorityGroup},
    model::{HealthStatus, LbPolicy},
};

/// Picks hosts of one cluster for one worker: priority, then locality, then host.
#[derive(Debug)]
pub(crate) struct HostPicker {
    policy: LbPolicy,
    panic_threshold: f64,
    locality_weighted: bool,
    rng: Rng,
    loads: PriorityLoads,
    priorities: Vec<Priority>,
}

/// Groups of one priority.
#[derive(Debug)]
struct Priority {
    healthy: Choice,
    degraded: Choice,
    /// For panic mode.
    all: Group,
}

/// Hosts of one health: as one group, or by locality.
#[derive(Debug)]
enum Choice {
    One(Group),
    Localities { groups: Vec<(f64, Group)>, schedule: Edf },
}

#[derive(Debug)]
struct Group {
    members: Vec<Member>,
    balancer: Box<dyn LoadBalancer>,
    /// Tables are built for groups that are used.
    built: bool,
}

impl HostPicker {
    pub(crate) fn new(policy: LbPolicy, panic_threshold: f64, locality_weighted: bool, seed: u64) -> Self {
        let rng = Rng::new(seed);
        let (loads, priorities) = Default::default();
        Self { policy, panic_threshold, locality_weighted, rng, loads, priorities }
    }

    /// Takes over hosts and their health at this moment.
    pub(crate) fn update(&mut self, hosts: &HostSet) {
        let counts: Vec<Counts> = hosts.priorities.iter().map(count).collect();
        self.loads = PriorityLoads::new(&counts, hosts.overprovisioning_factor, self.panic_threshold);
        let factor = f64::from(hosts.overprovisioning_factor) / 100.0;
        self.priorities = hosts.priorities.iter().map(|group| self.priority(group, factor)).collect();
    }

    fn priority(&mut self, group: &PriorityGroup, factor: f64) -> Priority {
        let all = group.hosts.iter().map(|host| (host.clone(), 1.0)).collect();
        Priority {
            healthy: self.choice(group, HealthStatus::Healthy, factor),
            degraded: self.choice(group, HealthStatus::Degraded, factor),
            all: self.group(all),
        }
    }

    fn choice(&mut self, group: &PriorityGroup, health: HealthStatus, factor: f64) -> Choice {
        if !self.locality_weighted {
            return Choice::One(self.group(of(&group.hosts, health).into_iter().map(|h| (h, 1.0)).collect()));
        }
        // The weight of a locality falls with the share of its hosts that are available.
        let weighted = group.localities.iter().map(|locality| {
            let all = &group.hosts[locality.range.clone()];
            let hosts = of(all, health);
            let available = if all.is_empty() { 0.0 } else { hosts.len() as f64 / all.len() as f64 };
            (f64::from(locality.weight.unwrap_or(0)) * (factor * available).min(1.0), hosts)
        });
        let weighted: Vec<_> = weighted.filter(|(weight, hosts)| *weight > 0.0 && !hosts.is_empty()).collect();
        if matches!(self.policy, LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. }) {
            // One table, in which every host has its part of its locality's share.
            let members = weighted.into_iter().flat_map(|(weight, hosts)| {
                let share = weight / hosts.iter().map(|h| f64::from(h.weight)).sum::<f64>();
                hosts.into_iter().map(move |host| (host, share))
            });
            let members = members.collect();
            return Choice::One(self.group(members));
        }
        let groups: Vec<_> = weighted
            .into_iter()
            .map(|(weight, hosts)| (weight, self.group(hosts.into_iter().map(|h| (h, 1.0)).collect())))
            .collect();
        let schedule = Edf::new(groups.iter().map(|(weight, _)| *weight), &mut self.rng);
        Choice::Localities { groups, schedule }
    }

    fn group(&mut self, hosts: Vec<(Arc<Host>, f64)>) -> Group {
        let members =
            hosts.into_iter().map(|(host, scale)| Member { weight: f64::from(host.weight) * scale, host }).collect();
        Group { members, balancer: load_balancer(&self.policy, self.rng.next_u64()), built: false }
    }

    /// A host, and whether its priority is in panic mode.
    pub(crate) fn pick(&mut self, cx: &PickContext<'_>) -> Result<(&Arc<Host>, bool), PickError> {
        let retries = if cx.exclude.is_empty() { 0 } else { cx.host_selection_retries };
        let mut found = None;
        for attempt in 0..=retries {
            let Some((priority, which, index)) = self.pick_once(&PickContext { attempt, ..*cx }) else { break };
            found = Some((priority, which, index));
            let host = self.member(priority, which, index);
            if !cx.exclude.iter().any(|e| Arc::ptr_eq(&e.state, &host.state)) {
                break;
            }
        }
        let (priority, which, index) = found.ok_or(PickError::NoHealthyHost)?;
        let panic = self.loads.panic[priority];
        Ok((self.member(priority, which, index), panic))
    }

    fn pick_once(&mut self, cx: &PickContext<'_>) -> Option<(usize, Which, usize)> {
        let percent = match cx.hash {
            Some(hash) => (hash % 100) as u32,
            None => self.rng.below(100) as u32,
        };
        let (priority, health) = self.loads.choose(percent)?;
        let groups = self.priorities.get_mut(priority)?;
        if self.loads.panic[priority] {
            return groups.all.pick(cx).map(|index| (priority, Which::All, index));
        }
        let degraded = health == HealthStatus::Degraded;
        match if degraded { &mut groups.degraded } else { &mut groups.healthy } {
            Choice::One(group) => group.pick(cx).map(|index| (priority, Which::Of { degraded, locality: 0 }, index)),
            Choice::Localities { groups, schedule } => {
                let locality = schedule.next(|i| groups[i].0)?;
                let index = groups[locality].1.pick(cx)?;
                Some((priority, Which::Of { degraded, locality }, index))
            }
        }
    }

    fn member(&self, priority: usize, which: Which, index: usize) -> &Arc<Host> {
        let groups = &self.priorities[priority];
        let group = match which {
            Which::All => &groups.all,
            Which::Of { degraded, locality } => match if degraded { &groups.degraded } else { &groups.healthy } {
                Choice::One(group) => group,
                Choice::Localities { groups, .. } => &groups[locality].1,
            },
        };
        &group.members[index].host
    }
}

/// A group within a priority.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    Of { degraded: bool, locality: usize },
}

impl Group {
    fn pick(&mut self, cx: &PickContext<'_>) -> Option<usize> {
        if !self.built {
            self.balancer.set_hosts(&self.members);
            self.built = true;
        }
        self.balancer.pick(cx).filter(|index| *index < self.members.len())
    }
}

/// The hosts with this health.
fn of(hosts: &[Arc<Host>], health: HealthStatus) -> Vec<Arc<Host>> {
    hosts.iter().filter(|h| h.effective_health() == health).cloned().collect()
}

fn count(group: &PriorityGroup) -> Counts {
    let of = |health| group.hosts.iter().filter(|h| h.effective_health() == health).count() as u64;
    Counts { total: group.hosts.len() as u64, healthy: of(HealthStatus::Healthy), degraded: of(HealthStatus::Degraded) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use HealthStatus::{Degraded, Healthy, Unhealthy};

    use super::*;
    use crate::{balancer::conformance::members, cluster::LocalityGroup};

    fn group(health: &[HealthStatus]) -> PriorityGroup {
        let hosts: Vec<_> = members(&vec![1; health.len()])
            .into_iter()
            .zip(health)
            .map(|(member, health)| {
                let mut host = Host::standalone(member.host.address.clone(), member.host.socket);
                host.health = *health;
                Arc::new(host)
            })
            .collect();
        PriorityGroup { hosts, localities: Vec::new() }
    }

    fn set(priorities: Vec<PriorityGroup>) -> HostSet {
        HostSet { priorities, overprovisioning_factor: 140 }
    }

    fn shares(picker: &mut HostPicker, hosts: &HostSet) -> BTreeMap<usize, usize> {
        picker.update(hosts);
        let all: Vec<_> = hosts.all().collect();
        let mut seen = BTreeMap::new();
        for _ in 0..1000 {
            let (host, _) = picker.pick(&PickContext::default()).unwrap();
            let at = all.iter().position(|h| Arc::ptr_eq(h, host)).unwrap();
            *seen.entry(at).or_default() += 1;
        }
        seen
    }

    fn picker(locality_weighted: bool) -> HostPicker {
        HostPicker::new(LbPolicy::RoundRobin, 50.0, locality_weighted, 1)
    }

    #[test]
    fn fails_over_and_back() {
        let hosts = set(vec![group(&[Unhealthy, Unhealthy]), group(&[Healthy])]);
        assert_eq!(shares(&mut picker(false), &hosts).into_keys().collect::<Vec<_>>(), [2]);
        let hosts = set(vec![group(&[Healthy, Healthy]), group(&[Healthy])]);
        assert_eq!(shares(&mut picker(false), &hosts).into_keys().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn ejected_hosts_are_left_out_until_panic() {
        let hosts = set(vec![group(&[Healthy; 4])]);
        hosts.priorities[0].hosts[1].state.eject_for_test(true);
        assert_eq!(shares(&mut picker(false), &hosts).into_keys().collect::<Vec<_>>(), [0, 2, 3]);
        for host in &hosts.priorities[0].hosts[..3] {
            host.state.eject_for_test(true);
        }
        let mut picker = picker(false);
        assert_eq!(shares(&mut picker, &hosts).len(), 4, "one of four is below the panic threshold");
        assert!(picker.pick(&PickContext::default()).unwrap().1);
    }

    #[test]
    fn degraded_hosts_take_the_rest() {
        let hosts = set(vec![group(&[Healthy, Degraded, Degraded, Degraded])]);
        let shares = shares(&mut picker(false), &hosts);
        assert!((280..420).contains(&shares[&0]), "35% of the load: {shares:?}");
    }

    #[test]
    fn localities_by_weight() {
        let mut group = group(&[Healthy; 3]);
        let locality = |range, weight| LocalityGroup { locality: Arc::default(), weight, range };
        group.localities = vec![locality(0..1, Some(3)), locality(1..2, Some(1)), locality(2..3, None)];
        let hosts = set(vec![group]);
        let shares = shares(&mut picker(true), &hosts);
        assert!((740..760).contains(&shares[&0]) && !shares.contains_key(&2), "{shares:?}");
    }

    #[test]
    fn previous_hosts_are_avoided_if_there_are_others() {
        let hosts = set(vec![group(&[Healthy; 2])]);
        let mut picker = picker(false);
        picker.update(&hosts);
        let previous = vec![hosts.priorities[0].hosts[0].clone()];
        let cx = PickContext { exclude: &previous, host_selection_retries: 3, ..PickContext::default() };
        for _ in 0..10 {
            assert!(!Arc::ptr_eq(picker.pick(&cx).unwrap().0, &previous[0]));
        }
        let only = set(vec![PriorityGroup { hosts: previous.clone(), localities: Vec::new() }]);
        picker.update(&only);
        assert!(picker.pick(&cx).is_ok());
    }

    #[test]
    fn no_hosts_no_pick() {
        let mut picker = picker(false);
        assert_eq!(picker.pick(&PickContext::default()).unwrap_err(), PickError::NoHealthyHost);
        picker.update(&set(vec![group(&[])]));
        assert_eq!(picker.pick(&PickContext::default()).unwrap_err(), PickError::NoHealthyHost);
    }
}
