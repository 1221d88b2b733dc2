//! Paths with variables (`path.match.uri_template`, `path.rewrite.uri_template`).
//!
//! ```text
//!   template = "/" segment *("/" segment) [suffix]
//!   segment  = literal | "*" | "**" | "{" name ["=" segment *("/" segment)] "}"
//! ```
//!
//! `*` stands for one whole segment, `**` for any number of characters with slashes; nothing may follow `**` but literals.
//! A variable without `=` is one segment. The whole path must match; matching takes linear time.

use regex::Regex;

/// Variables in a template at most, as in Envoy.
const MAX_VARIABLES: usize = 5;
/// Characters of a variable's name at most, as in Envoy.
const MAX_NAME: usize = 16;
/// Characters of a segment, as a class of a regular expression: what RFC 3986 calls `pchar`, but for the asterisk.
const CLASS: &str = r"a-zA-Z0-9\-._~%!$&'()+,;:@=";

/// A template that paths are matched with.
#[derive(Clone, Debug)]
pub struct UriTemplate {
    regex: Regex,
}

/// What a rewritten path is put together from.
#[derive(Clone, Debug)]
pub struct RewriteTemplate {
    matched: UriTemplate,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    /// A group of the match's expression.
    Variable(usize),
}

/// Why a template is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It does not begin with a slash.
    #[error("must begin with a slash")]
    NoSlash,
    /// A segment is no literal, `*`, `**` or variable.
    #[error("{0:?} is no segment")]
    Segment(String),
    /// A name is no name, or too long.
    #[error("{0:?} is no name of a variable: a letter, then up to 15 letters, digits and underscores")]
    Name(String),
    /// A variable occurs twice.
    #[error("variable {0} occurs twice")]
    Twice(String),
    /// There are too many variables.
    #[error("has more than {MAX_VARIABLES} variables")]
    TooMany,
    /// Something that is not a literal follows `**`.
    #[error("no * and no variable may follow **")]
    AfterGlob,
    /// A rewrite names a variable that the match does not have.
    #[error("variable {0} is not in the template that is matched")]
    Unknown(String),
}

impl UriTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser { rest: text.strip_prefix('/').ok_or(TemplateError::NoSlash)?, ..Parser::default() };
        parser.pattern.push_str("^/");
        parser.template()?;
        parser.pattern.push('$');
        // Invariant: it is put together from escaped literals and fixed parts.
        let regex = Regex::new(&parser.pattern).map_err(|_| TemplateError::Segment(text.to_owned()))?;
        Ok(Self { regex })
    }

    /// Whether the whole path (without query) matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

impl RewriteTemplate {
    /// Reads a rewrite that takes its variables from `matched`.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str, matched: &UriTemplate) -> Result<Self, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError::NoSlash);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains("//") || !literal.bytes().all(|b| is_literal(b) || b == b'/') {
                return Err(TemplateError::Segment(literal.to_owned()));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            if literal.len() == rest.len() {
                break;
            }
            let (name, after) = after.split_once('}').ok_or_else(|| TemplateError::Segment(after.to_owned()))?;
            let group = matched.regex.capture_names().position(|known| known == Some(name));
            parts.push(Part::Variable(group.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?));
            rest = after;
        }
        Ok(Self { matched: matched.clone(), parts })
    }

    /// The rewritten path; `None` if `path` (without query) does not match.
    #[must_use]
    pub fn rewrite(&self, path: &str) -> Option<String> {
        let captures = self.matched.regex.captures(path)?;
        let part = |part: &'_ Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Variable(group) => captures.get(*group).map_or("", |m| m.as_str()).to_owned(),
        };
        Some(self.parts.iter().map(part).collect())
    }
}

fn is_literal(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b)
}

#[derive(Default)]
struct Parser<'t> {
    rest: &'t str,
    pattern: String,
    names: Vec<&'t str>,
    globbed: bool,
}

impl<'t> Parser<'t> {
    fn template(&mut self) -> Result<(), TemplateError> {
        while !self.rest.is_empty() {
            if let Some(inside) = self.rest.strip_prefix('{') {
                let (variable, rest) =
                    inside.split_once('}').ok_or_else(|| TemplateError::Segment(self.rest.to_owned()))?;
                self.variable(variable)?;
                self.rest = rest;
            } else {
                self.rest = self.segment(self.rest)?;
            }
            match self.rest.strip_prefix('/') {
                Some(rest) => {
                    self.pattern.push('/');
                    self.rest = rest;
                }
                None => return self.suffix(),
            }
        }
        Ok(())
    }

