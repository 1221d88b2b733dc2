//! [`RotationState`]: which step comes next, without IO.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{error::RotationRefused, holders::Laggards};

/// A root certificate by its SHA-256 fingerprint, hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RootId(String);

impl RootId {
    /// That of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let hash = digest::digest(&digest::SHA256, certificate);
        Self(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first twelve digits: enough to tell roots apart.
impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// Where a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RootPhase {
    /// One root, no rotation.
    Steady,
    /// The new root is stored and in the bundle; the old one signs. Waits until every holder has that bundle.
    Distributing,
    /// The new root signs; certificates of the old one are renewed in their own time.
    Activated,
    /// Whoever holds a certificate of the tainted root is told to renew now. Waits until there is none.
    Tainted,
}

impl RootPhase {
    /// All phases, in their order.
    pub const ALL: [Self; 4] = [Self::Steady, Self::Distributing, Self::Activated, Self::Tainted];

    /// A word for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Distributing => "distributing",
            Self::Activated => "activated",
            Self::Tainted => "tainted",
        }
    }
}

impl fmt::Display for RootPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the root is rotated. A plain value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RootRotationConfig {
    /// The share of a root's life after which a rotation starts by itself, from 0.1 to 0.9; `None` for never. Default 0.5.
    pub start_after: Option<f64>,
    /// Least time in each phase, also with proof: for peers that take a while to use what they have acknowledged. Default
    /// 10 seconds.
    pub settle: Duration,
    /// How long a proof may take before the status calls the phase overdue. Default 48 hours: twice the default life of a
    /// workload's certificate, within which each is renewed.
    pub deadline: Duration,
    /// Whether an overdue phase goes on without proof, which may cut off whoever is behind. Default no: an operator approves.
    pub proceed_at_deadline: bool,
    /// How often the proof is looked at while a rotation is under way. Default 5 seconds; at least 10 milliseconds.
    pub check_interval: Duration,
}

impl Default for RootRotationConfig {
    fn default() -> Self {
        Self {
            start_after: Some(0.5),
            settle: Duration::from_secs(10),
            deadline: Duration::from_secs(48 * 3600),
            proceed_at_deadline: false,
            check_interval: Duration::from_secs(5),
        }
    }
}

/// What the machine knows of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFacts {
    /// Which one.
    pub id: RootId,
    /// Start of its validity.
    pub not_before: SystemTime,
    /// End of its validity.
    pub not_after: SystemTime,
}

/// What the machine asks those who know the holders.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// Who does not hold this bundle, or a later one.
    WithoutBundle(u64),
    /// Who holds a certificate that ends at this root.
    UnderRoot(RootId),
}

/// A step. It is stored first, and then made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transition {
    /// A new root comes into the bundle.
    Distribute(RootFacts),
    /// The new root signs.
    Activate,
    /// Holders of certificates of the other root are told to renew.
    Taint,
    /// The tainted root leaves the bundle.
    Withdraw,
    /// Back to the old root: at once while it still signs, else by tainting the new one.
    Abort,
    /// An operator says that the proof is not to be waited for, in this phase.
    Approve,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Nothing before this much time has passed, or until there is proof.
    Wait(Duration),
    /// Make a new root, and apply [`Transition::Distribute`] with it.
    Begin,
    /// Apply this.
    Apply(Transition),
}

/// The state of a root's rotation, without keys. Does no IO and reads no clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RotationState {
    /// Counts the bundles: each change of roots is a new one. Never goes back.
    pub sequence: u64,
    /// Counts the roots made so far.
    pub generation: u64,
    /// Where the rotation is.
    pub phase: RootPhase,
    /// Since when.
    pub since: SystemTime,
    /// When the rotation under way was started.
    pub started: Option<SystemTime>,
    /// Whether the rotation is being undone.
    pub reverting: bool,
    /// Whether an operator has approved to go on without proof.
    pub approved: bool,
    /// The root that signs.
    pub signer: RootFacts,
    /// The other root of a rotation: the coming one while distributing, after that the one that goes.
    pub other: Option<RootFacts>,
}

impl RotationState {
    /// One root, at the time `now`.
    pub fn steady(root: RootFacts, now: SystemTime) -> Self {
        Self {
            sequence: 1,
            generation: 1,
            phase: RootPhase::Steady,
            since: now,
            started: None,
            reverting: false,
            approved: false,
            signer: root,
            other: None,
        }
    }

    /// What has to be known before [`RotationState::decide`]; `None` when nothing has.
    pub fn question(&self) -> Option<Question> {
        match (self.phase, &self.other) {
            (RootPhase::Distributing, _) => Some(Question::WithoutBundle(self.sequence)),
            (RootPhase::Tainted, Some(other)) => Some(Question::UnderRoot(other.id.clone())),
            _ => None,
        }
    }

