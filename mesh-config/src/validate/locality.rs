//! The rules of preferences among localities, which destinations and the mesh have in common.

use super::Findings;
use crate::{
    model::{LocalityFailover, LocalityLbSetting},
    path::FieldPath,
};

/// Labels that name a place, which `failover` decides about already.
const PLACES: [&str; 3] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

/// Checks preferences among localities.
pub(super) fn setting(path: FieldPath<'_>, locality: &LocalityLbSetting, findings: &mut Findings<'_>) {
    if !locality.distribute.is_empty() && !locality.failover.is_empty() {
        findings.error(path, "distribute and failover exclude each other: keep one");
    }
    let order = path.field("failoverPriority");
    for (index, label) in locality.failover_priority.iter().enumerate() {
        if !locality.failover.is_empty() && PLACES.contains(&label.as_str()) {
            findings.error(order.index(index), format_args!("failover and the label {label} exclude each other"));
        }
    }
    let shares = path.field("distribute");
    let mut sources = Vec::new();
    for (index, part) in locality.distribute.iter().enumerate() {
        let path = shares.index(index);
        place(path.field("from"), &part.from, &mut sources, findings);
        let total: u64 = part.to.values().map(|share| u64::from(*share)).sum();
        let to = path.field("to");
        if total != 100 {
            findings.error(to, format_args!("the shares add up to {total}, not 100"));
        }
        let mut targets = Vec::new();
        for (name, share) in &part.to {
            if *share == 0 {
                findings.error(to.field(name), "the share must be at least 1");
            }
            place(to.field(name), name, &mut targets, findings);
        }
    }
    failover(path, &locality.failover, findings);
}

/// Checks a locality, `region/zone/subzone` with `*` at its end, which none of those before may overlap.
fn place<'p>(path: FieldPath<'_>, text: &'p str, seen: &mut Vec<Vec<&'p str>>, findings: &mut Findings<'_>) {
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    let stars = text.matches('*').count();
    if parts.iter().any(|part| part.is_empty()) {
        findings.error(path, format_args!("the locality {text:?} has an empty part"));
    } else if stars > 1 || (stars == 1 && !text.ends_with('*')) {
        findings.error(path, format_args!("the locality {text:?} may have one *, at its end"));
    } else if seen.iter().any(|other| overlap(other, &parts)) {
        findings.error(path, format_args!("the locality {text:?} overlaps with one before it"));
    } else {
        seen.push(parts);
    }
}

/// Whether two localities have a place in common; what is left out, or is `*`, stands for all.
fn overlap(one: &[&str], other: &[&str]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other || *one == "*" || *other == "*")
}

/// Checks which region takes over for which.
pub(super) fn failover(path: FieldPath<'_>, pairs: &[LocalityFailover], findings: &mut Findings<'_>) {
    let path = path.field("failover");
    for (index, pair) in pairs.iter().enumerate() {
        let path = path.index(index);
        if pair.from == pair.to {
            findings.error(path, format_args!("the region {:?} cannot take over for itself", pair.from));
        }
        for (field, region) in [("from", &pair.from), ("to", &pair.to)] {
            if region.contains(['*', '/']) {
                findings
                    .error(path.field(field), format_args!("{region:?} must be a region, without zone or wildcard"));
            }
        }
    }
}
