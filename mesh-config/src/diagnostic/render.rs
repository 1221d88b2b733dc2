//! Findings for people, and as JSON.

use std::{collections::HashMap, fmt::Write as _};

use super::{Diagnostic, Level};

/// Writes findings for people: the message, the line of the file with a caret, and what to do.
///
/// ```text
/// error[IST0106]: the weights add up to 130, not 100
///   --> reviews.yaml:12:7 (VirtualService default/reviews, spec.http[0].route)
///    |
/// 12 |       route:
///    |       ^
///    = help: make them add up to 100
///    = see: https://istio.io/latest/docs/reference/config/analysis/ist0106/
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TextRenderer {
    color: bool,
}

impl TextRenderer {
    /// Without colour.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With colour for terminals (ANSI), or without.
    #[must_use]
    pub fn color(mut self, color: bool) -> Self {
        self.color = color;
        self
    }

    /// Writes all findings; `read` gives the text of a file, or `None` when it cannot be had (then no line is shown).
    pub fn render(&self, diagnostics: &[Diagnostic], mut read: impl FnMut(&str) -> Option<String>) -> String {
        let mut texts: HashMap<&str, Option<String>> = HashMap::new();
        let mut out = String::new();
        for diagnostic in diagnostics {
            let text = texts
                .entry(&diagnostic.file)
                .or_insert_with(|| if diagnostic.file.is_empty() { None } else { read(&diagnostic.file) });
            self.one(diagnostic, text.as_deref(), &mut out);
            out.push('\n');
        }
        out
    }

    fn one(&self, diagnostic: &Diagnostic, text: Option<&str>, out: &mut String) {
        let (tint, bold, dim, off) = if self.color {
            let tint = match diagnostic.level {
                Level::Error => "\x1b[1;31m",
                Level::Warning => "\x1b[1;33m",
                Level::Info => "\x1b[1;36m",
            };
            (tint, "\x1b[1m", "\x1b[34m", "\x1b[0m")
        } else {
            ("", "", "", "")
        };
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "{tint}{}[{}]{off}: {bold}{}{off}", diagnostic.level, diagnostic.code, diagnostic.message);
        let subject: Vec<&str> =
            [diagnostic.resource.as_str(), &diagnostic.path].into_iter().filter(|part| !part.is_empty()).collect();
        let place = match (diagnostic.file.is_empty(), diagnostic.position.is_known()) {
            (true, _) => String::new(),
            (false, true) => format!("{}:{}", diagnostic.file, diagnostic.position),
            (false, false) => diagnostic.file.to_string(),
        };
        let number = diagnostic.position.line.to_string();
        let pad = " ".repeat(number.len());
        if !place.is_empty() || !subject.is_empty() {
            let subject = if subject.is_empty() { String::new() } else { format!(" ({})", subject.join(", ")) };
            let _ = writeln!(out, "{pad}{dim}-->{off} {place}{subject}");
        }
        if let Some(line) = snippet(text, diagnostic) {
            let caret = diagnostic.position.column.saturating_sub(1) as usize;
            let indent: String = line.chars().take(caret).map(blank).collect();
            let _ = writeln!(out, "{pad} {dim}|{off}");
            let _ = writeln!(out, "{dim}{number} |{off} {line}");
            let _ = writeln!(out, "{pad} {dim}|{off} {indent}{tint}^{off}");
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(out, "{pad} {dim}={off} help: {help}");
        }
        let _ = writeln!(out, "{pad} {dim}={off} see: {}", diagnostic.code.documentation());
    }
}

/// The line a finding is about, shortened when it is very long; `None` when the caret would not be within.
fn snippet(text: Option<&str>, diagnostic: &Diagnostic) -> Option<String> {
    const WIDTH: usize = 160;
    let index = usize::try_from(diagnostic.position.line.checked_sub(1)?).ok()?;
    let line = text?.trim_start_matches('\u{feff}').lines().nth(index)?;
    if diagnostic.position.column as usize > WIDTH {
        return None;
    }
    Some(line.chars().take(WIDTH).map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect())
}

/// Control characters of a file must not reach the terminal, nor those that change the direction of what follows.
fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What takes as much room on a terminal as a character.
fn blank(c: char) -> &'static str {
    match c {
        '\t' => "\t",
        // Marks that are put onto the character before, and joiners. Source: Unicode blocks of combining marks.
        '\u{300}'..='\u{36f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{200b}'..='\u{200d}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}' => "",
        // Source: Unicode Standard Annex 11, East Asian Width, W and F.
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{33ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{a000}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => "  ",
        _ => " ",
    }
}

/// Writes findings as a JSON list of `{code, level, resource, message, file, line, documentation}`, with `column`, `path`
/// and `help` where they are known.
#[must_use]
pub fn render_json(diagnostics: &[Diagnostic]) -> String {
    let mut out = serde_json::to_string_pretty(diagnostics).unwrap_or_else(|_| "[]".to_owned());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Position, model::SourceLocation};

    fn finding() -> Diagnostic {
        let location = SourceLocation { file: "a.yaml".into(), position: Position { line: 2, column: 3 } };
        Diagnostic::at(Code::SchemaValidationError, &location, &[&"too much"]).with_help("take less")
    }

    #[test]
    fn shows_the_line_with_a_caret() {
        let text = TextRenderer::new().render(&[finding()], |_| Some("x\n  abc\n".into()));
        assert_eq!(
            text,
            "error[IST0106]: too much\n --> a.yaml:2:3\n  |\n2 |   abc\n  |   ^\n  = help: take less\n  = see: https://istio.io/latest/docs/reference/config/analysis/ist0106/\n\n"
        );
    }

    #[test]
    fn the_caret_stands_below_its_character() {
        let line = |text: &str, column: u32| {
            let mut finding = finding();
            finding.position = Position { line: 1, column };
            let shown = TextRenderer::new().render(&[finding], |_| Some(text.to_owned()));
            let lines: Vec<_> = shown.lines().skip(3).take(2).map(|line| line[4..].to_owned()).collect();
            (lines[0].clone(), lines[1].clone())
        };
        // A wide character takes two places, a combining one none, a tab what it takes above.
        for (text, column, caret) in [
            ("a: 世界 x", 7, "        ^"),
            ("cafe\u{301}: x", 8, "      ^"),
            ("\ta: x", 5, "\t   ^"),
            ("\u{feff}a: x", 4, "   ^"),
            ("a: x\r", 4, "   ^"),
        ] {
            assert_eq!(line(text, column).1, caret, "{text}");
        }
        assert_eq!(line("a: \u{202e}x\u{1b}[2J", 1).0, "a: \u{fffd}x\u{fffd}[2J");
    }

    #[test]
    fn json_has_the_agreed_names() {
        let value: serde_json::Value = serde_json::from_str(&render_json(&[finding()])).unwrap();
        let expected = serde_json::json!([{
            "code": "IST0106", "level": "error", "resource": "", "message": "too much", "file": "a.yaml", "line": 2,
            "column": 3, "help": "take less",
            "documentation": "https://istio.io/latest/docs/reference/config/analysis/ist0106/",
        }]);
        assert_eq!(value, expected);
    }
}
