//! What it costs to read, validate, analyse and follow a large configuration:
//! `cargo bench -p mesh-config --bench config`; see `benches/README.md`.
//!
//! Everything runs on one thread. `--objects N` (10000), `--rounds N` (5, of which the median counts), `--write FOLDER`
//! only writes the files, for other programs to read.

#![allow(clippy::unwrap_used)] // a panic is how a bench fails

mod mix;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_config::{
    Analyzers, DirectoryScanner, Event, Kind, Object, ObjectChange, Snapshot, Store, StoreOptions, Validators,
    load_path, parse_bytes,
};

struct Options {
    objects: usize,
    rounds: usize,
    write: Option<PathBuf>,
}

fn options() -> Options {
    let mut options = Options { objects: 10_000, rounds: 5, write: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--objects" => options.objects = args.next().unwrap().parse().unwrap(),
            "--rounds" => options.rounds = args.next().unwrap().parse().unwrap(),
            "--write" => options.write = args.next().map(PathBuf::from),
            "--bench" => {} // cargo says so
            other => panic!("unknown option {other:?}"),
        }
    }
    options
}

fn main() {
    let options = options();
    if let Some(folder) = &options.write {
        fs::create_dir_all(folder).unwrap();
        println!("{} objects in {}", mix::write(folder, options.objects).unwrap(), folder.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let count = mix::write(folder.path(), options.objects).unwrap();
    println!("{count} objects\n");
    memory(folder.path(), count);
    whole(folder.path(), options.rounds);
    changes(folder.path(), options.rounds);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn all(folder: &Path) -> Vec<Event> {
    let mut scanner = DirectoryScanner::new([folder]);
    vec![Event::Snapshot(scanner.scan().unwrap())]
}

/// Runs first, when the process is as good as empty.
fn memory(folder: &Path, count: usize) {
    let start = resident();
    let loaded = load_path([folder]).unwrap();
    let error = loaded.diagnostics.iter().find(|finding| finding.is_error());
    assert!(error.is_none(), "{error:?}");
    let objects = resident() - start;
    drop(loaded);
    let mut store = Store::new(StoreOptions::default());
    let state = store
        .apply(Event::Snapshot(load_path([folder]).unwrap().objects.into_iter().map(ObjectChange::Applied).collect()));
    let store_too = resident() - start;
    assert_eq!(state.snapshot.len(), count);
    println!("| memory per object | bytes |\n|---|---|");
    println!("| object with its positions | {} |", objects / count);
    println!("| the same in a store, with index and findings | {} |\n", store_too / count);
}

fn whole(folder: &Path, rounds: usize) {
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut findings = 0;
    for _ in 0..rounds {
        let start = Instant::now();
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let texts: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let read = Instant::now();
        let parsed: Vec<_> =
            paths.iter().zip(&texts).map(|(path, text)| parse_bytes(&path.to_string_lossy(), text)).collect();
        let parse = Instant::now();
        let validators = Validators::standard();
        let objects: Vec<Arc<Object>> = parsed.into_iter().flat_map(|parsed| parsed.objects).collect();
        let mut found: Vec<_> = objects.iter().flat_map(|object| validators.validate(object)).collect();
        let validate = Instant::now();
        let snapshot = Snapshot::from_objects(objects);
        let index = Instant::now();
        found.extend(Analyzers::standard().analyze(&snapshot).diagnostics);
        let end = Instant::now();
        findings = found.len();
        let steps = [
            ("1 read", read - start),
            ("2 parse", parse - read),
            ("3 validate", validate - parse),
            ("4 index", index - validate),
            ("5 analyse", end - index),
            ("all", end - start),
        ];
        steps.into_iter().for_each(|(step, time)| times.entry(step).or_default().push(time));
    }
    println!("| all of the files ({findings} findings) | ms |\n|---|---|");
    for (step, times) in times {
        println!("| {step} | {:.1} |", median(times).as_secs_f64() * 1e3);
    }
    println!();
}

/// Changes objects of each kind, one at a time, in a store that holds all.
fn changes(folder: &Path, rounds: usize) {
    let mut store = Store::new(StoreOptions::default());
    let mut state = None;
    for event in all(folder) {
        let start = Instant::now();
        state = Some(store.apply(event));
        println!("the store takes all: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    }
    let state = state.unwrap();
    println!("\n| one changed | ms, median | ms, worst |\n|---|---|---|");
    for kind in Kind::all() {
        let objects: Vec<_> = state.snapshot.of_kind(kind).cloned().collect();
        if objects.is_empty() {
            continue;
        }
        let mut times = Vec::new();
        for round in 0..rounds * 10 {
            let mut object = (*objects[round * objects.len() / (rounds * 10)]).clone();
            object.meta.labels.insert("round".to_owned(), round.to_string());
            let start = Instant::now();
            let state = store.apply(Event::Changes(vec![ObjectChange::Applied(Arc::new(object))]));
            times.push(start.elapsed());
            assert_eq!(state.change.changed.len(), 1);
        }
        let worst = times.iter().max().copied().unwrap();
        println!("| {kind} | {:.2} | {:.2} |", median(times).as_secs_f64() * 1e3, worst.as_secs_f64() * 1e3);
    }
}
