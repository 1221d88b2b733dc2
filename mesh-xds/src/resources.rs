//! Resources from a folder: what `mesh xds --resources DIR` serves.
//!
//! Every `.yaml`, `.yml` and `.json` file of the folder and its subfolders holds resources in protobuf's JSON form, in any
//! of these shapes, several documents a file allowed:
//!
//! ```yaml
//! "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
//! name: one
//! ---
//! resources:   # as in Envoy's own filesystem subscription
//! - "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
//!   name: another
//! ```
//!
//! A list at the top is a list of resources. Names that begin with a dot are passed over. A file that cannot be read keeps
//! what it last gave, and the error is told; two files that define the same resource are an error of the later one, by
//! path.

mod file;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::file::{Stamp, parse};
use crate::{
    Resource, ResourceKey,
    store::{self, Changed, Dangling, External, View},
};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// The most files that are read.
const MAX_FILES: usize = 10_000;

/// A folder of resources.
#[derive(Debug)]
pub struct ResourceDir {
    root: PathBuf,
    files: BTreeMap<PathBuf, FileState>,
    /// The walk itself failed.
    walk_error: Option<FileError>,
}

#[derive(Debug, Default)]
struct FileState {
    stamp: Option<Stamp>,
    resources: Vec<Resource>,
    error: Option<FileError>,
    duplicate: Option<FileError>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
#[non_exhaustive]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with the place in the file where it is known.
    pub reason: String,
}

