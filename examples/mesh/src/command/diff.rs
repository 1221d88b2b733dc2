//! `mesh diff`.

use std::path::Path;

use mesh_config::{ObjectKey, Snapshot, affected_hosts, changed_fields, load_path};
use serde_json::json;

use crate::{
    cli::{DiffArgs, TextOrJson},
    exit,
};

/// One object that differs.
struct Difference {
    change: &'static str,
    object: String,
    fields: Vec<String>,
    hosts: Vec<String>,
}

/// What differs between two sets of objects. Exits with 1 when anything does, as `diff` itself.
pub(crate) fn diff(args: DiffArgs) -> anyhow::Result<u8> {
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let change = old.diff(&new);
    let all = [("added", &change.added), ("changed", &change.changed), ("removed", &change.removed)];
    let found: Vec<_> = all
        .into_iter()
        .flat_map(|(change, keys)| keys.iter().map(move |key| (change, key)))
        .map(|(change, key)| difference(change, key, &old, &new))
        .collect();
    match args.output {
        TextOrJson::Text => found.iter().for_each(print),
        TextOrJson::Json => {
            let rows: Vec<_> = found
                .iter()
                .map(
                    |one| json!({"change": one.change, "object": one.object, "fields": one.fields, "hosts": one.hosts}),
                )
                .collect();
            println!("{:#}", serde_json::Value::from(rows));
        }
    }
    Ok(if found.is_empty() { exit::OK } else { exit::NO })
}

fn read(path: &Path) -> anyhow::Result<Snapshot> {
    Ok(Snapshot::from_objects(load_path([path])?.all_objects().cloned()))
}

fn difference(change: &'static str, key: &ObjectKey, old: &Snapshot, new: &Snapshot) -> Difference {
    let (before, after) = (old.object(key), new.object(key));
    let mut hosts: Vec<_> = before.into_iter().chain(after).flat_map(|object| affected_hosts(object)).collect();
    hosts.sort();
    hosts.dedup();
    let fields = before.zip(after).map(|(before, after)| changed_fields(before, after)).unwrap_or_default();
    Difference { change, object: key.to_string(), fields, hosts }
}

fn print(one: &Difference) {
    println!("{:<8} {}", one.change, one.object);
    one.fields.iter().for_each(|field| println!("         {field}"));
    if !one.hosts.is_empty() {
        println!("         affects {}", one.hosts.join(", "));
    }
}
