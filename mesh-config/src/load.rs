//! Files in, objects and findings out, in one call.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    analyze::{Analyzers, mesh_settings},
    diagnostic::{Code, Diagnostic, sort_diagnostics},
    model::{MeshConfig, Object, ObjectKey, SourceLocation},
    parse::{Parsed, is_object, mesh_object, parse_bytes},
    position::Position,
    snapshot::Snapshot,
    source::{ScanError, duplicate, list_files},
    validate::{Validators, mesh_config::validate_file},
};

/// What some files hold.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadResult {
    /// The objects without faults, in the order of files and documents; of several with the same key the first.
    pub objects: Vec<Arc<Object>>,
    /// Objects with schema errors; [`analyze_all`] may look at them as well.
    pub faulty: Vec<Arc<Object>>,
    /// What was wrong with reading, the errors of the schema and of [`Validators::standard`], in order of file and
    /// position.
    pub diagnostics: Vec<Diagnostic>,
    /// How many files were read.
    pub files: usize,
}

/// Reads files, and folders with all below, and checks each object by itself.
///
/// Files that are named are read whatever their name; in folders those count that [`DirectoryScanner`] reads. A file
/// that cannot be read is a finding.
///
/// # Errors
///
/// When one of `paths` does not exist or is a folder that cannot be read.
///
/// [`DirectoryScanner`]: crate::DirectoryScanner
pub fn load_path(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<LoadResult, ScanError> {
    load_path_and(paths, [])
}

/// Reads files and folders as [`load_path`] does, and `texts`, with their names, as if they were files besides.
///
/// # Errors
/// As [`load_path`].
pub fn load_path_and<'t>(
    paths: impl IntoIterator<Item = impl Into<PathBuf>>,
    texts: impl IntoIterator<Item = (&'t str, &'t [u8])>,
) -> Result<LoadResult, ScanError> {
    let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
    let (files, errors) = list_files(&paths)?;
    let mut loaded = LoadResult { files: files.len(), ..LoadResult::default() };
    let mut seen = BTreeMap::new();
    loaded.diagnostics.extend(errors.iter().map(ScanError::diagnostic));
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => loaded.take(parse_bytes(&file.to_string_lossy(), &bytes), &mut seen),
            Err(error) => loaded.diagnostics.push(unreadable(&file, error).diagnostic()),
        }
    }
    for (name, text) in texts {
        loaded.files += 1;
        loaded.take(parse_bytes(name, text), &mut seen);
    }
    sort_diagnostics(&mut loaded.diagnostics);
    Ok(loaded)
}

/// Reads the objects of one text (such as the standard input) as [`load_path`] does.
#[must_use]
pub fn load_str(name: &str, text: &str) -> LoadResult {
    let mut loaded = LoadResult { files: 1, ..LoadResult::default() };
    loaded.take(crate::parse::parse(name, text), &mut BTreeMap::new());
    sort_diagnostics(&mut loaded.diagnostics);
    loaded
}

fn unreadable(file: &Path, source: std::io::Error) -> ScanError {
    ScanError { path: file.to_owned(), source }
}

impl LoadResult {
    /// Every object, also those with faults: what [`analyze_all`] is for.
    pub fn all_objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.iter().chain(&self.faulty)
    }

    fn take(&mut self, parsed: Parsed, seen: &mut BTreeMap<ObjectKey, Arc<Object>>) {
        let validators = Validators::standard();
        self.diagnostics.extend(parsed.diagnostics);
        for object in parsed.objects {
            let found = validators.validate(&object);
            let fit = !found.iter().any(Diagnostic::is_error);
            self.diagnostics.extend(found);
            if let Some(first) = seen.get(object.key()) {
                self.diagnostics.push(duplicate(&object, first));
                continue;
            }
            seen.insert(object.key().clone(), Arc::clone(&object));
            if fit { self.objects.push(object) } else { self.faulty.push(object) }
        }
        for object in parsed.faulty {
            self.diagnostics.extend(validators.validate(&object));
            self.faulty.push(object);
        }
    }
}

/// The settings of a mesh from a file, and what is wrong with them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadedMeshConfig {
    /// The settings.
    pub mesh: MeshConfig,
    /// The findings, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks the settings of a mesh; `file` is its name in findings. The text holds the settings by themselves, or
/// objects of which one is a `MeshConfig`, an `IstioOperator`, or the ConfigMap `istio`.
///
/// # Errors
///
/// The finding that says what cannot be read, or that no object holds settings of a mesh.
pub fn load_mesh_config(file: &str, text: &str) -> Result<LoadedMeshConfig, Diagnostic> {
    if !is_object(text) {
        let object = mesh_object(file, text)?;
        let mesh = object.spec_as().cloned().unwrap_or_default();
        return Ok(LoadedMeshConfig { mesh, diagnostics: validate_file(&object) });
    }
    let loaded = load_str(file, text);
    let snapshot = Snapshot::from_objects(loaded.all_objects().cloned());
    let location = SourceLocation { file: file.into(), position: Position { line: 1, column: 1 } };
    let missing = || Diagnostic::at(Code::NotAnObject, &location, &[&"no object in it holds settings of a mesh"]);
    let mesh = mesh_settings(&snapshot).ok_or_else(missing)?;
    Ok(LoadedMeshConfig { mesh, diagnostics: loaded.diagnostics })
}

/// Checks objects as [`analyze_all`] does, in a mesh with these settings.
#[must_use]
pub fn analyze_all_in<'a>(objects: impl IntoIterator<Item = &'a Arc<Object>>, mesh: &MeshConfig) -> Vec<Diagnostic> {
    let snapshot = Snapshot::from_objects(objects.into_iter().cloned());
    let mut found = Analyzers::standard().analyze_in(&snapshot, mesh).diagnostics;
    sort_diagnostics(&mut found);
    found
}

/// Checks objects against each other with [`Analyzers::standard`]; the findings are in order of file and position.
#[must_use]
pub fn analyze_all<'a>(objects: impl IntoIterator<Item = &'a Arc<Object>>) -> Vec<Diagnostic> {
    let snapshot = Snapshot::from_objects(objects.into_iter().cloned());
    let mut found = Analyzers::standard().analyze(&snapshot).diagnostics;
    sort_diagnostics(&mut found);
    found
}