impl FileError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl ResourceDir {
    /// Reads the folder. Errors of single files are in [`ResourceDir::errors`].
    ///
    /// # Errors
    /// If `root` is no folder that can be read.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        std::fs::read_dir(&root)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot read the folder {}: {e}", root.display())))?;
        let mut dir = Self { root, files: BTreeMap::new(), walk_error: None };
        dir.scan();
        Ok(dir)
    }

    /// Looks again: reads files that are new or changed, forgets those that are gone. Gives whether anything is
    /// different. Blocks on the file system.
    pub fn scan(&mut self) -> bool {
        let mut found = BTreeMap::new();
        let walked = file::walk(&self.root, &mut found, MAX_FILES);
        let walk_error = walked.err().map(|e| FileError::new(&self.root, e));
        let mut different = walk_error != self.walk_error;
        if walk_error.is_none() {
            let before = self.files.len();
            self.files.retain(|path, _| found.contains_key(path));
            different |= self.files.len() != before;
        }
        self.walk_error = walk_error;
        for (path, stamp) in found {
            let state = self.files.entry(path.clone()).or_default();
            if state.stamp.as_ref() == Some(&stamp) {
                continue;
            }
            different = true;
            match parse(&path, stamp.len, MAX_FILE_BYTES) {
                Ok(resources) => {
                    state.resources = resources;
                    state.error = None;
                }
                Err(error) => state.error = Some(error),
            }
            state.stamp = Some(stamp);
        }
        if different {
            self.find_duplicates();
        }
        different
    }

    fn find_duplicates(&mut self) {
        let mut owners: HashMap<ResourceKey, &PathBuf> = HashMap::new();
        for (path, state) in &mut self.files {
            state.duplicate = None;
            for resource in &state.resources {
                if let Some(owner) = owners.get(&resource.key()) {
                    let reason = format!("{resource:?} is also defined in {}; that one is used", owner.display());
                    state.duplicate = Some(FileError::new(path, reason));
                } else {
                    owners.insert(resource.key(), path);
                }
            }
        }
    }

    /// The resources, one per type and name, with their file as origin.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        self.in_force().cloned().collect()
    }

    fn in_force(&self) -> impl Iterator<Item = &Resource> {
        let mut seen = std::collections::HashSet::new();
        let all = self.files.values().flat_map(|f| &f.resources);
        all.filter(move |r| seen.insert(r.key()))
    }

    /// The references among the resources that lead to nothing, each with its file as origin: no error, for clients may have
    /// what is missing from elsewhere, such as their bootstrap.
    #[must_use]
    pub fn dangling(&self) -> Vec<Dangling> {
        store::dangling(self.in_force(), &External::none())
    }

    /// What is wrong now, by file.
    pub fn errors(&self) -> impl Iterator<Item = &FileError> {
        let files = self.files.values().flat_map(|f| f.error.iter().chain(&f.duplicate));
        self.walk_error.iter().chain(files)
    }

    /// Keeps `view` equal to the folder, looking every `period` (200 ms is a good one). `told` is called after each
    /// difference, the first time at once. Ends only when dropped.
    pub async fn follow(mut self, view: Arc<View>, period: Duration, mut told: impl FnMut(&Self, &Changed)) {
        loop {
            let changed = view.replace(self.resources());
            told(&self, &changed);
            loop {
                tokio::time::sleep(period).await;
                // The blocking pool is gone only with the runtime that polls this future.
                let Ok((dir, different)) = tokio::task::spawn_blocking(move || {
                    let different = self.scan();
                    (self, different)
                })
                .await
                else {
                    return;
                };
                self = dir;
                if different {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeUrl;

    const CLUSTER: &str = "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: ";

    fn names(dir: &ResourceDir) -> Vec<String> {
        dir.resources().iter().map(|r| r.name().to_string()).collect()
    }

    fn reasons(dir: &ResourceDir) -> Vec<String> {
        dir.errors().map(|e| format!("{}: {}", e.path.file_name().unwrap().to_string_lossy(), e.reason)).collect()
    }

    #[test]
    fn reads_every_shape() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        write("a.yaml", &format!("{CLUSTER}one\n---\n{CLUSTER}two\n"));
        write("b.json", r#"[{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "three"}]"#);
        write(
            "sub/c.yml",
            "version_info: \"1\"\nresources:\n- \"@type\": \
             type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n  cluster_name: four\n",
        );
        write(".hidden.yaml", "nonsense: [");
        write("notes.txt", "nonsense: [");
        let dir = ResourceDir::open(folder.path()).unwrap();
        assert_eq!(reasons(&dir), [] as [&str; 0]);
        assert_eq!(names(&dir), ["one", "two", "three", "four"]);
        assert!(dir.resources()[3].type_url() == &TypeUrl::ENDPOINT);
        assert!(dir.resources()[0].origin().unwrap().as_str().ends_with("a.yaml"));
    }

    #[test]
    fn a_bad_file_keeps_what_it_gave() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, format!("{CLUSTER}one")).unwrap();
        let mut dir = ResourceDir::open(folder.path()).unwrap();
        assert!(!dir.scan());
        std::fs::write(&path, format!("{CLUSTER}one\nnmae: x")).unwrap();
        assert!(dir.scan());
        assert_eq!(names(&dir), ["one"]);
        assert!(reasons(&dir)[0].contains("nmae"), "{:?}", reasons(&dir));
        std::fs::write(&path, format!("{CLUSTER}other")).unwrap();
        dir.scan();
        assert_eq!((names(&dir), reasons(&dir)), (vec!["other".into()], vec![]));
        std::fs::remove_file(&path).unwrap();
        assert!(dir.scan());
        assert_eq!(names(&dir), [] as [&str; 0]);
    }

    #[test]
    fn the_second_definition_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.yaml", "b.yaml"] {
            std::fs::write(folder.path().join(file), format!("{CLUSTER}one")).unwrap();
        }
        let dir = ResourceDir::open(folder.path()).unwrap();
        assert_eq!(names(&dir), ["one"]);
        assert!(reasons(&dir)[0].starts_with("b.yaml: CDS/one"), "{:?}", reasons(&dir));
    }

    #[test]
    fn a_reference_to_nothing_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let eds = "type: EDS\neds_cluster_config: {eds_config: {ads: {}}}";
        std::fs::write(folder.path().join("a.yaml"), format!("{CLUSTER}one\n{eds}")).unwrap();
        let mut dir = ResourceDir::open(folder.path()).unwrap();
        let told: Vec<String> = dir.dangling().iter().map(ToString::to_string).collect();
        let file = folder.path().join("a.yaml");
        assert_eq!(told, [format!("CDS/one (from {}): name: there is no EDS/one", file.display())]);
        assert_eq!(reasons(&dir), [] as [&str; 0]);
        let endpoints =
            "\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\ncluster_name: one";
        std::fs::write(folder.path().join("b.yaml"), endpoints).unwrap();
        assert!(dir.scan());
        assert_eq!(dir.dangling(), []);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = ResourceDir::open("/does/not/exist").unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"), "{error}");
    }

    #[tokio::test]
    async fn follow_keeps_the_view() {
        let folder = tempfile::tempdir().unwrap();
        let view = View::new();
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        let dir = ResourceDir::open(folder.path()).unwrap();
        let following = dir.follow(view.clone(), Duration::from_millis(5), move |_, changed| {
            sender.send(changed.clone()).unwrap();
        });
        let following = tokio::spawn(following);
        assert!(told.recv().await.unwrap().is_empty());
        std::fs::write(folder.path().join("a.yaml"), format!("{CLUSTER}one")).unwrap();
        while view.is_empty() {
            told.recv().await.unwrap();
        }
        assert!(view.get(&TypeUrl::CLUSTER, "one").is_some());
        following.abort();
    }
}
