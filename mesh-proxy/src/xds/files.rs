//! Resources from files (`path_config_source`).

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use mesh_xds::{Resource, TypeUrl};
use mesh_xds_api::json;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::{
    control::Event,
    core::{Raw, Told},
    streams::{Names, changed},
};
use crate::model::ConfigSource;

/// How often a file is looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// What tells that a file is another one, or was written to.
type Stamp = (Option<SystemTime>, u64);

/// Hands on what a file holds, whenever it changes. A file that cannot be read or understood is reported once, and its
/// last good content stays.
pub(super) async fn follow(
    path: PathBuf,
    type_url: TypeUrl,
    mut names: Option<watch::Receiver<Names>>,
    events: mpsc::Sender<Event>,
) {
    let (mut seen, mut known) = (None::<Stamp>, HashSet::new());
    let mut failed = false;
    loop {
        let stamp = tokio::fs::metadata(&path).await.ok().map(|meta| (meta.modified().ok(), meta.len()));
        if stamp.is_none() || stamp != seen {
            match read(&path, &type_url).await {
                Ok(added) => {
                    (seen, failed) = (stamp, false);
                    let now: HashSet<String> = added.iter().map(|raw| raw.name.clone()).collect();
                    let removed = known.difference(&now).cloned().collect();
                    known = now;
                    let source = ConfigSource::File(path.clone());
                    let told = Told { source, type_url: type_url.clone(), added, removed };
                    if events.send(Event::Told(told, None)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if !failed || stamp != seen {
                        tracing::warn!(path = %path.display(), error, "configuration file not taken");
                    }
                    (seen, failed) = (stamp, true);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            // Who asks for another name is told what the file holds.
            changed = changed(&mut names) => match changed {
                Some(_) => seen = None,
                None => return,
            },
        }
    }
}

async fn read(path: &Path, type_url: &TypeUrl) -> Result<Vec<Raw>, String> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| error.to_string())?;
    parse(&text, type_url)
}

/// A `DiscoveryResponse`, a list of resources, or one resource, each with its `@type`.
fn parse(text: &str, type_url: &TypeUrl) -> Result<Vec<Raw>, String> {
    let value = json::value_from_yaml(text).map_err(|error| error.to_string())?;
    let version = value.get("version_info").or_else(|| value.get("versionInfo")).and_then(Value::as_str);
    let version = version.unwrap_or_default().to_owned();
    let resources = match value {
        Value::Object(mut fields) => match fields.remove("resources") {
            Some(Value::Array(resources)) => resources,
            Some(_) => return Err("resources is no list".to_owned()),
            None if fields.contains_key("@type") => vec![Value::Object(fields)],
            None => Vec::new(),
        },
        Value::Array(resources) => resources,
        Value::Null => Vec::new(),
        _ => return Err("expected are resources".to_owned()),
    };
    let one = |(i, value): (usize, &Value)| {
        let any = json::any_from_value(value).map_err(|error| format!("resources[{i}]: {error}"))?;
        if any.type_url.rsplit('/').next() != Some(type_url.message_name()) {
            return Err(format!("resources[{i}]: expected {}, found {}", type_url.message_name(), any.type_url));
        }
        let resource = Resource::from_any(any.clone()).map_err(|error| format!("resources[{i}]: {error}"))?;
        Ok(Raw { name: resource.name().as_str().to_owned(), version: version.clone(), any })
    };
    resources.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use mesh_xds::TypeUrl;

    use super::parse;

    #[test]
    fn forms_of_a_file() {
        let cluster = "{'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}";
        for text in
            [format!("{{version_info: '7', resources: [{cluster}]}}"), format!("[{cluster}]"), cluster.to_owned()]
        {
            let found = parse(&text, &TypeUrl::CLUSTER).unwrap();
            assert_eq!(found[0].name, "a");
        }
        assert!(parse("", &TypeUrl::CLUSTER).unwrap().is_empty());
        assert!(parse(cluster, &TypeUrl::LISTENER).unwrap_err().contains("expected envoy.config.listener.v3.Listener"));
        assert!(parse("[{}]", &TypeUrl::CLUSTER).unwrap_err().starts_with("resources[0]: "));
        assert!(parse("a: [", &TypeUrl::CLUSTER).is_err());
    }
}
