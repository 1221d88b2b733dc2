//! The grammar of CEL expressions, as far as it tells well-formed texts from others.
//!
//! Source: the Common Expression Language's grammar (cel-spec, doc/langdef.md, "Syntax"). Names are not looked up and
//! types are not checked.

mod token;

use std::fmt;

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 64;

/// Longest expression that is read, in bytes.
const MAX_LEN: usize = 64 * 1024;

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CelFault {
    /// Where, in bytes from the beginning.
    at: usize,
    what: &'static str,
}

impl fmt::Display for CelFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at column {}", self.what, self.at + 1)
    }
}

/// Checks that a text is one expression.
pub(crate) fn check(text: &str) -> Result<(), CelFault> {
    if text.len() > MAX_LEN {
        return Err(CelFault { at: 0, what: "the expression is longer than 65536 bytes" });
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.expression()?;
    match parser.peek() {
        None => Ok(()),
        Some(_) => Err(parser.fault("unexpected text")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Operators with two sides, longer ones first; their precedence does not change what is well-formed.
const BINARY: [&str; 13] = ["||", "&&", "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "%"];

impl Parser<'_> {
    fn fault(&self, what: &'static str) -> CelFault {
        CelFault { at: self.at, what }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next character that is neither space nor comment; moves there.
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            let skip = rest.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") { trimmed.find('\n').unwrap_or(trimmed.len()) } else { 0 };
            self.at += skip + comment;
            if comment == 0 {
                return self.rest().chars().next();
            }
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.peek();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str, what: &'static str) -> Result<(), CelFault> {
        if self.take(token) { Ok(()) } else { Err(self.fault(what)) }
    }

    /// `Expr = ConditionalOr ["?" ConditionalOr ":" Expr]`, its operators in a row.
    fn expression(&mut self) -> Result<(), CelFault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault("the expression is nested too deeply"));
        }
        self.unary()?;
        while self.operator() {
            self.unary()?;
        }
        if self.take("?") {
            self.expression()?;
            self.expect(":", "expected ':'")?;
            self.expression()?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn operator(&mut self) -> bool {
        if BINARY.iter().any(|operator| self.take(operator)) {
            return true;
        }
        let word = self.word().len();
        let found = &self.text[self.at..self.at + word] == "in";
        if found {
            self.at += word;
        }
        found
    }

    /// The word that begins here; empty when none does.
    fn word(&mut self) -> &str {
        let starts = self.peek().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if starts { &rest[..end] } else { "" }
    }

    fn unary(&mut self) -> Result<(), CelFault> {
        while self.take("!") || self.take("-") {}
        self.primary()?;
        loop {
            if self.take(".") {
                self.take("?");
                let word = self.word().len();
                if word == 0 {
                    return Err(self.fault("expected the name of a field"));
                }
                self.at += word;
                self.arguments()?;
            } else if self.take("[") {
                self.take("?");
                self.expression()?;
                self.expect("]", "expected ']'")?;
            } else if self.peek() == Some('{') {
                self.at += 1;
                self.list("}", true)?;
            } else {
                return Ok(());
            }
        }
    }

    fn arguments(&mut self) -> Result<(), CelFault> {
        if self.take("(") { self.list(")", false) } else { Ok(()) }
    }

    /// Expressions, or pairs of them, up to a closing bracket.
    fn list(&mut self, close: &'static str, pairs: bool) -> Result<(), CelFault> {
        while !self.take(close) {
            self.take("?");
            self.expression()?;
            if pairs {
                self.expect(":", "expected ':'")?;
                self.expression()?;
            }
            if !self.take(",") {
                return self.expect(close, "expected ',' or a closing bracket");
            }
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<(), CelFault> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                self.expression()?;
                self.expect(")", "expected ')'")
            }
            Some('[') => {
                self.at += 1;
                self.list("]", false)
            }
            Some('{') => {
                self.at += 1;
                self.list("}", true)
            }
            Some('"' | '\'') => self.string(false),
            Some(c) if c.is_ascii_digit() => self.number(),
            Some('.') => {
                self.at += 1;
                if self.rest().starts_with(|c: char| c.is_ascii_digit()) { self.number() } else { self.name() }
            }
            Some(_) => self.name(),
            None => Err(self.fault("expected an expression")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tells_expressions_from_other_texts() {
        for text in [
            "true",
            "response.code >= 400",
            "connection.mtls && request.url_path.contains('v1beta3')",
            "!(a.b[0] == \"x\") || c in [1, 2u, 3.5e-3, .5, 0xff]",
            "has(a.b) ? a.b : -1",
            "{'a': 1, 'b': {}}.size() > 0",
            "r'\\d' + b\"x\" + '''it's'''",
            "a // the end",
            "x.exists(y, y > 1)",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "response.code and 400",
            "a ==",
            "(a",
            "a.b.",
            "'open",
            "a b",
            "[1, 2",
            "1.2.3",
            "a ? b",
            "&& a",
            "for",
            "a @ b",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(check(&"(".repeat(1_000)).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = check(&text);
        }
    }
}
