//! [`RenewOnRefusal`]: a peer that refuses our certificate leads to a new one.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{AlertDescription, Error};

use crate::{agent::Renewer, clock::Clock};

/// Whether a handshake failed because the peer did not like our certificate, by the alert that it sent (RFC 8446 section 6.2).
pub fn is_refusal(error: &Error) -> bool {
    use AlertDescription as Alert;
    let Error::AlertReceived(alert) = error else { return false };
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            // A signature that does not hold: also that of a CA whose name the peer knows with another key.
            | Alert::DecryptError
    )
}

/// Renews an identity when peers refuse its certificate: it may be revoked, of a root that is not believed any more, or ended
/// by a clock that goes better than ours.
///
/// Anybody who can connect can send such an alert, so renewals for this reason have a least distance.
#[derive(Debug, Clone)]
pub struct RenewOnRefusal {
    renewer: Renewer,
    clock: Arc<dyn Clock>,
    distance: Duration,
    last: Arc<Mutex<Option<Instant>>>,
}

impl RenewOnRefusal {
    /// With a distance of one minute.
    pub fn new(renewer: Renewer, clock: Arc<dyn Clock>) -> Self {
        Self { renewer, clock, distance: Duration::from_secs(60), last: Arc::default() }
    }

    /// With another distance.
    #[must_use]
    pub fn with_distance(mut self, distance: Duration) -> Self {
        self.distance = distance;
        self
    }

    /// Takes note of a handshake, or of a connection, that failed. Gives whether a renewal was asked for.
    pub fn note(&self, error: &Error) -> bool {
        if !is_refusal(error) {
            return false;
        }
        let now = self.clock.now().monotonic;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.distance) {
            return false;
        }
        *last = Some(now);
        tracing::warn!(%error, "a peer refused our certificate; it is renewed");
        self.renewer.renew_now();
        true
    }

    /// The same for the error of a stream, as tokio-rustls gives it.
    pub fn note_io(&self, error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).is_some_and(|inner| self.note(inner))
    }
}
