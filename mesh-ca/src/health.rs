//! What is near its end, before it hurts: readiness, warnings and metrics of a CA.
//!
//! ```
//! # use mesh_ca::{health::{Health, HealthPolicy}, issuer::CertIssuer, agent::IdentityWatch};
//! # use std::time::SystemTime;
//! # fn show(ca: &dyn CertIssuer, serving: &IdentityWatch) {
//! let health = Health::of(ca, Some(serving), &HealthPolicy::default(), SystemTime::now());
//! if !health.is_ready() {
//!     println!("not ready: {}", health.reasons().join("; "));
//! }
//! print!("{}", health.to_prometheus());
//! # }
//! ```

use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{agent::IdentityWatch, issuer::CertIssuer};

/// When to warn, and when to give up. A plain value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HealthPolicy {
    /// The share of a certificate's life after which it is warned of. Default 0.8: a serving certificate is renewed long before,
    /// and a CA of ten years leaves two to replace it.
    pub warn_after: f64,
    /// So long before the end of the CA's or the serving certificate an instance is not ready any more: others should be asked.
    /// Default 10 minutes; at most a tenth of the certificate's life.
    pub unready_before_end: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self { warn_after: 0.8, unready_before_end: Duration::from_secs(10 * 60) }
    }
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A root that workloads believe.
    Root,
    /// The issuer's own certificate, or one above it.
    Signer,
    /// The certificate that the instance itself shows.
    Serving,
    /// A revocation list: it ends when the next one was promised. Peers like Envoy refuse every certificate then.
    RevocationList,
}

impl Role {
    /// A name for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root certificate",
            Self::Signer => "signing certificate",
            Self::Serving => "serving certificate",
            Self::RevocationList => "revocation list",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Far from its end.
    Good,
    /// Most of its life is over: replace it.
    Warning,
    /// Ended, not begun, or so near its end that it should not be used.
    Dead,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expiry {
    /// What it is for.
    pub role: Role,
    /// When it ends; `None` when there should be one and is none.
    pub not_after: Option<SystemTime>,
    /// How bad it is.
    pub level: Level,
}

/// The state of a CA at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// When it was looked at.
    pub at: SystemTime,
    /// Each root, the signer, the serving certificate if one was asked for, and each revocation list that names its end; in
    /// this order.
    pub expiries: Vec<Expiry>,
}

impl Health {
    /// Looks at an issuer, and at the certificate that its server shows, at the time `now`.
    pub fn of(ca: &dyn CertIssuer, serving: Option<&IdentityWatch>, policy: &HealthPolicy, now: SystemTime) -> Self {
        let bundle = ca.trust_bundle();
        let roots = bundle.roots().iter().map(|r| (Role::Root, Some((r.not_before(), r.not_after()))));
        let signer = (Role::Signer, Some((ca.begins(), ca.expires())));
        let shown = serving.map(|watch| {
            let svid = watch.state().svid.clone();
            (Role::Serving, svid.map(|s| (s.not_before(), s.not_after())))
        });
        let lists = bundle.crls().iter().filter_map(|list| Some((list.this_update(), list.next_update()?)));
        let lists = lists.map(|life| (Role::RevocationList, Some(life)));
        let all = roots.chain([signer]).chain(shown).chain(lists).map(|(role, life)| Expiry {
            role,
            not_after: life.map(|(_, end)| end),
            level: life.map_or(Level::Dead, |(begin, end)| level(begin, end, policy, now)),
        });
        Self { at: now, expiries: all.collect() }
    }

    /// Whether the instance should be asked for certificates: signer and serving certificate are alive, and a root is. A
    /// revocation list that has ended is warned of: another instance would have the same.
    pub fn is_ready(&self) -> bool {
        let dead = |role| self.of_role(role).any(|e| e.level == Level::Dead);
        let rooted = self.of_role(Role::Root).any(|e| e.level < Level::Dead);
        rooted && !dead(Role::Signer) && !dead(Role::Serving)
    }

    /// What is not good, in words.
    pub fn reasons(&self) -> Vec<String> {
        let bad = self.expiries.iter().filter(|e| e.level > Level::Good);
        bad.map(|e| match e.not_after {
            None => format!("there is no {}", e.role.name()),
            Some(end) if end <= self.at => {
                format!("the {} ended at {}", e.role.name(), time::OffsetDateTime::from(end))
            }
            Some(end) => format!("the {} ends at {}", e.role.name(), time::OffsetDateTime::from(end)),
        })
        .collect()
    }

    /// Gauges in Prometheus' text form: for root and chain by Istio's names, the earliest end of each; what is missing is -1.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        for (role, name) in [
            (Role::Root, "citadel_server_root_cert_expiry"),
            (Role::Signer, "citadel_server_cert_chain_expiry"),
            (Role::Serving, "mesh_ca_serving_cert_expiry"),
            (Role::RevocationList, "mesh_ca_crl_expiry"),
        ] {
            let Some(first) = self.of_role(role).map(|e| e.not_after).min() else { continue };
            let since = |from| first.map_or(-1.0, |end| seconds_between(from, end));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# TYPE {name}_timestamp gauge\n{name}_timestamp {}", since(UNIX_EPOCH));
            let _ = writeln!(text, "# TYPE {name}_seconds gauge\n{name}_seconds {}", since(self.at));
        }
        let _ = writeln!(text, "# TYPE mesh_ca_ready gauge\nmesh_ca_ready {}", u8::from(self.is_ready()));
        text
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &Expiry> {
        self.expiries.iter().filter(move |e| e.role == role)
    }
}

/// Negative when `to` is earlier; whole seconds.
fn seconds_between(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(ahead) => ahead.as_secs_f64().floor(),
        Err(behind) => -behind.duration().as_secs_f64().ceil(),
    }
}

fn level(begin: SystemTime, end: SystemTime, policy: &HealthPolicy, now: SystemTime) -> Level {
    let Ok(left) = end.duration_since(now) else { return Level::Dead };
    let life = end.duration_since(begin).unwrap_or_default();
    if now < begin || left <= policy.unready_before_end.min(life / 10) {
        return Level::Dead;
    }
    let lived = now.duration_since(begin).unwrap_or_default();
    if lived.as_secs_f64() >= life.as_secs_f64() * policy.warn_after { Level::Warning } else { Level::Good }
}
