use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::{SecretStore, TlsError, store::Slot};
use crate::model::{CertificateSource, Secret, SessionTickets, TlsCommon};

/// The secrets that a TLS context names.
#[derive(Debug)]
pub(super) struct Slots {
    certificates: Vec<(String, Arc<Slot>)>,
    roots: Option<(String, Arc<Slot>)>,
    ticket_keys: Option<(String, Arc<Slot>)>,
}

/// Secrets as they are at one moment.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) certificates: Vec<Arc<Secret>>,
    pub(super) roots: Option<Arc<Secret>>,
    pub(super) ticket_keys: Option<Arc<Secret>>,
}

impl Slots {
    pub(super) fn new(common: &TlsCommon, secrets: &SecretStore) -> Self {
        let certificates = common.certificates.iter().map(|source| match source {
            CertificateSource::Static(secret) => (secret.name.clone(), Slot::fixed(secret)),
            CertificateSource::Sds(name) => (name.name.clone(), secrets.slot(name)),
        });
        let roots = common.validation.as_ref().and_then(|v| match (&v.sds, &v.roots) {
            (Some(name), _) => Some((name.name.clone(), secrets.slot(name))),
            (None, Some(secret)) => Some((secret.name.clone(), Slot::fixed(secret))),
            (None, None) => None,
        });
        Self { certificates: certificates.collect(), roots, ticket_keys: None }
    }

    /// With the keys of session tickets too.
    pub(super) fn with_tickets(self, tickets: &SessionTickets, secrets: &SecretStore) -> Self {
        let ticket_keys = match tickets {
            SessionTickets::Static(secret) => Some((secret.name.clone(), Slot::fixed(secret))),
            SessionTickets::Sds(name) => Some((name.name.clone(), secrets.slot(name))),
            SessionTickets::Random | SessionTickets::Off => None,
        };
        Self { ticket_keys, ..self }
    }

    /// Changes when any of the secrets does.
    fn version(&self) -> u64 {
        self.certificates
            .iter()
            .chain(&self.roots)
            .chain(&self.ticket_keys)
            .map(|(_, slot)| slot.version())
            .fold(0, u64::wrapping_add)
    }

    /// All of them, or the name of one that has not arrived.
    fn current(&self) -> Result<Current, TlsError> {
        let value = |(name, slot): &(String, Arc<Slot>)| slot.value().ok_or_else(|| TlsError::NotReady(name.clone()));
        Ok(Current {
            certificates: self.certificates.iter().map(value).collect::<Result<_, _>>()?,
            roots: self.roots.as_ref().map(value).transpose()?,
            ticket_keys: self.ticket_keys.as_ref().map(value).transpose()?,
        })
    }
}

/// Something built from secrets, built again when one of them changed. Readers do not lock while nothing changes.
#[derive(Debug)]
pub(super) struct Live<C> {
    built: ArcSwapOption<Built<C>>,
    building: Mutex<()>,
}

#[derive(Debug)]
struct Built<C> {
    version: u64,
    value: Result<Arc<C>, TlsError>,
}

impl<C> Default for Live<C> {
    fn default() -> Self {
        Self { built: ArcSwapOption::empty(), building: Mutex::default() }
    }
}

impl<C> Live<C> {
    /// The value for the current secrets. When it cannot be built the last good one stays in use.
    pub(super) fn current(
        &self,
        slots: &Slots,
        build: impl FnOnce(Current) -> Result<C, TlsError>,
    ) -> Result<Arc<C>, TlsError> {
        let version = slots.version();
        if let Some(built) = &*self.built.load()
            && built.version == version
        {
            return built.value.clone();
        }
        let _one_at_a_time = self.building.lock();
        let before = self.built.load_full();
        if let Some(built) = &before
            && built.version == version
        {
            return built.value.clone();
        }
        let value = match slots.current().and_then(build).map(Arc::new) {
            Ok(value) => Ok(value),
            Err(error) => match before.and_then(|b| b.value.clone().ok()) {
                Some(last_good) => {
                    tracing::warn!(%error, "changed secret cannot be used; the last good one stays");
                    Ok(last_good)
                }
                None => Err(error),
            },
        };
        self.built.store(Some(Arc::new(Built { version, value: value.clone() })));
        value
    }
}
