//! [`KeeperStatus`].

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use super::ServiceAccount;

/// How one account is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountStatus {
    /// Serial number of the certificate held, hexadecimal.
    pub serial: Option<String>,
    /// When that ends.
    pub not_after: Option<SystemTime>,
    /// When it will be renewed.
    pub renew_at: Option<SystemTime>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last try failed; holds no secrets.
    pub last_error: Option<Arc<str>>,
}

/// How all declared accounts are, and what was done so far. Published whole, never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeeperStatus {
    /// By account; each that is declared and was looked at is there.
    pub accounts: BTreeMap<ServiceAccount, AccountStatus>,
    /// Sets made where there was none (Istio: `citadel_secret_controller_svc_acc_created_cert_count`).
    pub created: u64,
    /// Sets made in place of damaged ones.
    pub repaired: u64,
    /// Sets made in place of those that had lived their share.
    pub renewed: u64,
    /// Sets whose roots were brought up to date.
    pub rewritten: u64,
    /// Sets removed (Istio: `citadel_secret_controller_svc_acc_deleted_cert_count`).
    pub removed: u64,
    /// Tries that failed (Istio: `citadel_secret_controller_csr_err_count`).
    pub failed: u64,
    /// Rounds over all accounts so far.
    pub rounds: u64,
}
