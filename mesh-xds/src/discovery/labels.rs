use std::collections::BTreeMap;

/// Key and value pairs that identify a workload.
///
/// Ordered, so that everything derived from labels comes out the same in every process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Whether every pair of `selector` is among these labels. An empty selector selects everything.
    #[must_use]
    pub fn matches(&self, selector: &Labels) -> bool {
        selector.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// The value of `key`.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All pairs, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Adds or replaces one pair.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// The application: `app`, else `app.kubernetes.io/name`.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.first(&["app", "app.kubernetes.io/name"])
    }

    /// The version: `version`, else `app.kubernetes.io/version`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.first(&["version", "app.kubernetes.io/version"])
    }

    /// Istio's canonical service name: its own label, else the application.
    #[must_use]
    pub fn canonical_name(&self) -> Option<&str> {
        self.first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"])
    }

    /// Istio's canonical revision: its own label, else the version.
    #[must_use]
    pub fn canonical_revision(&self) -> Option<&str> {
        self.first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"])
    }

    fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.value(key))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn selection_needs_every_pair() {
        let labels: Labels = [("app", "reviews"), ("version", "v1")].into_iter().collect();
        assert!(labels.matches(&Labels::default()));
        assert!(labels.matches(&[("app", "reviews")].into_iter().collect()));
        assert!(!labels.matches(&[("app", "reviews"), ("version", "v2")].into_iter().collect()));
        assert!(!Labels::default().matches(&labels));
    }
}
