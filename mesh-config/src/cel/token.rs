//! Names, numbers and texts of expressions.

use super::{CelFault, Parser};

/// Words that are no names.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "in",
];

impl Parser<'_> {
    pub(super) fn name(&mut self) -> Result<(), CelFault> {
        let word = self.word().to_owned();
        let prefix = matches!(word.to_ascii_lowercase().as_str(), "r" | "b" | "rb" | "br");
        if prefix && self.rest()[word.len()..].starts_with(['"', '\'']) {
            self.at += word.len();
            return self.string(word.contains(['r', 'R']));
        }
        if word.is_empty() {
            return Err(self.fault("expected an expression"));
        }
        if RESERVED.contains(&word.as_str()) {
            return Err(self.fault("a reserved word stands where a name must"));
        }
        self.at += word.len();
        self.arguments()
    }

    pub(super) fn number(&mut self) -> Result<(), CelFault> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(rest.len());
        let number = &rest[..end];
        // The sign of an exponent belongs to the number.
        let signed = number.ends_with(['e', 'E']) && !number.starts_with("0x") && rest[end..].starts_with(['+', '-']);
        let plain = number.trim_end_matches(['u', 'U']);
        let hexadecimal = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X"));
        let fine = match hexadecimal {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None if signed => true,
            None => plain.parse::<f64>().is_ok(),
        };
        if !fine {
            return Err(self.fault("invalid number"));
        }
        self.at += end;
        if signed {
            self.at += 1;
            return self.number();
        }
        Ok(())
    }

    pub(super) fn string(&mut self, raw: bool) -> Result<(), CelFault> {
        let rest = self.rest();
        let quote = rest.get(..3).filter(|three| matches!(*three, "\"\"\"" | "'''")).unwrap_or(&rest[..1]).to_owned();
        let mut at = quote.len();
        while !rest[at..].starts_with(&quote) {
            let mut chars = rest[at..].chars();
            let step = match chars.next() {
                None => return Err(self.fault("the text is not closed")),
                Some('\n') if quote.len() == 1 => return Err(self.fault("the text is not closed")),
                Some('\\') if !raw => 1 + chars.next().map_or(0, char::len_utf8),
                Some(c) => c.len_utf8(),
            };
            at += step;
        }
        self.at += at + quote.len();
        Ok(())
    }
}
