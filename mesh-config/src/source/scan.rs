//! The synchronous core of the directory source: scans in, changes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    ObjectChange,
    walk::{ScanError, Walk},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Object, ObjectKey},
    parse::{MAX_FILE_BYTES, Parsed, parse_bytes},
};

/// A file that changed this shortly before it was read may change again without its time showing it.
const RACY: Duration = Duration::from_secs(2);

/// Reads folders of files again and again and tells what changed. It does no waiting; [`DirectorySource`] does.
///
/// It reads `.yaml`, `.yml` and `.json` below the paths (or the paths themselves when they are files), follows symbolic
/// links, and passes over names that begin with a dot, so that editors' temporary files and the hidden folders of
/// Kubernetes volumes do not count. A file with a document that is
/// not YAML, or no object of a kind that exists, keeps the objects it held before. When several files
/// hold the same object, the first one by path counts.
///
/// [`DirectorySource`]: super::DirectorySource
#[derive(Debug)]
pub struct DirectoryScanner {
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, FileState>,
    told: View,
}

/// What is known of a file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    stamp: Option<Stamp>,
    content: Vec<u8>,
    held: BTreeMap<ObjectKey, Held>,
    /// Findings that belong to no object.
    findings: Vec<Diagnostic>,
}

/// What a file holds of an object.
#[derive(Clone, Debug)]
enum Held {
    /// Its present version.
    Good(Arc<Object>),
    /// The version from before the file's YAML broke.
    Kept(Arc<Object>),
    /// A version that cannot be read.
    Refused(Vec<Diagnostic>),
}

/// Tells whether a file was touched since.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    racy: bool,
}

/// What the files together say.
#[derive(Debug, Default)]
pub(super) struct View {
    objects: BTreeMap<ObjectKey, Held>,
    findings: BTreeMap<Arc<str>, Vec<Diagnostic>>,
}

impl DirectoryScanner {
    /// A scanner that has read nothing yet.
    #[must_use]
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { paths: paths.into_iter().map(Into::into).collect(), files: BTreeMap::new(), told: View::default() }
    }

    /// Reads what was touched since the last scan and tells what changed; blocks on the file system.
    ///
    /// # Errors
    ///
    /// When one of the paths cannot be read; then nothing changes. A single file or folder below that cannot be read is
    /// a finding.
    pub fn scan(&mut self) -> Result<Vec<ObjectChange>, ScanError> {
        let walk = Walk::all(&self.paths)?;
        self.files.retain(|path, _| walk.files.contains(path) || walk.is_unreadable(path));
        for path in &walk.files {
            let state = self.files.entry(path.clone()).or_default();
            if let Err(error) = state.refresh(path) {
                if error.kind() == io::ErrorKind::NotFound {
                    self.files.remove(path); // deleted between listing and reading
                } else {
                    state.findings = vec![ScanError::new(path, error).diagnostic()];
                }
            }
        }
        let files = self.files.iter().map(|(path, state)| (Arc::from(path.to_string_lossy()), state));
        let mut view = View::of(files);
        for error in &walk.errors {
            view.findings.entry(error.path.to_string_lossy().into()).or_default().push(error.diagnostic());
        }
        let changes = self.told.changes(&view);
        self.told = view;
        Ok(changes)
    }
}

/// The finding about an object that another place defines already.
pub(crate) fn duplicate(object: &Object, first: &Object) -> Diagnostic {
    let args: [&dyn std::fmt::Display; 2] = [&object.key(), &first.source];
    Diagnostic::on(Code::DuplicateObject, object, crate::path::FieldPath::root(), &args).with_help("keep one of them")
}

impl FileState {
    /// Reads the file when it was touched.
    fn refresh(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified().ok();
        let age = modified.and_then(|time| SystemTime::now().duration_since(time).ok());
        let stamp = Stamp { modified, len: metadata.len(), racy: age.is_none_or(|age| age < RACY) };
        if !stamp.racy && self.stamp.as_ref().is_some_and(|old| !old.racy && *old == stamp) {
            return Ok(());
        }
        let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
        if metadata.len() > limit {
            return Err(io::Error::other(format!("the file is larger than {limit} bytes: split it")));
        }
        let content = fs::read(path)?;
        if self.stamp.is_none() || content != self.content {
            let name = path.to_string_lossy();
            self.take(parse_bytes(&name, &content));
            self.content = content;
        }
        self.stamp = Some(stamp);
        Ok(())
    }

