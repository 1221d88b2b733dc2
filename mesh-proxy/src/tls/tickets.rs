//! Sessions that are resumed: for how long, under which keys, and only where the same is asked of the peer.
//!
//! What rustls keeps of a session is written with two things before it: when it ends, and a digest of what its peer was
//! verified against. So a ticket under shared keys opens no session that was made under other roots.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use rustls::{
    crypto::aws_lc_rs::Ticketer,
    server::{NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions},
    time_provider::TimeProvider,
};

use super::TlsError;
use crate::{
    hash::sha256,
    model::{Resumption, Secret, SecretValue, SessionTicketKey, SessionTickets},
};

/// Session life when nothing is said: BoringSSL's.
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

/// Sessions kept by id.
const KEPT: usize = 1024;

/// Length of a key's name.
const NAME: usize = 16;

/// What stands before a session.
#[derive(Clone, Debug)]
struct Frame {
    lifetime: u32,
    context: [u8; 32],
    clock: Arc<dyn TimeProvider>,
}

impl Frame {
    fn wrap(&self, session: &[u8]) -> Option<Vec<u8>> {
        let end = self.clock.current_time()?.as_secs().checked_add(u64::from(self.lifetime))?;
        Some([&end.to_be_bytes(), &self.context[..], session].concat())
    }

    fn unwrap(&self, framed: &[u8]) -> Option<Vec<u8>> {
        let (end, rest) = framed.split_first_chunk()?;
        let (context, session) = rest.split_first_chunk::<32>()?;
        let live = self.clock.current_time()?.as_secs() < u64::from_be_bytes(*end);
        (live && *context == self.context).then(|| session.to_vec())
    }
}

/// How a server resumes sessions.
pub(super) struct Sessions {
    pub(super) tickets: Option<Arc<dyn ProducesTickets>>,
    pub(super) storage: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    /// `keys` is the secret with the keys of tickets, if they are given. `context` tells configurations apart between which
    /// sessions must not move.
    pub(super) fn new(
        config: &Resumption,
        keys: Option<&Secret>,
        context: [u8; 32],
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let lifetime = u32::try_from(config.timeout.unwrap_or(LIFETIME).as_secs()).unwrap_or(u32::MAX);
        let frame = Frame { lifetime, context, clock };
        let sealer: Option<Arc<dyn ProducesTickets>> = match (&config.tickets, keys) {
            (SessionTickets::Off, _) => None,
            (_, Some(secret)) => Some(Arc::new(GivenKeys::new(secret)?)),
            (_, None) => Some(Ticketer::new()?),
        };
        let storage: Arc<dyn StoresServerSessions> = if config.stateless_only {
            Arc::new(NoServerSessionStorage {})
        } else {
            Arc::new(Kept { frame: frame.clone(), inner: ServerSessionMemoryCache::new(KEPT) })
        };
        let tickets = sealer.map(|sealer| -> Arc<dyn ProducesTickets> { Arc::new(Tickets { frame, sealer }) });
        Ok(Self { tickets, storage })
    }
}

/// Tickets with an end.
#[derive(Debug)]
struct Tickets {
    frame: Frame,
    sealer: Arc<dyn ProducesTickets>,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.frame.lifetime > 0
    }

    fn lifetime(&self) -> u32 {
        self.frame.lifetime.min(self.sealer.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.sealer.encrypt(&self.frame.wrap(plain)?)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.frame.unwrap(&self.sealer.decrypt(cipher)?)
    }
}

/// Sessions with an end, kept by id.
#[derive(Debug)]
struct Kept {
    frame: Frame,
    inner: Arc<ServerSessionMemoryCache>,
}

