//! What the targets share: the check that a finding is fit to be shown.

use mesh_config::{Diagnostic, LoadResult, TextRenderer, analyze_all, load_str, render_json, render_sarif};

/// Reads, validates and analyses a text, and writes the findings down in every form.
///
/// # Panics
///
/// When a finding points outside of the text.
pub fn whole(name: &str, text: &str) -> LoadResult {
    let mut loaded = load_str(name, text);
    loaded.diagnostics.extend(analyze_all(loaded.all_objects()));
    shown(text, &loaded.diagnostics);
    loaded
}

/// Writes findings down in every form.
///
/// # Panics
///
/// When a finding points outside of the text.
pub fn shown(text: &str, found: &[Diagnostic]) {
    // A line ends with LF, CRLF or CR; the place after the last one is a line as well.
    let lines = text.split(['\n', '\r']).count();
    for finding in found {
        assert!(!finding.message.is_empty());
        assert!((finding.position.line as usize) <= lines, "{finding}");
    }
    let _ = TextRenderer::new().render(found, |_| Some(text.to_owned()));
    let _ = render_json(found);
    let _ = render_sarif(found);
}
