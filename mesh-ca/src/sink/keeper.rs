//! [`CredentialKeeper`]: sees to it that each declared account has a good set.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{
    AccountStatus, CredentialSet, CredentialSink, KeeperStatus, Reason, ServiceAccount, SinkError, Verdict, judge,
};
use crate::{
    clock::Clock,
    issuer::{CertIssuer, Csr, CsrError, IssueError, IssueRequest},
    spiffe::{KeyError, KeyType, PrivateKey, SpiffeId, SpiffeIdError, TrustDomain, certificates_to_pem},
};

/// How accounts are kept.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KeeperConfig {
    /// The trust domain of the accounts' ids.
    pub trust_domain: TrustDomain,
    /// The lifetime to ask for. Default the issuer's.
    pub lifetime: Option<Duration>,
    /// The share of its life after which a certificate is renewed. Default 0.5; from 0.05 to 0.95.
    pub renew_after: f64,
    /// The kind of key, a new one with each certificate. Default ECDSA P-256.
    pub key_type: KeyType,
    /// How often everything is looked at, so that what somebody deletes or damages is repaired within this time. Default 10
    /// seconds; at least 100 milliseconds.
    pub check_interval: Duration,
    /// The first pause of an account after a failure; later ones double. Default 1 second.
    pub retry_initial: Duration,
    /// The longest pause. Default 1 minute.
    pub retry_max: Duration,
    /// Accounts worked on at once. Default 8; at least 1.
    pub concurrency: usize,
}

impl KeeperConfig {
    /// The defaults for a trust domain.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            lifetime: None,
            renew_after: 0.5,
            key_type: KeyType::default(),
            check_interval: Duration::from_secs(10),
            retry_initial: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            concurrency: 8,
        }
    }
}

/// Keeps the sets of all declared accounts for as long as this value lives. Dropping it ends the work; the sets stay.
///
/// When an issuer or sink fails, what is held stays as it is, and the account is tried again after a pause.
#[derive(Debug)]
pub struct CredentialKeeper {
    status: watch::Receiver<Arc<KeeperStatus>>,
    check: Arc<Notify>,
    task: JoinHandle<()>,
}

impl CredentialKeeper {
    /// Starts a task on the current tokio runtime. `accounts` are those declared, now and later; what the sink holds for
    /// others is removed.
    pub fn spawn(
        config: KeeperConfig,
        accounts: watch::Receiver<Arc<BTreeSet<ServiceAccount>>>,
        issuer: Arc<dyn CertIssuer>,
        sink: Arc<dyn CredentialSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (publish, status) = watch::channel(Arc::default());
        let check = Arc::new(Notify::new());
        let work = Work { config, issuer, sink, clock, pauses: BTreeMap::new(), publish };
        let task = tokio::spawn(work.run(accounts, Arc::clone(&check)));
        Self { status, check, task }
    }

    /// How the accounts are.
    pub fn status(&self) -> watch::Receiver<Arc<KeeperStatus>> {
        self.status.clone()
    }

    /// Looks at everything now.
    pub fn check_now(&self) {
        self.check.notify_one();
    }
}