    /// What stands directly behind an operator or variable: a literal, and the end.
    fn suffix(&mut self) -> Result<(), TemplateError> {
        if !self.rest.bytes().all(is_literal) {
            return Err(TemplateError::Segment(self.rest.to_owned()));
        }
        self.pattern.push_str(&regex::escape(self.rest));
        Ok(())
    }

    /// An operator or literal at the start of `text`; gives what follows it.
    fn segment(&mut self, text: &'t str) -> Result<&'t str, TemplateError> {
        if let Some(rest) = text.strip_prefix("**") {
            self.operator(&format!("[{CLASS}/]*"), true)?;
            return Ok(rest);
        }
        if let Some(rest) = text.strip_prefix('*') {
            self.operator(&format!("[{CLASS}]+"), false)?;
            return Ok(rest);
        }
        let (literal, rest) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        if literal.is_empty() || !literal.bytes().all(is_literal) {
            return Err(TemplateError::Segment(literal.to_owned()));
        }
        self.pattern.push_str(&regex::escape(literal));
        Ok(rest)
    }

    fn operator(&mut self, pattern: &str, glob: bool) -> Result<(), TemplateError> {
        if self.globbed {
            return Err(TemplateError::AfterGlob);
        }
        self.globbed = glob;
        self.pattern.push_str(pattern);
        Ok(())
    }

    fn variable(&mut self, text: &'t str) -> Result<(), TemplateError> {
        let (name, inside) = text.split_once('=').map_or((text, None), |(name, inside)| (name, Some(inside)));
        let is_name = name.len() <= MAX_NAME
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            return Err(TemplateError::Name(name.to_owned()));
        }
        if self.names.contains(&name) {
            return Err(TemplateError::Twice(name.to_owned()));
        }
        if self.names.len() == MAX_VARIABLES {
            return Err(TemplateError::TooMany);
        }
        self.names.push(name);
        self.pattern.push_str(&format!("(?P<{name}>"));
        let mut rest = self.segment(inside.unwrap_or("*"))?;
        while !rest.is_empty() {
            let next = rest.strip_prefix('/').ok_or_else(|| TemplateError::Segment(rest.to_owned()))?;
            self.pattern.push('/');
            rest = self.segment(next)?;
        }
        self.pattern.push(')');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(template: &str, path: &str) -> bool {
        UriTemplate::parse(template).unwrap().matches(path)
    }

    #[test]
    fn segments_and_globs() {
        for (template, path, expected) in [
            ("/media/*/x", "/media/a/x", true),
            ("/media/*/x", "/media/a/b/x", false),
            ("/media/*/x", "/media//x", false),
            ("/**.m3u8", "/a/b.m3u8", true),
            ("/**.m3u8", "/.m3u8", true),
            ("/{a}/{b=x/*}/**", "/1/x/2/3/4", true),
            ("/{a}/{b=x/*}/**", "/1/y/2/3", false),
            ("/api/*/", "/api/v1/", true),
            ("/api/*/", "/api/v1", false),
            ("/(a)+$", "/(a)+$", true),
            ("/a.b", "/axb", false),
            ("/*", "/a*b", false),
            ("/", "/", true),
        ] {
            assert_eq!(matches(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template() {
        for template in [
            "media",
            "/a//b",
            "/v*/1",
            "/x{a}",
            "/{a=v*}",
            "/{a}/{a}",
            "/{1a}",
            "/{a",
            "/{a=}",
            "/**/*",
            "/**/{a}",
            "/{a}/{b}/{c}/{d}/{e}/{f}",
            "/{var12345678901234}",
            "/a?b",
            "/{=*}",
            "/***",
            "/{a=*}b/c",
            "/{a=/*}",
        ] {
            assert!(UriTemplate::parse(template).is_err(), "{template}");
        }
    }

    #[test]
    fn rewrites() {
        let template = UriTemplate::parse("/{country}/{rest=**}").unwrap();
        let rewrite = |text| RewriteTemplate::parse(text, &template);
        assert_eq!(rewrite("/{rest}/in/{country}").unwrap().rewrite("/de/a/b").as_deref(), Some("/a/b/in/de"));
        assert_eq!(rewrite("/x{country}y").unwrap().rewrite("/de/").as_deref(), Some("/xdey"));
        assert!(rewrite("/x").unwrap().rewrite("nothing").is_none());
        assert_eq!(rewrite("/{other}").unwrap_err(), TemplateError::Unknown("other".into()));
        for text in ["x", "/a//b", "/{country", "/a?b"] {
            assert!(rewrite(text).is_err(), "{text}");
        }
    }
}
