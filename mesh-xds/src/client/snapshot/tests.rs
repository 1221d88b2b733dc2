//! The file, and what is written to it when.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Instant, UNIX_EPOCH},
};

use mesh_xds_api::{envoy::config::cluster::v3::Cluster, google::protobuf::Any};

use super::{keeper::Loaded, *};
use crate::{
    ResourceName, Version,
    protocol::{
        Response, Subscription, Variant,
        client::{ClientState, Source, Update, Verdict},
    },
};

const HOUR: Duration = Duration::from_secs(3600);
const CDS: TypeUrl = TypeUrl::CLUSTER;
const EDS: TypeUrl = TypeUrl::ENDPOINT;

fn cluster(name: &str) -> Resource {
    Resource::pack(name, &Cluster { name: name.into(), ..Default::default() })
}

fn of_type(type_url: &TypeUrl, name: &str) -> Resource {
    Resource::new(name, Any { type_url: type_url.as_str().into(), value: name.as_bytes().to_vec().into() })
}

fn snapshot(saved: SystemTime) -> Snapshot {
    let clusters =
        TypeSnapshot { type_url: CDS, saved, server: 1, whole: true, resources: vec![cluster("a"), cluster("b")] };
    let endpoints = TypeSnapshot { type_url: EDS, saved, server: 0, whole: false, resources: vec![] };
    Snapshot { node: "n".into(), types: vec![clusters, endpoints] }
}

/// A whole second, which a timestamp can hold.
fn clock() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[test]
fn what_is_written_is_read_and_only_by_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let config = LastGood::new(folder.path().join("last-good"));
    assert!(file::read(&config, "n", clock()).unwrap().is_none());
    // Left by a process that ended while it wrote, readable by all.
    fs::write(folder.path().join("last-good.new"), "half").unwrap();
    for round in 0..2 {
        let written = snapshot(clock() + Duration::from_secs(round));
        file::write(&config, &written).unwrap();
        assert_eq!(file::read(&config, "n", clock()).unwrap(), Some(written));
    }
    let mode = fs::metadata(folder.path().join("last-good")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn every_damage_is_found() {
    let bytes = format::encode(&snapshot(clock()), usize::MAX).unwrap();
    assert!(format::decode(bytes.clone()).is_ok());
    for length in 0..bytes.len() {
        assert!(format::decode(bytes.slice(..length)).is_err(), "cut after {length}");
    }
    for index in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[index] ^= 0x10;
        assert!(format::decode(changed.into()).is_err(), "changed at {index}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(format::decode(longer.into()).is_err());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = LastGood::new(folder.path().join("last-good")).max_age(HOUR);
    file::write(&config, &snapshot(clock())).unwrap();
    let read = |config: &LastGood, node: &str, now| file::read(config, node, now).unwrap_err().to_string();
    assert_eq!(read(&config, "m", clock()), "the snapshot is node n's, this is m");
    assert_eq!(read(&config, "n", clock() + 2 * HOUR), "the snapshot is 7200s old, more than 3600s");
    assert!(file::read(&config, "n", clock() + HOUR).is_ok());
    assert!(file::read(&config, "n", clock() - HOUR).is_ok(), "the clock was set back");
    let small = config.clone().max_bytes(40);
    let size = fs::metadata(folder.path().join("last-good")).unwrap().len();
    assert_eq!(read(&small, "n", clock()), format!("the snapshot has {size} bytes, more than 40"));
    let error = file::write(&small, &snapshot(clock())).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { limit: 40, .. }), "{error}");
    assert!(file::read(&config, "n", clock()).is_ok(), "the old one stays");
    let nowhere = LastGood::new(folder.path().join("last-good").join("below"));
    assert!(matches!(file::write(&nowhere, &snapshot(clock())), Err(SnapshotError::Io { .. })));
}

#[test]
fn secrets_are_kept_only_if_they_are_named() {
    let config = LastGood::new("x");
    assert!(config.keeps(&CDS) && !config.keeps(&TypeUrl::SECRET));
    let config = config.types([TypeUrl::SECRET]);
    assert!(!config.keeps(&CDS) && config.keeps(&TypeUrl::SECRET));
}

/// A core and its keeper, as the client has them.
struct Bench {
    state: ClientState,
    keeper: Keeper,
    now: Instant,
    clock: SystemTime,
    nonce: u64,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let mut state = ClientState::new(Variant::Delta);
        state.watch(&CDS, Subscription::Wildcard, None, now);
        state.watch(&EDS, Subscription::named(["e"]), None, now);
        let keeper = Keeper::new(LastGood::new("x").max_age(8 * HOUR), "n");
        Self { state, keeper, now, clock: clock(), nonce: 0 }
    }

    fn connect(&mut self) {
        self.state.connected();
        while self.state.poll().is_some() {}
    }

    fn hear(&mut self, type_url: &TypeUrl, resources: Vec<Resource>, removed: &[&str], verdict: Verdict) {
        self.nonce += 1;
        let response = Response {
            type_url: type_url.clone(),
            nonce: self.nonce.to_string().into(),
            version: Version::from(""),
            resources,
            heartbeats: Vec::new(),
            removed: removed.iter().map(|n| (*n).into()).collect(),
        };
        self.state.handle(response, self.now);
        self.judge(verdict);
    }

    fn judge(&mut self, verdict: Verdict) -> Option<Update> {
        let update = self.state.poll_update()?;
        assert!(self.state.answer(&update.type_url, update.id, verdict.clone()));
        self.keeper.judged(&update, &verdict, self.now);
        Some(update)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.clock += time;
    }

    /// What is written now, as `CDS@age* a b`; the star says that it is the whole set.
    fn written(&mut self) -> Option<Vec<String>> {
        let write = self.keeper.write(&self.state, self.now, self.clock)?;
        let text = |t: &TypeSnapshot| {
            let names: String = t.resources.iter().map(|r| format!(" {}", r.name())).collect();
            let star = if t.whole { "*" } else { "" };
            format!("{}@{}{star}{names}", t.type_url.short().unwrap_or("?"), t.age(self.clock).as_secs())
        };
        Some(write.snapshot().types.iter().map(text).collect())
    }

    fn load(&mut self, saved: SystemTime) {
        let endpoints =
            TypeSnapshot { type_url: EDS, saved, server: 0, whole: false, resources: vec![of_type(&EDS, "e")] };
        let mut loaded = snapshot(saved);
        loaded.types[0].server = 0;
        loaded.types[1] = endpoints;
        self.keeper.loaded(Loaded::of(loaded), self.now);
    }

    fn offered(&mut self) -> Vec<(Vec<String>, Source)> {
        self.keeper.offer(&mut self.state, self.clock);
        let mut offered = Vec::new();
        while let Some(update) = self.judge(Verdict::Accepted) {
            offered.push((update.added.iter().map(|r| r.name().to_string()).collect(), update.source));
        }
        offered
    }
}

