use super::{LogContext, operator::Operator, value::Value};

/// Why a format is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// An operator that this proxy does not carry.
    #[error("the command operator %{0}% is not carried")]
    Unknown(String),
    /// An operator with arguments that do not fit it.
    #[error("the command operator %{operator}% {reason}")]
    Arguments {
        /// Name of the operator.
        operator: String,
        /// What does not fit.
        reason: String,
    },
    /// A `%` that begins no operator.
    #[error("\"%\" at byte {0} begins no command operator; write %% for a percent sign")]
    Syntax(usize),
}

/// What stands for a value that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// `-`, in access logs.
    Dash,
    /// Nothing, in header values.
    Empty,
}

impl Missing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Missing::Dash => "-",
            Missing::Empty => "",
        }
    }
}

/// A compiled text with command operators.
#[derive(Clone, Debug)]
pub struct Formatter {
    parts: Vec<Part>,
    missing: Missing,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Operator(Operator, Option<usize>),
}

impl Formatter {
    /// Compiles `text`: `%NAME%`, `%NAME(ARGUMENTS)%`, each with an optional `:LENGTH` before the last `%`; `%%` is a percent
    /// sign.
    ///
    /// # Errors
    /// [`FormatError`] for whatever is not carried.
    pub fn compile(text: &str, missing: Missing) -> Result<Self, FormatError> {
        Ok(Self { parts: parse(text)?, missing })
    }

    /// Appends the text for `cx` to `out`.
    pub fn render(&self, cx: &LogContext<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Operator(operator, limit) => operator.value(cx).truncated(*limit).write(out, self.missing),
            }
        }
    }

    /// The text for `cx`.
    #[must_use]
    pub fn format(&self, cx: &LogContext<'_>) -> String {
        let mut out = String::new();
        self.render(cx, &mut out);
        out
    }

    /// The value, if this is one operator and nothing else.
    pub(super) fn single<'a>(&'a self, cx: &LogContext<'a>) -> Option<Value<'a>> {
        match self.parts.as_slice() {
            [Part::Operator(operator, limit)] => Some(operator.value(cx).truncated(*limit)),
            _ => None,
        }
    }
}

fn parse(text: &str) -> Result<Vec<Part>, FormatError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        let offset = text.len() - rest.len() + at;
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (operator, limit, after) = command(rest, offset)?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(Part::Operator(operator, limit));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// `NAME[(ARGUMENTS)][:LENGTH]%`, behind the first `%`; what follows it.
fn command(text: &str, offset: usize) -> Result<(Operator, Option<usize>, &str), FormatError> {
    let syntax = FormatError::Syntax(offset);
    let name_end = text
        .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .filter(|end| *end > 0)
        .ok_or(syntax.clone())?;
    let (name, mut rest) = text.split_at(name_end);
    let mut arguments = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let (found, after) = inner.split_once(')').ok_or(syntax.clone())?;
        arguments = Some(found);
        rest = after;
    }
    let mut limit = None;
    if let Some(inner) = rest.strip_prefix(':') {
        let end = inner.find('%').ok_or(syntax.clone())?;
        limit = Some(inner[..end].parse().map_err(|_| syntax.clone())?);
        rest = &inner[end..];
    }
    let rest = rest.strip_prefix('%').ok_or(syntax)?;
    Ok((Operator::new(name, arguments)?, limit, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_panics(text in "[%A-Z_():?a-z0-9 é]{0,40}") {
            let _ = Formatter::compile(&text, Missing::Dash);
        }
    }
}
