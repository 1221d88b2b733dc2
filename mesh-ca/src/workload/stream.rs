//! Streams that send again when something has changed.

use std::{future::Future, sync::Arc};

use futures::{StreamExt, stream::select_all};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tonic::{Code, Status};

use super::{bundles::BundleSet, delivery::Delivery, responses, service::Caller};
use crate::{
    agent::WorkloadIdentity,
    api::workload::X509svidResponse,
    audit::AuditOutcome,
    authn::Identity,
    spiffe::{SpiffeId, TrustBundles, X509Svid},
};

type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Runs a stream until it ends or the caller is gone.
pub(super) fn spawn<T: Send + 'static, F: Future<Output = Status> + Send + 'static>(
    slot: OwnedSemaphorePermit,
    run: impl FnOnce(Sender<T>) -> F,
) -> ReceiverStream<Result<T, Status>> {
    // One message waits at most: while a caller does not read, changes are merged into the next one.
    let (sender, receiver) = mpsc::channel(1);
    let work = run(sender.clone());
    tokio::spawn(async move {
        let _slot = slot;
        tokio::select! {
            () = sender.closed() => {}
            status = work => {
                // The caller may have gone meanwhile.
                let _ = sender.send(Err(status)).await;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Bundles, as `answer` puts them.
pub(super) struct BundleStream<T> {
    caller: Caller,
    bundles: watch::Receiver<Arc<BundleSet>>,
    answer: fn(&BundleSet) -> T,
    delivery: Option<Delivery>,
}

impl<T: PartialEq + Clone> BundleStream<T> {
    pub(super) fn new(caller: Caller, answer: fn(&BundleSet) -> T) -> Self {
        Self { bundles: caller.bundles(), caller, answer, delivery: None }
    }

    /// A rotation waits for what this stream hands out.
    pub(super) fn of_rotation(mut self, identity: &Identity) -> Self {
        self.delivery = self.caller.delivery(identity);
        self
    }

    pub(super) async fn run(mut self, sender: Sender<T>) -> Status {
        let mut sent = None;
        let mut told = self.delivery.as_ref().map(Delivery::subscribe);
        loop {
            if let Err(status) = self.caller.identify().await {
                return status;
            }
            let current = Arc::clone(&self.bundles.borrow_and_update());
            let answer = (self.answer)(&current);
            if sent.as_ref() != Some(&answer) {
                if sender.send(Ok(answer.clone())).await.is_err() {
                    return gone();
                }
                sent = Some(answer);
            }
            if let Some(delivery) = &self.delivery {
                if !taken(&sender).await {
                    return gone();
                }
                delivery.bundles_taken(&current.x509);
            }
            tokio::select! {
                () = changed(Some(&mut self.bundles)) => {}
                () = changed(told.as_mut()) => {}
            }
        }
    }
}

/// The certificates of a caller with their keys, and whom to believe.
pub(super) struct SvidStream {
    caller: Caller,
    delivery: Option<Delivery>,
}

/// What was sent last, without keys.
#[derive(PartialEq)]
struct Sent {
    serials: Vec<(SpiffeId, String)>,
    /// Just these: JWT keys that change are no news here.
    bundles: TrustBundles,
}

impl SvidStream {
    pub(super) fn new(caller: Caller, identity: &Identity) -> Self {
        Self { delivery: caller.delivery(identity), caller }
    }

    pub(super) async fn run(self, sender: Sender<X509svidResponse>) -> Status {
        let mut sent = None;
        loop {
            let identity = match self.caller.identify().await {
                Ok(identity) => identity,
                Err(status) => return status,
            };
            let held = match self.hold(&identity) {
                Ok(held) => held,
                Err(status) => return status,
            };
            if let Err(status) = self.send_changes(&sender, &identity, &held, &mut sent).await {
                return status;
            }
        }
    }

    fn hold(&self, identity: &Identity) -> Result<Vec<Arc<WorkloadIdentity>>, Status> {
        let all = identity.ids.iter().map(|id| self.caller.shared.pool.identity(id));
        all.collect::<Result<_, _>>().map_err(|full| {
            tracing::warn!(%full, "identity pool is full");
            self.caller.refuse(Some(identity), Code::Unavailable, full.to_string())
        })
    }

    /// Sends what is in force, unless it was sent before, and waits for the next change.
    async fn send_changes(
        &self,
        sender: &Sender<X509svidResponse>,
        identity: &Identity,
        held: &[Arc<WorkloadIdentity>],
        sent: &mut Option<Sent>,
    ) -> Result<(), Status> {
        let unavailable = |reason: &str| self.caller.refuse(Some(identity), Code::Unavailable, reason.to_owned());
        if sent.is_none() {
            self.wait_for_first(held).await.map_err(|()| unavailable("no certificate could be obtained in time"))?;
        }
        // Subscribed before looking, so that no change falls between.
        let mut bundles = self.caller.bundles();
        let current = Arc::clone(&bundles.borrow_and_update());
        let mut changes = select_all(held.iter().map(|identity| {
            let mut state = identity.watch().subscribe();
            state.mark_unchanged();
            WatchStream::from_changes(state).map(|_| ()).boxed()
        }));
        changes.push(WatchStream::from_changes(bundles).map(|_| ()).boxed());
        if let Some(delivery) = &self.delivery {
            changes.push(WatchStream::from_changes(delivery.subscribe()).map(|_| ()).boxed());
        }

        let svids: Vec<Arc<X509Svid>> = held.iter().filter_map(|i| i.watch().svid()).collect();
        if svids.is_empty() {
            return Err(unavailable("the certificates have ended and could not be renewed"));
        }
        let serials = svids.iter().map(|s| (s.id().clone(), s.serial().to_owned())).collect();
        let now = Sent { serials, bundles: current.x509.clone() };
        if sent.as_ref() != Some(&now) {
            let response = responses::x509_svids(&svids, &current)
                .ok_or_else(|| unavailable("there is no bundle for the trust domain"))?;
            if let Some(delivery) = &self.delivery {
                delivery.sending(&svids, self.caller.clock().now().wall);
            }
            sender.send(Ok(response)).await.map_err(|_| gone())?;
            self.record_new(identity, &svids, sent.as_ref());
            *sent = Some(now);
        }
        if let Some(delivery) = &self.delivery {
            if !taken(sender).await {
                return Err(gone());
            }
            delivery.taken(&svids, &current.x509, self.caller.clock().now().wall);
        }
        // A channel of bundles that nobody publishes to any more drops out; what was published last stays in force.
        changes.next().await;
        Ok(())
    }

    /// Waits until each identity has a certificate.
    async fn wait_for_first(&self, held: &[Arc<WorkloadIdentity>]) -> Result<(), ()> {
        let ready = async {
            for identity in held {
                if identity.watch().ready().await.is_none() {
                    return Err(());
                }
            }
            Ok(())
        };
        tokio::select! {
            outcome = ready => outcome,
            () = self.caller.clock().sleep(self.caller.first_svid_timeout()) => Err(()),
        }
    }

    /// One audit record for each certificate that this caller had not been given before.
    fn record_new(&self, identity: &Identity, svids: &[Arc<X509Svid>], sent: Option<&Sent>) {
        for svid in svids {
            let known = sent.is_some_and(|s| s.serials.iter().any(|(_, serial)| serial == svid.serial()));
            if !known {
                let (id, serial) = (svid.id().clone(), svid.serial().to_owned());
                self.caller.record(Some(identity), AuditOutcome::Issued { id, serial, not_after: svid.not_after() });
            }
        }
    }
}

/// Waits for the next change; for ever when nothing is followed, or nobody publishes any more: what was published last stays in
/// force.
async fn changed<T>(followed: Option<&mut watch::Receiver<T>>) {
    let alive = match followed {
        Some(followed) => followed.changed().await.is_ok(),
        None => false,
    };
    if !alive {
        std::future::pending().await
    }
}

/// Waits until the transport has taken all that was sent; `false` when the caller is gone.
async fn taken<T>(sender: &Sender<T>) -> bool {
    sender.reserve().await.is_ok()
}

/// Nobody reads this: the caller has gone.
fn gone() -> Status {
    Status::cancelled("the caller has gone")
}