    /// Takes the new content over.
    pub(super) fn take(&mut self, parsed: Parsed) {
        let mut held: BTreeMap<ObjectKey, Held> = BTreeMap::new();
        self.findings.clear();
        let (of_objects, others): (Vec<_>, Vec<_>) =
            parsed.diagnostics.into_iter().partition(|finding| finding.key.is_some());
        self.findings.extend(others);
        for object in parsed.objects {
            match held.get(object.key()) {
                Some(Held::Good(first)) => self.findings.push(duplicate(&object, first)),
                _ => {
                    held.insert(object.key().clone(), Held::Good(object));
                }
            }
        }
        let faulty = parsed.faulty.iter().map(|object| object.key().clone());
        for key in parsed.unread.into_iter().chain(faulty) {
            let own = |finding: &&Diagnostic| finding.key.as_ref() == Some(&key);
            let findings = of_objects.iter().filter(own).cloned().collect();
            held.entry(key).or_insert(Held::Refused(findings));
        }
        if parsed.broken_documents > 0 {
            for (key, old) in std::mem::take(&mut self.held) {
                let kept = match old {
                    Held::Good(object) | Held::Kept(object) => Held::Kept(object),
                    // Its findings are of a text that is gone.
                    Held::Refused(_) => Held::Refused(Vec::new()),
                };
                held.entry(key).or_insert(kept);
            }
        }
        self.held = held;
    }
}

