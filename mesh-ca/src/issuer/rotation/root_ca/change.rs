//! [`Change`]: what only one task at a time may touch, and how it becomes what is in force.

use std::{sync::Arc, time::SystemTime};

use super::{InForce, Published, RotatingCaConfig};
use crate::{
    clock::Now,
    issuer::{
        authority::Authority,
        revocation::Revocations,
        rotation::{
            error::RotatingCaError,
            keys::Root,
            machine::{RootPhase, RotationState},
        },
        self_signed::SelfSignedError,
        store::{CaStore, StoreError, StoreItem},
    },
    spiffe::{Crl, TrustBundle},
};

/// The state with its roots, as stored.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) state: RotationState,
    pub(super) signer: Root,
    pub(super) other: Option<Root>,
    pub(super) revocations: Revocations,
    /// When the revocation lists in force were made.
    pub(super) listed: SystemTime,
    /// Both clocks when this phase began in this process.
    anchor: Now,
}

impl Change {
    pub(super) fn new(
        state: RotationState,
        signer: Root,
        other: Option<Root>,
        revocations: Revocations,
        now: Now,
    ) -> Self {
        Self { state, signer, other, revocations, listed: now.wall, anchor: now }
    }

    /// After a step: the root with these facts signs, and `coming` may be one of them.
    pub(super) fn with(&self, state: RotationState, coming: Option<Root>, now: Now) -> Result<Self, RotatingCaError> {
        let mut roots: Vec<Root> = [self.signer.clone()].into_iter().chain(self.other.clone()).chain(coming).collect();
        let mut take = |facts| {
            let at = roots.iter().position(|r| r.facts == facts);
            at.map(|at| roots.swap_remove(at)).ok_or_else(|| SelfSignedError::Create("a root is missing".into()))
        };
        let signer = take(state.signer.clone())?;
        let other = state.other.clone().map(take).transpose()?;
        // An approval begins no phase.
        let anchor = if state.since == self.state.since { self.anchor } else { now };
        Ok(Self { state, signer, other, anchor, ..self.clone() })
    }

    /// The time by which proofs are judged: while a rotation is under way, a wall clock that was set forward ends no
    /// certificate and no waiting. (It may have been right to set it: then the proof comes later than it could.)
    pub(super) fn judged_at(&self, now: Now) -> SystemTime {
        if self.state.phase == RootPhase::Steady {
            return now.wall;
        }
        let passed = now.monotonic.saturating_duration_since(self.anchor.monotonic);
        now.wall.min(self.anchor.wall + passed)
    }

    /// Counts the revocation lists on, before new ones are signed: no number is used twice.
    pub(super) async fn renumber(&mut self, store: &dyn CaStore, now: SystemTime) -> Result<(), RotatingCaError> {
        let next = self.revocations.next(self.listed);
        store_revocations(store, &next).await?;
        (self.revocations, self.listed) = (next, now);
        Ok(())
    }

    /// Signs the lists, and puts together what is in force.
    pub(super) async fn assemble(
        &self,
        config: &RotatingCaConfig,
        now: SystemTime,
    ) -> Result<(InForce, Published), RotatingCaError> {
        let mut roots: Vec<&Root> = [&self.signer].into_iter().chain(&self.other).collect();
        // By age, so that a change of the signer changes nothing for those who hold the bundle.
        roots.sort_by_key(|r| r.generation);
        let damaged = |e: &dyn std::fmt::Display| SelfSignedError::Damaged { reason: e.to_string() };
        let certificates = roots.iter().map(|r| r.certificate.clone());
        let bare =
            TrustBundle::new(config.ca.trust_domain.clone(), certificates).map_err(|e| damaged(&e)).map(Arc::new)?;
        let mut lists = Vec::new();
        if self.revocations.is_in_use() {
            // Peers that check ask for a list of every CA: so each root has one, if only an empty one.
            for root in roots.iter().filter(|r| now < r.facts.not_after) {
                let authority = root.authority(&bare, &config.ca)?;
                let params = self.revocations.list(&root.facts.id, now, config.crl_lifetime);
                lists.push(sign(authority, params).await?);
            }
        }
        let bundle = Arc::new(TrustBundle::clone(&bare).with_crls(lists));
        let authority = Arc::new(self.signer.authority(&bundle, &config.ca)?);
        let (signer, sequence) = (self.signer.facts.id.clone(), self.state.sequence);
        let published = Published { bundle, sequence, tainted: self.state.tainted().cloned() };
        Ok((InForce { authority, signer, sequence }, published))
    }
}

async fn sign(authority: Authority, params: rcgen::CertificateRevocationListParams) -> Result<Crl, RotatingCaError> {
    // A key that is elsewhere may block.
    let signed = tokio::task::spawn_blocking(move || authority.sign_crl(&params)).await;
    signed.map_err(|e| RotatingCaError::Crl(e.to_string()))?.map_err(RotatingCaError::Crl)
}

pub(super) async fn load_revocations(store: &dyn CaStore) -> Result<Revocations, RotatingCaError> {
    match store.load(StoreItem::Revocations).await? {
        Some(text) => serde_json::from_slice(&text).map_err(|e| RotatingCaError::Revocations(e.to_string())),
        None => Ok(Revocations::default()),
    }
}

pub(super) async fn store_revocations(store: &dyn CaStore, revocations: &Revocations) -> Result<(), StoreError> {
    let text = serde_json::to_vec(revocations).map_err(|e| StoreError::Other(e.to_string()))?;
    store.replace(StoreItem::Revocations, &text).await
}

/// The public copies, for whoever reads files. What counts is the state: a failure is reported and mended by the next change.
pub(super) async fn publish_files(store: &dyn CaStore, bundle: &TrustBundle) {
    let lists: String = bundle.crls().iter().map(Crl::to_pem).collect();
    for (item, content) in [(StoreItem::RootCertificates, bundle.to_pem()), (StoreItem::Crl, lists)] {
        let kept = store.load(item).await.ok().flatten();
        let is_there = match &kept {
            Some(kept) => kept.as_slice() == content.as_bytes(),
            None => content.is_empty(),
        };
        if !is_there && let Err(error) = store.replace(item, content.as_bytes()).await {
            tracing::error!(item = item.name(), %error, "a public file of the CA could not be written");
        }
    }
}
