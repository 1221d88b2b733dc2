//! A sink that keeps a JSON file.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{ObjectReport, StatusError, StatusSink};
use crate::model::ObjectKey;

/// Keeps all reports in one JSON file, `{"objects": [...]}` in the order of the objects' keys; each as
/// [`ObjectReport`] says.
///
/// The file is written beside and renamed, so that a reader always sees a whole one.
#[derive(Debug)]
pub struct FileStatusSink {
    path: PathBuf,
    reports: BTreeMap<ObjectKey, ObjectReport>,
}

impl FileStatusSink {
    /// A sink for a file, whose folder must exist. An older file is replaced with the first reports.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reports: BTreeMap::new() }
    }
}

impl StatusSink for FileStatusSink {
    fn write(&mut self, reports: &[ObjectReport], gone: &[ObjectKey]) -> Result<(), StatusError> {
        gone.iter().for_each(|key| {
            self.reports.remove(key);
        });
        self.reports.extend(reports.iter().map(|report| (report.key.clone(), report.clone())));
        let all: Vec<_> = self.reports.values().collect();
        let text = serde_json::to_vec_pretty(&serde_json::json!({ "objects": all }));
        text.map_err(io::Error::from)
            .and_then(|text| replace(&self.path, &text))
            .map_err(|error| StatusError(Box::new(error)))
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
