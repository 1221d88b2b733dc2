//! The state of a client, for operators.

use std::{collections::HashMap, time::Instant};

use super::LastGoodStatus;
use crate::{TypeUrl, protocol::client::TypeStatus};

/// The state of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStatus {
    /// The connection to the server in use.
    pub connection: Connection,
    /// The server in use: its place among the client's servers, 0 for the primary.
    pub server: usize,
    /// How often another server was taken into use: a fallback, or the return from one.
    pub server_changes: u64,
    /// Streams opened so far.
    pub streams: u64,
    /// Attempts and streams that failed so far.
    pub failures: u64,
    /// Why the last one failed. Names the server if it was a fallback. Stays after a later success.
    pub last_error: Option<String>,
    /// The types watched.
    pub types: HashMap<TypeUrl, TypeStatus>,
    /// The last good resources on disk, if they are kept.
    pub last_good: LastGoodStatus,
}

/// The state of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Connecting.
    Connecting,
    /// Connected, and the stream was opened.
    Connected {
        /// When.
        since: Instant,
    },
    /// Waiting before the next attempt.
    Waiting {
        /// When that is.
        until: Instant,
    },
    /// Ended.
    Closed,
}

impl Default for ClientStatus {
    fn default() -> Self {
        Self {
            connection: Connection::Connecting,
            server: 0,
            server_changes: 0,
            streams: 0,
            failures: 0,
            last_error: None,
            types: HashMap::new(),
            last_good: LastGoodStatus::default(),
        }
    }
}

impl ClientStatus {
    /// Whether a stream is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Connected { .. })
    }

    pub(super) fn fail(&mut self, server: usize, reason: String) {
        self.failures += 1;
        self.last_error = Some(if server == 0 { reason } else { format!("fallback {server}: {reason}") });
    }

    pub(super) fn use_server(&mut self, server: usize) {
        self.server = server;
        self.server_changes += 1;
    }
}
