//! [`RotationStatus`]: where a rotation is, for people and scripts.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    holders::Laggards,
    machine::{RootFacts, RootId, RootPhase, RootRotationConfig, RotationState},
};

/// Who is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Waiting {
    /// What is to be proven, in words.
    pub what: String,
    /// How many are behind.
    pub behind: usize,
    /// Some of them.
    pub names: Vec<String>,
    /// When they are behind no more at the latest, since their certificates end.
    #[serde(serialize_with = "time_or_null")]
    pub until: Option<SystemTime>,
}

/// One root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RootStatus {
    /// Its SHA-256 fingerprint.
    pub id: RootId,
    /// What it does: `signs`, `comes`, `goes`.
    pub role: &'static str,
    /// End of its validity.
    #[serde(serialize_with = "time")]
    pub not_after: SystemTime,
}

/// Where a rotation is. `Display` for people; serialized, times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RotationStatus {
    /// The phase.
    pub phase: RootPhase,
    /// Since when.
    #[serde(serialize_with = "time")]
    pub since: SystemTime,
    /// When the rotation was started.
    #[serde(serialize_with = "time_or_null")]
    pub started: Option<SystemTime>,
    /// Whether it is being undone.
    pub aborting: bool,
    /// Whether an operator has approved to go on without proof.
    pub approved: bool,
    /// Whether the proof takes longer than it should: find out who is behind, or approve.
    pub overdue: bool,
    /// The number of the bundle in force.
    pub sequence: u64,
    /// The roots: the one that signs first.
    pub roots: Vec<RootStatus>,
    /// Who is waited for.
    pub waiting: Option<Waiting>,
    /// When the next rotation starts by itself.
    #[serde(serialize_with = "time_or_null")]
    pub next: Option<SystemTime>,
}

impl RotationStatus {
    pub(super) fn of(state: &RotationState, config: &RootRotationConfig, behind: Laggards, now: SystemTime) -> Self {
        let root = |facts: &RootFacts, role| RootStatus { id: facts.id.clone(), role, not_after: facts.not_after };
        let other = match state.phase {
            RootPhase::Distributing => "comes",
            _ => "goes",
        };
        let what = match state.phase {
            RootPhase::Distributing => format!("everybody holds bundle {}", state.sequence),
            _ => "nobody holds a certificate of the root that goes".to_owned(),
        };
        let waiting =
            state.question().map(|_| Waiting { what, behind: behind.count, names: behind.names, until: behind.until });
        let next = match state.decide(config, &Laggards::default(), now) {
            super::Decision::Wait(rest) if state.phase == RootPhase::Steady => now.checked_add(rest).filter(is_date),
            _ => None,
        };
        Self {
            phase: state.phase,
            since: state.since,
            started: state.started,
            aborting: state.reverting,
            approved: state.approved,
            overdue: state.is_overdue(config, now),
            sequence: state.sequence,
            roots: [root(&state.signer, "signs")]
                .into_iter()
                .chain(state.other.as_ref().map(|o| root(o, other)))
                .collect(),
            waiting,
            next,
        }
    }
}

impl RotationStatus {
    /// Gauges in Prometheus' text form.
    pub fn to_prometheus(&self) -> String {
        let behind = self.waiting.as_ref().map_or(0, |w| w.behind);
        let mut text = String::new();
        for (name, value) in [
            ("mesh_ca_root_rotation_behind", behind),
            ("mesh_ca_root_rotation_overdue", usize::from(self.overdue)),
            ("mesh_ca_root_rotation_aborting", usize::from(self.aborting)),
        ] {
            text.push_str(&format!("# TYPE {name} gauge\n{name} {value}\n"));
        }
        text.push_str(&format!("# TYPE mesh_ca_bundle_sequence gauge\nmesh_ca_bundle_sequence {}\n", self.sequence));
        text.push_str("# TYPE mesh_ca_root_rotation_phase gauge\n");
        for phase in RootPhase::ALL {
            let is_this = usize::from(phase == self.phase);
            text.push_str(&format!("mesh_ca_root_rotation_phase{{phase=\"{phase}\"}} {is_this}\n"));
        }
        text
    }
}

/// `OffsetDateTime` ends with the year 9999, and `SystemTime` does not.
fn is_date(at: &SystemTime) -> bool {
    at.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|d| d < Duration::from_secs(253_402_300_799))
}

fn text(at: SystemTime) -> String {
    if !is_date(&at) {
        return "never".into();
    }
    let at = OffsetDateTime::from(at);
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_else(|_| "never".into())
}

fn time<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*at))
}

fn time_or_null<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => time(at, serializer),
        None => serializer.serialize_none(),
    }
}

impl fmt::Display for RotationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phase     {}", self.phase)?;
        if self.aborting {
            f.write_str(", aborting")?;
        }
        if self.approved {
            f.write_str(", approved")?;
        }
        if self.overdue {
            f.write_str(", OVERDUE")?;
        }
        writeln!(f, " since {}", text(self.since))?;
        if let Some(started) = self.started {
            writeln!(f, "started   {}", text(started))?;
        }
        writeln!(f, "bundle    {}", self.sequence)?;
        for root in &self.roots {
            writeln!(f, "root      {} {}, ends {}", root.id, root.role, text(root.not_after))?;
        }
        if let Some(waiting) = &self.waiting {
            write!(f, "waits     until {}; behind: {}", waiting.what, waiting.behind)?;
            if let Some(until) = waiting.until {
                write!(f, ", until {} at the latest", text(until))?;
            }
            writeln!(f)?;
            for name in &waiting.names {
                writeln!(f, "behind    {name}")?;
            }
            if waiting.behind > waiting.names.len() {
                writeln!(f, "behind    and {} more", waiting.behind - waiting.names.len())?;
            }
        }
        if let Some(next) = self.next {
            writeln!(f, "next      {}", text(next))?;
        }
        Ok(())
    }
}