#[test]
fn changes_are_gathered_and_what_was_refused_is_not_kept() {
    let mut bench = Bench::new();
    bench.connect();
    bench.hear(&CDS, vec![cluster("a"), cluster("bad")], &[], reject(&["bad"]));
    assert_eq!(bench.written(), None);
    bench.wait(Duration::from_millis(500));
    bench.hear(&EDS, vec![of_type(&EDS, "e")], &[], Verdict::Accepted);
    bench.hear(&CDS, vec![cluster("worse")], &[], reject(&[]));
    bench.wait(Duration::from_millis(500));
    assert_eq!(bench.written(), Some(vec!["CDS@0* a".to_owned(), "EDS@0 e".to_owned()]));
    assert_eq!(bench.written(), None);
    bench.hear(&CDS, vec![cluster("c")], &["a"], Verdict::Accepted);
    bench.state.unsubscribe(&EDS, ["e".into()]);
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.written(), Some(vec!["CDS@0* c".to_owned()]), "e is not subscribed any more");
}

fn reject(resources: &[&str]) -> Verdict {
    let resources: Vec<ResourceName> = resources.iter().map(|n| (*n).into()).collect();
    Verdict::Rejected { message: "no".into(), resources }
}

#[test]
fn what_has_a_time_to_live_is_not_kept() {
    let mut bench = Bench::new();
    bench.connect();
    bench.hear(&CDS, vec![cluster("a"), cluster("b").with_ttl(Some(HOUR))], &[], Verdict::Accepted);
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.written(), Some(vec!["CDS@0* a".to_owned()]));
}

#[test]
fn types_that_no_server_has_answered_stay_as_they_were() {
    let mut bench = Bench::new();
    bench.load(bench.clock - HOUR);
    bench.connect();
    bench.hear(&CDS, vec![cluster("new")], &[], Verdict::Accepted);
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.written(), Some(vec!["CDS@0* new".to_owned(), "EDS@3601 e".to_owned()]));
}

#[test]
fn the_time_is_renewed_while_a_server_is_connected() {
    let mut bench = Bench::new();
    bench.load(bench.clock - HOUR);
    bench.keeper.out_of_reach();
    assert_eq!(bench.offered().len(), 2);
    bench.wait(HOUR);
    assert_eq!(bench.written(), None, "nobody has confirmed it");
    bench.connect();
    bench.wait(HOUR);
    // Both were resumed, and the server had nothing to say.
    assert_eq!(bench.written(), Some(vec!["CDS@0 a b".to_owned(), "EDS@0 e".to_owned()]));
    assert_eq!(bench.keeper.poll_timeout(), Some(bench.now + HOUR));
}

#[test]
fn watches_are_given_what_is_kept_once_and_only_without_a_server() {
    let mut bench = Bench::new();
    bench.load(bench.clock - HOUR);
    assert!(bench.offered().is_empty(), "it is not known yet that no server can be reached");
    bench.keeper.out_of_reach();
    let from_disk = Source::Snapshot { age: HOUR };
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(bench.offered(), [(names(&["a", "b"]), from_disk), (names(&["e"]), from_disk)]);
    assert!(bench.offered().is_empty());
    assert!(bench.state.lacks_answers(), "another server may still be asked");
    bench.state.connected();
    let first = bench.state.poll().unwrap();
    let held: Vec<_> = first.initial_versions.keys().map(ResourceName::as_str).collect();
    assert_eq!(held, ["a", "b"]);
    // Its first answer is told, as it confirms what is in force.
    bench.state.handle(
        Response {
            type_url: CDS,
            nonce: "1".into(),
            version: Version::from(""),
            resources: Vec::new(),
            heartbeats: Vec::new(),
            removed: Vec::new(),
        },
        bench.now,
    );
    let update = bench.judge(Verdict::Accepted).unwrap();
    assert_eq!((update.source, update.added.len(), update.removed.len()), (Source::Server, 0, 0));
}

#[test]
fn what_is_too_old_by_now_is_not_given() {
    let mut bench = Bench::new();
    bench.load(bench.clock - 7 * HOUR);
    bench.keeper.out_of_reach();
    bench.wait(2 * HOUR);
    assert!(bench.offered().is_empty());
}