impl View {
    /// Puts files together; the first file with a present version of an object counts.
    pub(super) fn of<'f>(files: impl IntoIterator<Item = (Arc<str>, &'f FileState)>) -> Self {
        let mut view = Self::default();
        for (name, state) in files {
            let mut findings = state.findings.clone();
            for (key, held) in &state.held {
                match (view.objects.get(key), held) {
                    (None, held) | (Some(Held::Kept(_) | Held::Refused(_)), held @ Held::Good(_)) => {
                        view.objects.insert(key.clone(), held.clone());
                    }
                    (Some(Held::Good(first)), Held::Good(object)) => {
                        findings.push(duplicate(object, first));
                    }
                    _ => {}
                }
            }
            if !findings.is_empty() {
                view.findings.insert(name, findings);
            }
        }
        view
    }

    /// What changed from `self` to `now`.
    pub(super) fn changes(&self, now: &Self) -> Vec<ObjectChange> {
        let mut changes = Vec::new();
        for (key, held) in &now.objects {
            match (held, self.objects.get(key)) {
                (Held::Good(new) | Held::Kept(new), Some(Held::Good(old) | Held::Kept(old)))
                    if Arc::ptr_eq(new, old) => {}
                (Held::Good(object) | Held::Kept(object), _) => changes.push(ObjectChange::Applied(Arc::clone(object))),
                (Held::Refused(new), Some(Held::Refused(old))) if new == old => {}
                (Held::Refused(diagnostics), _) => {
                    changes.push(ObjectChange::Refused { key: key.clone(), diagnostics: diagnostics.clone() });
                }
            }
        }
        let gone = self.objects.keys().filter(|key| !now.objects.contains_key(key));
        changes.extend(gone.cloned().map(ObjectChange::Deleted));
        let parts: BTreeSet<_> = self.findings.keys().chain(now.findings.keys()).collect();
        for part in parts.into_iter().filter(|part| self.findings.get(*part) != now.findings.get(*part)) {
            let diagnostics = now.findings.get(part).cloned().unwrap_or_default();
            changes.push(ObjectChange::Findings { part: Arc::clone(part), diagnostics });
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_entry(name: &str, host: &str) -> String {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: [{host}]}}\n"
        )
    }

    /// `+key`, `-key`, `!key` for refused, and `part:n` for findings.
    fn shape(changes: &[ObjectChange], root: &Path) -> Vec<String> {
        let shape = |change: &ObjectChange| match change {
            ObjectChange::Applied(object) => format!("+{}", object.name()),
            ObjectChange::Deleted(key) => format!("-{}", key.name),
            ObjectChange::Refused { key, diagnostics } => format!("!{}:{}", key.name, diagnostics.len()),
            ObjectChange::Findings { part, diagnostics } => {
                let part = Path::new(&**part).strip_prefix(root).unwrap().display().to_string();
                format!("{part}:{}", diagnostics.len())
            }
        };
        changes.iter().map(shape).collect()
    }

    struct Folder {
        dir: tempfile::TempDir,
        scanner: DirectoryScanner,
    }

    impl Folder {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let scanner = DirectoryScanner::new([dir.path()]);
            Self { dir, scanner }
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn scan(&mut self) -> Vec<String> {
            let changes = self.scanner.scan().unwrap();
            shape(&changes, self.dir.path())
        }
    }

    #[test]
    fn tells_what_changed() {
        let mut folder = Folder::new();
        folder.write("a.yaml", &service_entry("a", "h1"));
        folder.write("sub/b.json", r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"b"}}"#);
        for junk in [".a.yaml.swp", ".#a.yaml", "a.yaml~", "4913", "#a.yaml#", "README.md", ".git/x.yaml"] {
            folder.write(junk, "not: [yaml");
        }
        assert_eq!(folder.scan(), ["+b", "+a"]);
        assert_eq!(folder.scan(), Vec::<String>::new());
        folder.write("a.yaml", &service_entry("a", "h2")); // as long as before, within the same tick
        assert_eq!(folder.scan(), ["+a"]);
        fs::remove_file(folder.dir.path().join("sub/b.json")).unwrap();
        assert_eq!(folder.scan(), ["-b"]);
    }

    #[test]
    fn a_broken_file_keeps_its_objects() {
        let mut folder = Folder::new();
        folder.write("a.yaml", &format!("{}---\n{}", service_entry("a", "h"), service_entry("b", "h")));
        assert_eq!(folder.scan(), ["+a", "+b"]);
        folder.write("a.yaml", &format!("{}---\nx: [\n", service_entry("a", "h2")));
        assert_eq!(folder.scan(), ["+a", "a.yaml:1"]);
        folder.write("a.yaml", &service_entry("a", "h2"));
        assert_eq!(folder.scan(), ["+a", "-b", "a.yaml:0"]);
    }

    #[test]
    fn a_faulty_object_is_refused_by_name() {
        let mut folder = Folder::new();
        folder.write("a.yaml", &service_entry("a", "h"));
        folder.scan();
        folder.write("a.yaml", &service_entry("a", "h").replace("hosts", "hots"));
        assert_eq!(folder.scan(), ["!a:1"]);
        assert_eq!(folder.scan(), Vec::<String>::new());
        folder.write("a.yaml", &service_entry("a", "h"));
        assert_eq!(folder.scan(), ["+a"]);
    }

    #[test]
    fn the_first_of_two_files_counts() {
        let mut folder = Folder::new();
        folder.write("b.yaml", &service_entry("x", "second"));
        assert_eq!(folder.scan(), ["+x"]);
        folder.write("a.yaml", &service_entry("x", "first"));
        assert_eq!(folder.scan(), ["+x", "b.yaml:1"]);
        fs::remove_file(folder.dir.path().join("a.yaml")).unwrap();
        assert_eq!(folder.scan(), ["+x", "b.yaml:0"]);
    }

    #[cfg(unix)]
    #[test]
    fn follows_the_links_of_kubernetes_volumes() {
        use std::os::unix::fs::symlink;
        let mut folder = Folder::new();
        let root = folder.dir.path().to_owned();
        folder.write("..v1/a.yaml", &service_entry("a", "h1"));
        folder.write("..v2/a.yaml", &service_entry("a", "h2"));
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        symlink(".", root.join("loop")).unwrap();
        assert_eq!(folder.scan(), ["+a"]);
        symlink("..v2", root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
        assert_eq!(folder.scan(), ["+a"]);
    }

    #[test]
    fn a_missing_folder_changes_nothing() {
        let mut folder = Folder::new();
        folder.write("in/a.yaml", &service_entry("a", "h"));
        let inner = folder.dir.path().join("in");
        let mut scanner = DirectoryScanner::new([&inner]);
        assert_eq!(scanner.scan().unwrap().len(), 1);
        fs::rename(&inner, folder.dir.path().join("out")).unwrap();
        assert!(scanner.scan().unwrap_err().to_string().starts_with("cannot read"));
        fs::rename(folder.dir.path().join("out"), &inner).unwrap();
        assert!(scanner.scan().unwrap().is_empty());
        assert_eq!(folder.scan().len(), 1);
    }
}
