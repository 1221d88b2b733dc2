//! The lock of a folder, and the record of what was issued: over processes, and over damage.

use std::{
    fs,
    io::Write,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use mesh_ca::{
    clock::{Clock, ManualClock},
    issuer::{CaStore, DirectoryRecords, DirectoryStore, IssuedRecord, IssuedRecords, StoreError, rotation::RootId},
};
use rustls_pki_types::CertificateDer;

use crate::fixture::workload;

fn record(n: u64, ends: u64) -> IssuedRecord {
    IssuedRecord {
        serial: format!("{n:032x}"),
        id: workload("a"),
        root: RootId::of(&CertificateDer::from(vec![1])),
        sequence: n,
        not_after: UNIX_EPOCH + Duration::from_secs(ends),
    }
}

#[tokio::test]
async fn a_second_writer_is_told_who_the_first_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = DirectoryStore::open(folder.path()).unwrap();
    let second = DirectoryStore::open(folder.path()).unwrap();
    let lock = first.lock().await.unwrap();
    let refused = second.lock().await.unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
    drop(lock);
    drop(second.lock().await.unwrap());
}

#[tokio::test]
async fn records_survive_a_torn_line_and_leave_when_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1000));
    let open = || DirectoryRecords::open(folder.path(), Arc::new(clock.clone()));
    let log = open().await.unwrap();
    for n in 0..10 {
        log.record(&record(n, 2000 + n)).await.unwrap();
    }
    drop(log);
    let path = folder.path().join("issued.log");
    let whole = fs::read(&path).unwrap();
    let line = whole.len() / 10;
    // Cut at every place of the last two lines: each whole line before it is kept.
    for cut in (whole.len() - 2 * line..=whole.len()).rev() {
        fs::write(&path, &whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
        let log = open().await.unwrap();
        assert_eq!(log.load(clock.now().wall).await.unwrap().len(), lines, "{cut}");
        log.record(&record(99, 3000)).await.unwrap();
        assert_eq!(log.load(clock.now().wall).await.unwrap().len(), lines + 1, "{cut}: and the next one is whole");
    }
    fs::write(&path, &whole).unwrap();
    clock.advance(Duration::from_secs(1005));
    let log = open().await.unwrap();
    let left = log.load(clock.now().wall).await.unwrap();
    assert_eq!(left.iter().map(|r| r.sequence).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert!(fs::metadata(&path).unwrap().len() < whole.len() as u64, "what has ended is gone");
}

#[tokio::test]
async fn records_that_come_together_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(UNIX_EPOCH);
    let log = Arc::new(DirectoryRecords::open(folder.path(), Arc::new(clock.clone())).await.unwrap());
    let all = (0..200).map(|n| {
        let log = log.clone();
        tokio::spawn(async move {
            let record = record(n, 1000);
            // Some callers go away in between.
            if n % 5 == 0 {
                let _ = tokio::time::timeout(Duration::from_micros(50), log.record(&record)).await;
            } else {
                log.record(&record).await.unwrap();
            }
            n
        })
    });
    for task in all.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    log.record(&record(1000, 1000)).await.unwrap();
    let kept: Vec<u64> = log.load(UNIX_EPOCH).await.unwrap().iter().map(|r| r.sequence).collect();
    let missing: Vec<u64> = (0..200).filter(|n| n % 5 != 0 && !kept.contains(n)).collect();
    assert_eq!(missing, Vec::<u64>::new());
}

#[tokio::test]
async fn damage_in_the_middle_costs_no_other_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::File::create(folder.path().join("issued.log")).unwrap();
    file.write_all(b"\xff\xfe garbage\n{}\n").unwrap();
    let clock = ManualClock::new(UNIX_EPOCH);
    let log = DirectoryRecords::open(folder.path(), Arc::new(clock.clone())).await.unwrap();
    log.record(&record(1, 1000)).await.unwrap();
    assert_eq!(log.load(UNIX_EPOCH).await.unwrap(), [record(1, 1000)]);
}