    /// The root whose certificates are to be renewed at once.
    pub fn tainted(&self) -> Option<&RootId> {
        self.other.as_ref().filter(|_| self.phase == RootPhase::Tainted).map(|o| &o.id)
    }

    /// What comes next at the time `now`, when `behind` answers the question.
    pub fn decide(&self, config: &RootRotationConfig, behind: &Laggards, now: SystemTime) -> Decision {
        let check = config.check_interval.max(Duration::from_millis(10));
        let rest = config.settle.saturating_sub(self.spent(now));
        let settled = rest.is_zero();
        // When a root has ended, so has all that it signed: nobody is cut off any more.
        let ended = |root: &RootFacts| now >= root.not_after;
        let overdue = config.proceed_at_deadline && self.is_overdue(config, now);
        let proven = (settled && behind.count == 0) || self.approved || overdue;
        match (self.phase, &self.other) {
            (RootPhase::Steady, _) => match self.due_in(config, now) {
                Some(rest) if rest.is_zero() => Decision::Begin,
                Some(rest) => Decision::Wait(rest),
                None => Decision::Wait(Duration::MAX),
            },
            (RootPhase::Distributing, Some(_)) if proven || ended(&self.signer) => {
                Decision::Apply(Transition::Activate)
            }
            (RootPhase::Activated, Some(_)) if settled => Decision::Apply(Transition::Taint),
            (RootPhase::Tainted, Some(other)) if proven || ended(other) => Decision::Apply(Transition::Withdraw),
            _ => Decision::Wait(if settled { check } else { rest.min(check) }),
        }
    }

    /// Whether the proof takes longer than it should.
    pub fn is_overdue(&self, config: &RootRotationConfig, now: SystemTime) -> bool {
        self.question().is_some() && self.spent(now) >= config.deadline
    }

    /// The state after a step at the time `now`.
    ///
    /// # Errors
    /// When the step does not follow from this state.
    pub fn apply(&self, step: &Transition, now: SystemTime) -> Result<Self, RotationRefused> {
        let mut next = Self { since: now, approved: false, ..self.clone() };
        match (step, self.phase, &self.other) {
            (Transition::Distribute(root), RootPhase::Steady, None) => {
                next.generation += 1;
                next.sequence += 1;
                next.phase = RootPhase::Distributing;
                next.started = Some(now);
                next.other = Some(root.clone());
            }
            (Transition::Distribute(_), ..) => return Err(RotationRefused::UnderWay(self.phase)),
            (Transition::Activate, RootPhase::Distributing, Some(new)) => {
                next.phase = RootPhase::Activated;
                next.other = Some(std::mem::replace(&mut next.signer, new.clone()));
            }
            (Transition::Taint, RootPhase::Activated, Some(_)) => next.phase = RootPhase::Tainted,
            (Transition::Withdraw, RootPhase::Tainted, Some(_)) => next.finish(),
            (Transition::Abort, RootPhase::Distributing, Some(_)) => next.finish(),
            (Transition::Abort, RootPhase::Activated | RootPhase::Tainted, Some(old)) => {
                if self.reverting {
                    return Err(RotationRefused::Reverting);
                }
                if now >= old.not_after {
                    return Err(RotationRefused::OldRootEnded);
                }
                next.phase = RootPhase::Tainted;
                next.reverting = true;
                next.other = Some(std::mem::replace(&mut next.signer, old.clone()));
            }
            (Transition::Approve, RootPhase::Distributing | RootPhase::Tainted, Some(_)) => {
                next = Self { approved: true, ..self.clone() };
            }
            _ => return Err(RotationRefused::NotNow(self.phase)),
        }
        Ok(next)
    }

    fn finish(&mut self) {
        self.sequence += 1;
        self.phase = RootPhase::Steady;
        self.started = None;
        self.reverting = false;
        self.other = None;
    }

    /// Time since the phase began; nothing when the clock was set back to before that.
    fn spent(&self, now: SystemTime) -> Duration {
        now.duration_since(self.since).unwrap_or_default()
    }

    /// Time until a rotation starts by itself.
    fn due_in(&self, config: &RootRotationConfig, now: SystemTime) -> Option<Duration> {
        let share = config.start_after.filter(|s| s.is_finite())?.clamp(0.1, 0.9);
        let life = self.signer.not_after.duration_since(self.signer.not_before).unwrap_or_default();
        let due = self.signer.not_before + life.mul_f64(share);
        Some(due.duration_since(now).unwrap_or_default())
    }
}
