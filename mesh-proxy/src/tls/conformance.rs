//! What every [`SecretSource`] must do. Run [`check`] on your own.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::SecretSource;
use crate::model::{Secret, SecretValue};

/// Longest that a change may take to show.
const PATIENCE: Duration = Duration::from_secs(10);

/// Roots without a certificate, told apart by `generation`: enough to see which value arrived.
fn secret(name: &str, generation: usize) -> Secret {
    let roots = vec![vec![u8::try_from(generation).unwrap_or(u8::MAX)].into()];
    Secret { name: name.to_owned(), value: SecretValue::Validation { roots, crls: Vec::new(), rules: Arc::default() } }
}

async fn arrives(receiver: &mut watch::Receiver<Option<Arc<Secret>>>, wanted: &Secret) -> bool {
    let seen = receiver.wait_for(|secret| secret.as_deref() == Some(wanted));
    matches!(timeout(PATIENCE, seen).await, Ok(Ok(_)))
}

/// Checks the contract. `set` makes the source have this secret.
///
/// # Panics
///
/// When the contract is broken.
pub async fn check(source: &dyn SecretSource, mut set: impl FnMut(Secret)) {
    let mut early = source.watch("conformance");
    assert!(early.borrow_and_update().is_none(), "nothing is there before it is set");
    set(secret("conformance", 1));
    assert!(arrives(&mut early, &secret("conformance", 1)).await, "who waits is told");
    let mut late = source.watch("conformance");
    assert!(arrives(&mut late, &secret("conformance", 1)).await, "who comes later sees the current value");
    drop(early);
    set(secret("conformance", 2));
    assert!(arrives(&mut late, &secret("conformance", 2)).await, "a new value replaces the old one for those who stay");
    let mut unknown = source.watch("conformance-unknown");
    assert!(unknown.borrow_and_update().is_none(), "an unknown name has no value");
}

#[cfg(test)]
mod tests {
    use super::{super::MemorySecrets, check};

    #[tokio::test]
    async fn memory_conforms() {
        let secrets = MemorySecrets::default();
        check(&secrets, |secret| secrets.set(secret)).await;
    }
}
