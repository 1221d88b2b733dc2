//! Files that secrets name: a secret whose files changed is read anew, as if it had been sent again.
//!
//! Files are looked at by name, through links: what Kubernetes does to a mounted secret, a change of a link to a folder, is
//! seen as well as writing to a file. A secret that is torn, with a key that does not fit its certificate yet, is refused,
//! and the last good one stays until the rest has changed too.

use std::{collections::HashMap, os::unix::fs::MetadataExt as _, path::PathBuf, time::SystemTime};

use mesh_xds::TypeUrl;

use super::core::{Raw, Told};
use crate::{config::secret_files, model::ConfigSource};

/// What tells that a file is another one, or was written to; `None` if it is not there.
type Stamp = Option<(Option<SystemTime>, u64, u64)>;

/// Secrets that name files, as they were sent.
#[derive(Debug, Default)]
pub(super) struct SecretFiles {
    watched: HashMap<(ConfigSource, String), Watched>,
}

#[derive(Debug)]
struct Watched {
    raw: Raw,
    files: Vec<(PathBuf, Stamp)>,
}

impl SecretFiles {
    /// Secrets are about to be read: what they name is watched from now on.
    pub(super) fn note(&mut self, told: &Told) {
        if told.type_url != TypeUrl::SECRET {
            return;
        }
        for raw in &told.added {
            let key = (told.source.clone(), raw.name.clone());
            let files: Vec<_> = secret_files(&raw.any).into_iter().map(|path| (path.clone(), stamp(&path))).collect();
            if files.is_empty() {
                self.watched.remove(&key);
            } else {
                self.watched.insert(key, Watched { raw: raw.clone(), files });
            }
        }
    }

    /// Forgets those that nobody wants.
    pub(super) fn retain(&mut self, wanted: impl Fn(&ConfigSource, &str) -> bool) {
        self.watched.retain(|(source, name), _| wanted(source, name));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Secrets whose files changed since the last look.
    pub(super) fn changed(&mut self) -> Vec<Told> {
        let mut changed = Vec::new();
        for ((source, _), watched) in &mut self.watched {
            let mut differs = false;
            for (path, seen) in &mut watched.files {
                let now = stamp(path);
                differs |= std::mem::replace(seen, now) != now;
            }
            if differs {
                let (source, added) = (source.clone(), vec![watched.raw.clone()]);
                changed.push(Told { source, type_url: TypeUrl::SECRET, added, removed: Vec::new() });
            }
        }
        changed
    }
}

fn stamp(path: &PathBuf) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok(), meta.len(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::json;
    use serde_json::json;

    use super::*;

    fn told(name: &str, file: &std::path::Path) -> Told {
        let any = json::any_from_value(&json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": name,
            "validation_context": {"trusted_ca": {"filename": file}},
        }))
        .unwrap();
        let raw = Raw { name: name.to_owned(), version: String::new(), any };
        Told { source: ConfigSource::Ads, type_url: TypeUrl::SECRET, added: vec![raw], removed: vec![] }
    }

    #[test]
    fn a_change_is_seen_once_also_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        for (path, text) in [(&one, "a"), (&two, "b")] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("ca.pem"), text).unwrap();
        }
        let link = folder.path().join("data");
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let mut files = SecretFiles::default();
        files.note(&told("s", &link.join("ca.pem")));
        assert!(files.changed().is_empty());
        let next = folder.path().join("next");
        std::os::unix::fs::symlink(&two, &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
        assert_eq!(files.changed()[0].added[0].name, "s");
        assert!(files.changed().is_empty());
        std::fs::remove_file(two.join("ca.pem")).unwrap();
        assert_eq!(files.changed().len(), 1);
        files.retain(|_, name| name != "s");
        assert!(files.is_empty());
    }
}
