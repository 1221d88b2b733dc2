//! Findings that are known and not to be shown: by code and object, or by an annotation of the object itself.

use std::{collections::HashMap, str::FromStr, sync::Arc};

use super::Diagnostic;
use crate::model::{Object, ObjectKey};

/// The annotation by which an object suppresses findings about itself: codes separated by commas, or `*`.
///
/// Source: Istio's `galley.istio.io/analyze-suppress`.
pub const SUPPRESS_ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// One suppression, written `CODE=OBJECT`, such as `IST0101=VirtualService prod/reviews`.
///
/// In the code and in the object `*` stands for any text, as in `IST0118=Service dev/*`. The object is written as
/// findings show it.
///
/// ```
/// use mesh_config::Suppression;
///
/// assert!("IST0118=Service dev/*".parse::<Suppression>().is_ok());
/// assert!("IST0118".parse::<Suppression>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    object: String,
}

/// The text is no suppression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid suppression {0:?}: write CODE=OBJECT, such as \"IST0118=Service dev/*\"")]
pub struct InvalidSuppression(String);

impl FromStr for Suppression {
    type Err = InvalidSuppression;

    fn from_str(text: &str) -> Result<Self, InvalidSuppression> {
        match text.split_once('=') {
            Some((code, object)) if !code.trim().is_empty() && !object.trim().is_empty() => {
                Ok(Self { code: code.trim().to_owned(), object: object.trim().to_owned() })
            }
            _ => Err(InvalidSuppression(text.to_owned())),
        }
    }
}

impl Suppression {
    /// Whether it is about a finding.
    #[must_use]
    pub fn covers(&self, finding: &Diagnostic) -> bool {
        matches(&self.code, finding.code.as_str()) && matches(&self.object, &finding.resource)
    }
}

/// Takes out findings that `suppressions`, or annotations of the objects they are about, suppress; gives their number.
pub fn suppress<'a>(
    findings: &mut Vec<Diagnostic>,
    suppressions: &[Suppression],
    objects: impl IntoIterator<Item = &'a Arc<Object>>,
) -> usize {
    let annotated: HashMap<&ObjectKey, &str> = objects
        .into_iter()
        .filter_map(|object| Some((object.key(), object.meta.annotations.get(SUPPRESS_ANNOTATION)?.as_str())))
        .collect();
    let before = findings.len();
    findings.retain(|finding| {
        let annotation = finding.key.as_ref().and_then(|key| annotated.get(key)).copied().unwrap_or_default();
        let by_itself = annotation.split(',').any(|code| matches(code.trim(), finding.code.as_str()));
        !by_itself && !suppressions.iter().any(|suppression| suppression.covers(finding))
    });
    before - findings.len()
}

/// Whether a pattern, in which `*` stands for any text, fits a text as a whole.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{analyze_all, load_str};

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*a", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn by_option_and_by_annotation() {
        let text = |annotations: &str| {
            format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: s, annotations: {{{annotations}}}}}, spec: {{ports: [{{port: 80}}]}}}}"
            )
        };
        let left = |annotations: &str, option: &str| {
            let loaded = load_str("s.yaml", &text(annotations));
            let mut findings = analyze_all(loaded.all_objects());
            let options: Vec<_> = option.split(';').filter_map(|option| option.parse().ok()).collect();
            suppress(&mut findings, &options, loaded.all_objects());
            findings.len()
        };
        assert_eq!(left("", ""), 1);
        assert_eq!(left("", "IST0118=Service s"), 0);
        assert_eq!(left("", "IST0118=Service t;IST0119=*"), 1);
        assert_eq!(left("", "*=Service *"), 0);
        assert_eq!(left("galley.istio.io/analyze-suppress: 'IST0001, IST0118'", ""), 0);
        assert_eq!(left("galley.istio.io/analyze-suppress: '*'", ""), 0);
        assert_eq!(left("galley.istio.io/analyze-suppress: IST0001", ""), 1);
    }
}
