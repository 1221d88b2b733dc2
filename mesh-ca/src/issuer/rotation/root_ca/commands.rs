//! The steps of a [`RotatingCa`]: what an operator may ask for, and what its supervisor does.

use std::{sync::Arc, time::Duration, time::SystemTime};

use tokio::sync::MutexGuard;

use super::{
    RotatingCa,
    change::{self, Change},
};
use crate::issuer::{
    revocation::{MAX_REVOKED, RevocationReason, Revoked},
    rotation::{
        encoding,
        error::{RotatingCaError, RotationRefused},
        holders::{BundleHolders, Laggards},
        keys::Root,
        machine::{Decision, RootPhase, RotationState, Transition},
        status::RotationStatus,
    },
    store::StoreItem,
};

/// Steps made in one go at most; there are no circles of steps, but a bound costs nothing.
const MOST_STEPS: usize = 8;

impl RotatingCa {
    /// Starts a rotation: makes a new root, and gives it to everybody.
    ///
    /// # Errors
    /// When one is under way, or the root cannot be made or stored.
    pub async fn start(&self) -> Result<RotationStatus, RotatingCaError> {
        let mut change = self.change.lock().await;
        self.begin(&mut change).await?;
        Ok(self.finish(&change))
    }

    /// Goes back to the old root. Before the new one signs, that is done at once; after that, everybody is moved back first.
    ///
    /// # Errors
    /// When no rotation is under way, it is being aborted already, or the old root has ended.
    pub async fn abort(&self) -> Result<RotationStatus, RotatingCaError> {
        let mut change = self.change.lock().await;
        self.step(&mut change, &Transition::Abort, None).await?;
        Ok(self.finish(&change))
    }

    /// Goes on to the next phase without waiting for proof: whoever is behind may be cut off until it renews.
    ///
    /// # Errors
    /// When no proof is being waited for.
    pub async fn approve(&self) -> Result<RotationStatus, RotatingCaError> {
        let mut change = self.change.lock().await;
        self.step(&mut change, &Transition::Approve, None).await?;
        Ok(self.finish(&change))
    }

    /// Where the rotation is, and whom it waits for.
    pub async fn status(&self) -> RotationStatus {
        let change = self.change.lock().await;
        self.status_of(&change)
    }