impl Drop for CredentialKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why an account has no new set.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("{0}")]
    Sink(#[from] SinkError),
    #[error("{0}")]
    Issue(#[from] IssueError),
    #[error("key: {0}")]
    Key(#[from] KeyError),
    #[error("id: {0}")]
    Id(#[from] SpiffeIdError),
    #[error("signing request: {0}")]
    Csr(#[from] CsrError),
}

/// What was done for an account.
enum Done {
    Kept,
    Rewritten,
    Issued(Reason),
}

struct Pause {
    failures: u32,
    until: Instant,
}

struct Work {
    config: KeeperConfig,
    issuer: Arc<dyn CertIssuer>,
    sink: Arc<dyn CredentialSink>,
    clock: Arc<dyn Clock>,
    pauses: BTreeMap<ServiceAccount, Pause>,
    publish: watch::Sender<Arc<KeeperStatus>>,
}

impl Work {
    async fn run(mut self, mut accounts: watch::Receiver<Arc<BTreeSet<ServiceAccount>>>, check: Arc<Notify>) {
        let interval = self.config.check_interval.max(Duration::from_millis(100));
        loop {
            let declared = Arc::clone(&accounts.borrow_and_update());
            self.round(&declared).await;
            tokio::select! {
                () = self.clock.sleep(interval) => {}
                () = check.notified() => {}
                changed = accounts.changed() => if changed.is_err() {
                    // Nobody declares any more: those declared last stay in care.
                    self.clock.sleep(interval).await;
                },
            }
        }
    }

    async fn round(&mut self, declared: &BTreeSet<ServiceAccount>) {
        let now = self.clock.now().monotonic;
        self.pauses.retain(|account, _| declared.contains(account));
        let mut due = declared.iter().cloned().collect::<Vec<_>>();
        due.retain(|account| self.pauses.get(account).is_none_or(|p| p.until <= now));
        let work = due.into_iter().map(|account| self.tend(account));
        let outcomes: Vec<_> = stream::iter(work).buffer_unordered(self.config.concurrency.max(1)).collect().await;
        let removed = self.remove_others(declared).await;
        let mut status = KeeperStatus::clone(&self.publish.borrow());
        status.accounts.retain(|account, _| declared.contains(account));
        for (account, outcome) in outcomes {
            self.note(&mut status, account, outcome);
        }
        match removed {
            Ok(count) => status.removed += count,
            Err(error) => {
                status.failed += 1;
                tracing::warn!(%error, "credentials that are declared no more could not be removed");
            }
        }
        status.rounds += 1;
        self.publish.send_replace(Arc::new(status));
    }

    async fn tend(&self, account: ServiceAccount) -> (ServiceAccount, Result<(Done, AccountStatus), KeepError>) {
        let outcome = self.keep(&account).await;
        (account, outcome)
    }

    async fn keep(&self, account: &ServiceAccount) -> Result<(Done, AccountStatus), KeepError> {
        let id = account.id(&self.config.trust_domain)?;
        let (verdict, done) = match self.judge(account, &id).await? {
            keep @ Verdict::Keep { .. } => (keep, Done::Kept),
            Verdict::Rewrite(set) => {
                self.sink.store(account, &set).await?;
                (self.judge(account, &id).await?, Done::Rewritten)
            }
            Verdict::Issue(reason) => {
                self.sink.store(account, &self.issue(&id).await?).await?;
                tracing::info!(%account, %reason, "credentials written");
                (self.judge(account, &id).await?, Done::Issued(reason))
            }
        };
        match verdict {
            Verdict::Keep { renew_at, not_after, serial } => {
                let (serial, not_after, renew_at) = (Some(serial), Some(not_after), Some(renew_at));
                Ok((done, AccountStatus { serial, not_after, renew_at, ..AccountStatus::default() }))
            }
            // What was just written is read back, and must be good.
            other => Err(SinkError::Other(format!("what was written is not there as written: {other:?}")).into()),
        }
    }

    async fn judge(&self, account: &ServiceAccount, id: &SpiffeId) -> Result<Verdict, SinkError> {
        let stored = self.sink.load(account).await?;
        let now = self.clock.now().wall;
        Ok(judge(&stored, id, &self.issuer.trust_bundle(), now, self.config.renew_after))
    }

    async fn issue(&self, id: &SpiffeId) -> Result<CredentialSet, KeepError> {
        let key = PrivateKey::generate(self.config.key_type)?;
        let csr = Csr::from_pem(&Csr::create_pem(&key, id, &[])?)?;
        let request = IssueRequest { csr, id: id.clone(), dns_names: Vec::new(), lifetime: self.config.lifetime };
        let issued = self.issuer.issue(request).await?;
        Ok(CredentialSet::new(certificates_to_pem(&issued.chain), key.to_pem(), self.issuer.trust_bundle().to_pem()))
    }

    async fn remove_others(&self, declared: &BTreeSet<ServiceAccount>) -> Result<u64, SinkError> {
        let mut removed = 0;
        for account in self.sink.list().await?.into_iter().filter(|a| !declared.contains(a)) {
            self.sink.remove(&account).await?;
            tracing::info!(%account, "credentials removed: the account is declared no more");
            removed += 1;
        }
        Ok(removed)
    }

    fn note(
        &mut self,
        status: &mut KeeperStatus,
        account: ServiceAccount,
        outcome: Result<(Done, AccountStatus), KeepError>,
    ) {
        match outcome {
            Ok((done, good)) => {
                match done {
                    Done::Kept => {}
                    Done::Rewritten => status.rewritten += 1,
                    Done::Issued(Reason::Absent) => status.created += 1,
                    Done::Issued(Reason::Damaged(_)) => status.repaired += 1,
                    Done::Issued(Reason::Due) => status.renewed += 1,
                }
                self.pauses.remove(&account);
                status.accounts.insert(account, good);
            }
            Err(error) => {
                tracing::warn!(%account, %error, "credentials stay as they are");
                status.failed += 1;
                let now = self.clock.now().monotonic;
                let pause = self.pauses.entry(account.clone()).or_insert(Pause { failures: 0, until: now });
                let wait = self.config.retry_initial.saturating_mul(1 << pause.failures.min(16));
                pause.until = now + wait.min(self.config.retry_max);
                pause.failures = pause.failures.saturating_add(1);
                let held = status.accounts.entry(account).or_default();
                held.failures = pause.failures;
                held.last_error = Some(error.to_string().into());
            }
        }
    }
}
