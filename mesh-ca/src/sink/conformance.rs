//! A suite that anyone's [`CredentialSink`] can run in its tests. It panics with what is wrong.
#![allow(clippy::unwrap_used)] // a conformance suite reports by panicking

use zeroize::Zeroizing;

use super::{CredentialSet, CredentialSink, ServiceAccount, Stored};

fn set(n: usize) -> CredentialSet {
    // Of different lengths, larger than what one write takes.
    let text = |what: &str| format!("{what} {n}\n").repeat(9000 + 700 * (n % 5));
    CredentialSet::new(text("chain"), Zeroizing::new(text("key")), text("roots"))
}

/// Checks the contract of [`CredentialSink`]; it must be empty.
///
/// # Panics
/// When the contract is broken.
pub async fn check_sink(sink: &dyn CredentialSink) {
    let account = |namespace, name| ServiceAccount::new(namespace, name).unwrap();
    let (web, other) = (account("shop", "web"), account("shop.a", "web-2"));
    assert_eq!(sink.list().await.unwrap(), [], "it is empty");
    assert_eq!(sink.load(&web).await.unwrap(), Stored::Absent);
    sink.remove(&web).await.expect("what is absent can be removed");
    for n in 0..7 {
        sink.store(&web, &set(n)).await.unwrap();
        assert_eq!(sink.load(&web).await.unwrap(), Stored::Held(set(n)), "the last set is held");
    }
    sink.store(&other, &set(9)).await.unwrap();
    let mut listed = sink.list().await.unwrap();
    listed.sort();
    assert_eq!(listed, [web.clone(), other.clone()]);
    sink.remove(&web).await.unwrap();
    assert_eq!(sink.load(&web).await.unwrap(), Stored::Absent);
    assert_eq!(sink.load(&other).await.unwrap(), Stored::Held(set(9)), "others stay");
    assert_eq!(sink.list().await.unwrap(), std::slice::from_ref(&other));
    sink.store(&web, &set(1)).await.expect("after its removal it can be written again");
    assert_eq!(sink.load(&web).await.unwrap(), Stored::Held(set(1)));
    never_torn(sink, &other).await;
}

/// A reader beside a writer sees one whole set after the other.
async fn never_torn(sink: &dyn CredentialSink, account: &ServiceAccount) {
    let sets: Vec<CredentialSet> = (0..40).map(set).collect();
    let write = async {
        for set in &sets {
            sink.store(account, set).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..200 {
            match sink.load(account).await.unwrap() {
                Stored::Held(seen) => assert!(sets.contains(&seen), "a set is whole"),
                other => panic!("a set that is replaced is never {other:?}"),
            }
            tokio::task::yield_now().await;
        }
    };
    futures::future::join(write, read).await;
    assert_eq!(sink.load(account).await.unwrap(), Stored::Held(sets[39].clone()));
}