    /// Takes a certificate back: it stands on the revocation list from now on. One that is revoked already stays so.
    ///
    /// # Errors
    /// When no certificate with this serial number (hexadecimal) is valid, or the record cannot be stored.
    pub async fn revoke(&self, serial: &str, reason: RevocationReason) -> Result<(), RotatingCaError> {
        let mut change = self.change.lock().await;
        let now = self.clock.now().wall;
        let serial = serial.to_ascii_lowercase().replace(':', "");
        if change.revocations.contains(&serial) {
            return Ok(());
        }
        let known = self.table.leaf(&serial, now).filter(|_| serial.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some((id, root, not_after)) = known else { return Err(RotatingCaError::UnknownSerial(serial)) };
        if change.revocations.all.len() >= MAX_REVOKED {
            return Err(RotatingCaError::Crl(format!("{MAX_REVOKED} certificates are revoked already")));
        }
        tracing::warn!(%id, serial, %reason, "certificate revoked");
        let revoked = Revoked { serial, id: id.to_string(), root, reason, at: now, not_after };
        let mut next = change.clone();
        next.revocations.all.push(revoked);
        self.relist(&mut change, next, now).await
    }

    /// The certificates that are revoked and were valid when the lists were last made.
    pub async fn revoked(&self) -> Vec<Revoked> {
        self.change.lock().await.revocations.all.clone()
    }

    /// Does what is due, and gives the time until something may be due again. [`RotatingCa::supervise`] calls it.
    ///
    /// # Errors
    /// When a step could not be made; it is due still.
    pub async fn tick(&self) -> Result<Duration, RotatingCaError> {
        let mut change = self.change.lock().await;
        let relist_in = self.refresh_lists(&mut change).await?;
        for _ in 0..MOST_STEPS {
            let now = change.judged_at(self.clock.now());
            let behind = self.behind(&change.state, now);
            match change.state.decide(&self.config.rotation, &behind, now) {
                Decision::Wait(wait) => return Ok(wait.min(relist_in)),
                Decision::Begin => self.begin(&mut change).await?,
                Decision::Apply(step) => self.step(&mut change, &step, None).await?,
            }
        }
        Ok(Duration::ZERO)
    }

    fn finish(&self, change: &MutexGuard<'_, Change>) -> RotationStatus {
        self.wake.notify_one();
        self.status_of(change)
    }

    fn status_of(&self, change: &Change) -> RotationStatus {
        let now = self.clock.now();
        let behind = self.behind(&change.state, change.judged_at(now));
        RotationStatus::of(&change.state, &self.config.rotation, behind, now.wall)
    }

    fn behind(&self, state: &RotationState, now: SystemTime) -> Laggards {
        let Some(question) = state.question() else { return Laggards::default() };
        let all = self.others.iter().map(|o| o.behind(&question, now));
        all.fold(self.table.behind(&question, now), Laggards::and)
    }

    async fn begin(&self, change: &mut Change) -> Result<(), RotatingCaError> {
        if change.state.phase != RootPhase::Steady {
            return Err(RotationRefused::UnderWay(change.state.phase).into());
        }
        let (now, generation) = (self.clock.now().wall, change.state.generation + 1);
        let root = Root::make(&self.keys, &self.config.ca, generation, now).await?;
        let step = Transition::Distribute(root.facts.clone());
        self.step(change, &step, Some(root)).await
    }

    /// Stores a step, and then makes it.
    async fn step(&self, change: &mut Change, step: &Transition, coming: Option<Root>) -> Result<(), RotatingCaError> {
        let now = self.clock.now();
        let state = change.state.apply(step, now.wall)?;
        let gone = change.other.clone().filter(|_| state.other.is_none());
        let mut next = change.with(state, coming, now)?;
        if next.revocations.is_in_use() {
            next.renumber(&*self.store, now.wall).await?;
        }
        let (in_force, published) = next.assemble(&self.config, now.wall).await?;
        let text = encoding::encode(&next.state, &next.signer, next.other.as_ref())?;
        self.store.replace(StoreItem::SigningCa, text.as_bytes()).await?;
        *change = next;
        {
            // Whatever the root before has signed is on record when this is passed.
            let _gate = self.gate.write().await;
            self.current.store(Arc::new(in_force));
        }
        self.publish(published).await;
        let (phase, root) = (change.state.phase, &change.signer.facts.id);
        tracing::info!(%phase, signer = %root, sequence = change.state.sequence, "root rotation");
        if let Some(root) = gone {
            root.destroy(&self.keys).await;
        }
        Ok(())
    }

    async fn publish(&self, published: super::Published) {
        change::publish_files(&*self.store, &published.bundle).await;
        self.published.send_if_modified(|current| {
            let changed = **current != published;
            if changed {
                *current = Arc::new(published);
            }
            changed
        });
    }

    /// Makes new lists when half of the life of those in force is over; gives the time until then.
    async fn refresh_lists(&self, change: &mut Change) -> Result<Duration, RotatingCaError> {
        if !change.revocations.is_in_use() {
            return Ok(Duration::MAX);
        }
        let (now, half) = (self.clock.now().wall, self.config.crl_lifetime / 2);
        // A clock that was set back makes lists that begin in the future: new ones at once.
        let age = now.duration_since(change.listed).ok();
        if let Some(rest) = age.and_then(|age| half.checked_sub(age)).filter(|rest| !rest.is_zero()) {
            return Ok(rest);
        }
        let next = change.clone();
        self.relist(change, next, now).await?;
        Ok(half)
    }

    /// Puts `next`, which differs in what is revoked, in force.
    async fn relist(&self, change: &mut Change, mut next: Change, now: SystemTime) -> Result<(), RotatingCaError> {
        next.renumber(&*self.store, now).await?;
        let (in_force, published) = next.assemble(&self.config, now).await?;
        *change = next;
        self.current.store(Arc::new(in_force));
        self.publish(published).await;
        Ok(())
    }
}