impl StoresServerSessions for Kept {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.frame.wrap(&value).is_some_and(|framed| self.inner.put(key, framed))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.frame.unwrap(&self.inner.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.frame.unwrap(&self.inner.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

/// Whether keys can be used.
pub(super) fn check_keys(secret: &Secret) -> Result<(), TlsError> {
    GivenKeys::new(secret).map(drop)
}

/// Keys that others have too. A ticket is the name of its key, a nonce, and the session sealed with AES-256-GCM.
#[derive(Debug)]
struct GivenKeys(Vec<([u8; NAME], RandomizedNonceKey)>);

impl GivenKeys {
    fn new(secret: &Secret) -> Result<Self, TlsError> {
        let SecretValue::SessionTicketKeys(keys) = &secret.value else {
            return Err(TlsError::WrongKind { name: secret.name.clone(), wanted: "set of session ticket keys" });
        };
        let one = |SessionTicketKey(bytes): &SessionTicketKey| {
            let (name, key) = bytes.split_first_chunk()?;
            Some((*name, RandomizedNonceKey::new(&AES_256_GCM, &sha256(key)).ok()?))
        };
        let keys: Option<Vec<_>> = keys.iter().map(one).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self).ok_or_else(|| TlsError::TicketKeys(secret.name.clone()))
    }
}

impl ProducesTickets for GivenKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::MAX
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.0.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<12>()?;
        let (_, key) = self.0.iter().find(|(known, _)| known == name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        key.open_in_place(nonce, Aad::from(name), &mut opened).ok().map(|plain| plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use rustls_pki_types::UnixTime;

    use super::*;

    #[derive(Debug)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Relaxed))))
        }
    }

    fn keys(fill: &[u8]) -> Secret {
        let keys = fill.iter().map(|byte| SessionTicketKey([*byte; 80])).collect();
        Secret { name: "k".into(), value: SecretValue::SessionTicketKeys(keys) }
    }

    fn sessions(keys: Option<&Secret>, context: u8, clock: &Arc<Clock>) -> Sessions {
        let config = Resumption { timeout: Some(Duration::from_millis(10_900)), ..Resumption::default() };
        Sessions::new(&config, keys, [context; 32], clock.clone()).unwrap()
    }

    #[test]
    fn tickets_end_and_belong_to_their_context() {
        let clock = Arc::new(Clock(AtomicU64::new(100)));
        for keys in [None, Some(&keys(&[1]))] {
            clock.0.store(100, Relaxed);
            let own = sessions(keys, 1, &clock);
            let tickets = own.tickets.unwrap();
            assert_eq!(tickets.lifetime(), 10);
            let ticket = tickets.encrypt(b"session").unwrap();
            assert!(!ticket.windows(7).any(|w| w == b"session"));
            assert_eq!(tickets.decrypt(&ticket).unwrap(), b"session");
            assert!(own.storage.put(b"id".to_vec(), b"kept".to_vec()));
            assert_eq!(own.storage.get(b"id").unwrap(), b"kept");
            if let Some(keys) = keys {
                let other = sessions(Some(keys), 2, &clock).tickets.unwrap();
                assert_eq!(other.decrypt(&ticket), None);
            }
            clock.0.store(110, Relaxed);
            assert_eq!(tickets.decrypt(&ticket), None);
            assert_eq!(own.storage.take(b"id"), None);
        }
    }

    #[test]
    fn given_keys_are_shared_and_rotate() {
        let clock = Arc::new(Clock(AtomicU64::new(100)));
        let old = sessions(Some(&keys(&[1])), 1, &clock).tickets.unwrap();
        let new = sessions(Some(&keys(&[2, 1])), 1, &clock).tickets.unwrap();
        let gone = sessions(Some(&keys(&[2])), 1, &clock).tickets.unwrap();
        let ticket = old.encrypt(b"session").unwrap();
        assert_eq!(new.decrypt(&ticket).unwrap(), b"session");
        assert_eq!(gone.decrypt(&ticket), None);
        assert_eq!(gone.decrypt(&new.encrypt(b"x").unwrap()).unwrap(), b"x");
        for n in 0..ticket.len() {
            assert_eq!(new.decrypt(&ticket[..n]), None);
            let mut damaged = ticket.clone();
            damaged[n] ^= 1;
            assert_eq!(new.decrypt(&damaged), None, "{n}");
        }
        assert!(Sessions::new(&Resumption::default(), Some(&keys(&[])), [0; 32], clock).is_err());
    }
}
