//! Who got what, by which proof, or why not: one [`AuditRecord`] per decision.

mod json_lines;

use std::{fmt, net::SocketAddr, time::SystemTime};

use crate::{authn::ProofKind, spiffe::SpiffeId};

pub use json_lines::JsonLinesAudit;

/// One decision of a CA server. It holds no token and no key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRecord {
    /// When it was made.
    pub time: SystemTime,
    /// Where the call came from.
    pub peer: Option<SocketAddr>,
    /// How the caller proved itself; `None` when it did not.
    pub proof: Option<ProofKind>,
    /// The caller in the terms of its proof.
    pub caller: Option<String>,
    /// What was decided.
    pub outcome: AuditOutcome,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditOutcome {
    /// A certificate was issued.
    Issued {
        /// For whom.
        id: SpiffeId,
        /// Its serial number, hexadecimal.
        serial: String,
        /// When it ends.
        not_after: SystemTime,
    },
    /// A token was issued.
    TokenIssued {
        /// For whom.
        id: SpiffeId,
        /// Who may believe it.
        audiences: Vec<String>,
        /// When it ends.
        expires: SystemTime,
    },
    /// The call was refused.
    Refused {
        /// The gRPC status code's name, as in `PERMISSION_DENIED`.
        code: &'static str,
        /// Why.
        reason: String,
    },
}

/// Where audit records go.
///
/// `record` is called once per decision, on the path of the call: it must not block. An implementation that can lose
/// records should say so in its own metrics.
///
/// Ready-made: [`TracingAudit`], [`JsonLinesAudit`]; `MemoryAudit` (feature `test-util`).
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Takes one record.
    fn record(&self, record: &AuditRecord);
}

/// Writes each record as a `tracing` event with the target `mesh_ca::audit`: info when issued, warn when refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingAudit;

impl AuditSink for TracingAudit {
    fn record(&self, record: &AuditRecord) {
        let peer = record.peer.map(|p| p.to_string()).unwrap_or_default();
        let proof = record.proof.map_or("none", ProofKind::name);
        let caller = record.caller.as_deref().unwrap_or_default();
        match &record.outcome {
            AuditOutcome::Issued { id, serial, not_after } => {
                let ends = time::OffsetDateTime::from(*not_after);
                tracing::info!(target: "mesh_ca::audit", peer, proof, caller, %id, serial, %ends, "certificate issued");
            }
            AuditOutcome::TokenIssued { id, audiences, expires } => {
                let ends = time::OffsetDateTime::from(*expires);
                tracing::info!(target: "mesh_ca::audit", peer, proof, caller, %id, ?audiences, %ends, "token issued");
            }
            AuditOutcome::Refused { code, reason } => {
                tracing::warn!(target: "mesh_ca::audit", peer, proof, caller, code, reason, "certificate refused");
            }
        }
    }
}

#[cfg(feature = "test-util")]
pub use memory::MemoryAudit;

#[cfg(feature = "test-util")]
mod memory {
    use std::sync::{Mutex, PoisonError};

    use super::{AuditRecord, AuditSink};

    /// Keeps records in memory, for tests.
    #[derive(Debug, Default)]
    pub struct MemoryAudit {
        records: Mutex<Vec<AuditRecord>>,
    }

    impl MemoryAudit {
        /// All records so far.
        pub fn records(&self) -> Vec<AuditRecord> {
            self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl AuditSink for MemoryAudit {
        fn record(&self, record: &AuditRecord) {
            self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record.clone());
        }
    }
}
