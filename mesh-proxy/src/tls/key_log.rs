//! Secrets of connections, written for looking into recorded traffic (`tls.v3.TlsKeyLog`).

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
};

use parking_lot::Mutex;
use rustls::KeyLog;

use super::TlsError;
use crate::model::KeyLogFile;

/// A configuration without and, if one is asked for, with a log of secrets.
#[derive(Debug)]
pub(super) struct Logged<C> {
    plain: Arc<C>,
    logged: Option<(KeyLogFile, Arc<C>)>,
}

impl<C: Clone> Logged<C> {
    /// `set` gives a configuration its log.
    pub(super) fn new(
        config: C,
        file: Option<&KeyLogFile>,
        set: impl FnOnce(&mut C, Arc<dyn KeyLog>),
    ) -> Result<Self, TlsError> {
        let logged = match file {
            Some(file) => {
                let mut with = config.clone();
                set(&mut with, Arc::new(Writer::open(file)?));
                Some((file.clone(), Arc::new(with)))
            }
            None => None,
        };
        Ok(Self { plain: Arc::new(config), logged })
    }

    /// The configuration for a connection between these addresses; without them it is logged only if all are.
    pub(super) fn between(&self, local: Option<IpAddr>, remote: Option<IpAddr>) -> &Arc<C> {
        let within = |ranges: &[ipnet::IpNet], ip: Option<IpAddr>| {
            ranges.is_empty() || ip.is_some_and(|ip| ranges.iter().any(|range| range.contains(&ip.to_canonical())))
        };
        match &self.logged {
            Some((file, config)) if within(&file.local, local) && within(&file.remote, remote) => config,
            _ => &self.plain,
        }
    }
}

#[derive(Debug)]
struct Writer(Mutex<File>);

impl Writer {
    fn open(file: &KeyLogFile) -> Result<Self, TlsError> {
        // Only the owner may read what opens connections.
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&file.path);
        opened
            .map(|file| Self(Mutex::new(file)))
            .map_err(|source| TlsError::KeyLog { path: file.path.display().to_string(), source: Arc::new(source) })
    }
}

impl KeyLog for Writer {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let (random, secret) = (super::info::hex(client_random), super::info::hex(secret));
        let line = format!("{label} {random} {secret}\n");
        if let Err(error) = self.0.lock().write_all(line.as_bytes()) {
            tracing::warn!(%error, "cannot write the log of TLS secrets");
        }
    }
}
