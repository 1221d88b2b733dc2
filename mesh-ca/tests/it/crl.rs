//! Revocation: lists that OpenSSL and our own verification read, over restarts and rotations.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use mesh_ca::{
    issuer::{CertIssuer, RevocationReason, RotatingCaError, rotation::RootPhase},
    spiffe::{Rule, certificates_to_pem, verify},
};

use crate::fleet::{Fleet, config};

fn openssl(folder: &Path, args: &[&str]) -> (bool, String) {
    let out = Command::new("openssl").args(args).current_dir(folder).stdin(Stdio::null()).output();
    let out = out.expect("openssl is needed: install it (Debian: apt-get install openssl)");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

/// What OpenSSL thinks of a member's certificate, with every list of the bundle.
fn asked(fleet: &Fleet, member: usize) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = fleet.ca().trust_bundle();
    let lists: String = bundle.crls().iter().map(|c| c.to_pem()).collect();
    let leaf = certificates_to_pem(fleet.members[member].as_ref().unwrap().svid.chain());
    for (name, text) in [("roots.pem", bundle.to_pem()), ("crl.pem", lists), ("leaf.pem", leaf)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let at = fleet.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let args = ["verify", "-attime", &at, "-crl_check_all", "-CAfile", "roots.pem", "-CRLfile", "crl.pem", "leaf.pem"];
    openssl(folder.path(), &args)
}

#[tokio::test]
async fn what_is_revoked_is_refused_by_us_and_by_openssl() {
    let mut fleet = Fleet::new(3, config()).await;
    assert!(fleet.ca().trust_bundle().crls().is_empty(), "no lists before the first revocation");
    let serial = fleet.serial(1);
    let mut told = fleet.ca().subscribe();
    told.borrow_and_update();
    let upper = serial.to_uppercase();
    let spelled = upper.as_bytes().chunks(2).map(|c| String::from_utf8_lossy(c).into_owned());
    let spelled = spelled.collect::<Vec<_>>().join(":");
    fleet.ca().revoke(&spelled, RevocationReason::KeyCompromise).await.unwrap();
    assert!(told.has_changed().unwrap(), "everybody is told");
    fleet.ca().revoke(&serial, RevocationReason::Superseded).await.unwrap();
    let refused = fleet.ca().revoke("00ff", RevocationReason::Unspecified).await.unwrap_err();
    assert!(matches!(&refused, RotatingCaError::UnknownSerial(s) if s == "00ff"), "{refused}");

    let bundle = fleet.ca().trust_bundle();
    let judge = |member: usize| {
        let chain = fleet.members[member].as_ref().unwrap().svid.chain();
        verify(&chain[0], &chain[1..], &bundle, fleet.now()).map(|v| v.serial).map_err(|e| e.rule)
    };
    assert_eq!(judge(1), Err(Rule::Revoked));
    assert_eq!(judge(0), Ok(fleet.serial(0)));
    let (ok, text) = asked(&fleet, 1);
    assert!(!ok && text.contains("certificate revoked"), "{text}");
    let (ok, text) = asked(&fleet, 0);
    assert!(ok, "{text}");

    // The list itself, as OpenSSL reads it.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crl.pem"), bundle.crls()[0].to_pem()).unwrap();
    let (_, text) = openssl(folder.path(), &["crl", "-in", "crl.pem", "-noout", "-text"]);
    for wanted in ["Version 2", "X509v3 CRL Number", &serial.to_uppercase(), "Key Compromise", "Next Update"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(bundle.crls()[0].revoked(), 1);
    fleet.renew(1).await.unwrap();
    assert!(asked(&fleet, 1).0, "a new certificate is good");
}

#[tokio::test]
async fn lists_are_renewed_in_time_and_survive_restarts_and_rotations() {
    let mut fleet = Fleet::new(2, config()).await;
    fleet.ca().revoke(&fleet.serial(0), RevocationReason::Unspecified).await.unwrap();
    let number = |fleet: &Fleet| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("crl.pem"), fleet.ca().trust_bundle().crls()[0].to_pem()).unwrap();
        let (_, text) = openssl(folder.path(), &["crl", "-in", "crl.pem", "-noout", "-crlnumber"]);
        let hex = text.split("0x").nth(1).unwrap_or_else(|| panic!("{text}")).trim().to_owned();
        u64::from_str_radix(&hex, 16).unwrap()
    };
    let first = number(&fleet);
    fleet.crash();
    fleet.open().await.unwrap();
    assert!(number(&fleet) > first, "no number is used twice");
    assert!(!asked(&fleet, 0).0);

    // A rotation: each root has a list, and what the old one signed stays revoked.
    fleet.ca().start().await.unwrap();
    assert_eq!(fleet.ca().trust_bundle().crls().len(), 2);
    assert!(!asked(&fleet, 0).0);
    assert!(asked(&fleet, 1).0, "{}", asked(&fleet, 1).1);
    fleet.ca().approve().await.unwrap();
    fleet.ca().tick().await.unwrap();
    assert_eq!(fleet.ca().status().await.phase, RootPhase::Activated);
    assert!(!asked(&fleet, 0).0);
    fleet.renew(1).await.unwrap();
    assert!(asked(&fleet, 1).0, "{}", asked(&fleet, 1).1);

    // Half of a list's life later there is a new one, without what has ended; once more it was listed after its end.
    let before = number(&fleet);
    let next = fleet.ca().trust_bundle().crls()[0].next_update().unwrap();
    fleet.clock.advance(Duration::from_secs(15 * 24 * 3600 + 1));
    assert!(fleet.now() < next);
    fleet.ca().tick().await.unwrap();
    assert!(number(&fleet) > before);
    assert!(fleet.ca().trust_bundle().crls()[0].next_update().unwrap() > next);
    fleet.clock.advance(Duration::from_secs(15 * 24 * 3600 + 1));
    fleet.ca().tick().await.unwrap();
    assert_eq!(fleet.ca().revoked().await.len(), 0);
    assert!(fleet.ca().trust_bundle().crls().iter().all(|c| c.revoked() == 0), "an empty list, with a number");
}
