//! The rules of one kind (`StringRules`, `UInt32Rules`, ...) into checks.

mod operand;
mod text;

use prost_reflect::{DynamicMessage, EnumDescriptor, Value};

use self::operand::{operand, operands};
use crate::{
    encoded::value::{Scalar, Value as Operand},
    validate::check::{Check, Checks, Rule, Test},
};

/// What the rules are about.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    Scalar(Scalar),
    Enum(EnumDescriptor),
    /// A duration or a timestamp.
    Time,
    /// The type URL of an `Any`.
    TypeUrl,
    /// The number of elements of a list, or of entries of a map.
    Size,
}

/// Checks in the making.
#[derive(Debug)]
pub(super) struct Group<'n> {
    /// `string`, `repeated.items.string`: how the names of the rules begin.
    name: &'n str,
    subject: Subject,
    checks: Checks,
    lower: Option<Bound>,
    upper: Option<Bound>,
}

/// One end of a range.
#[derive(Debug)]
struct Bound {
    limit: Operand<'static>,
    check: Check,
}

impl<'n> Group<'n> {
    pub(super) fn new(name: &'n str, subject: Subject) -> Self {
        Self { name, subject, checks: Checks::default(), lower: None, upper: None }
    }

    /// Adds a rule of `group`. `false` if it is not known.
    pub(super) fn add(&mut self, rule: &str, value: &Value, group: &DynamicMessage) -> bool {
        match (&self.subject, rule) {
            // Not about one value: the field, the list or the map sees to them.
            (Subject::Time | Subject::TypeUrl, "required") => true,
            (Subject::Size, "items" | "keys" | "values" | "unique" | "no_sparse") => true,
            (_, "ignore_empty") => {
                self.checks.ignore_empty = value.as_bool().unwrap_or_default();
                true
            }
            (Subject::Size, "min_items" | "min_pairs") => self.size(rule, value, "at least"),
            (Subject::Size, "max_items" | "max_pairs") => self.size(rule, value, "at most"),
            (Subject::Size, _) => false,
            (Subject::Enum(descriptor), "defined_only") => {
                let numbers = descriptor.values().map(|v| Operand::Integer(v.number().into())).collect();
                let wanted = value.as_bool().unwrap_or_default();
                !wanted || self.push(rule, "must be a value that its enum defines".to_owned(), Test::In(numbers))
            }
            (_, "const" | "lt" | "lte" | "gt" | "gte") => self.compare(rule, value),
            (_, "in" | "not_in") => self.member(rule, value),
            (Subject::Scalar(Scalar::Text | Scalar::Bytes), _) => match text::test(rule, value, &self.subject, group) {
                Some(tests) => tests.into_iter().all(|(reason, test)| self.push(rule, reason, test)),
                None => false,
            },
            _ => false,
        }
    }

    /// All rules are added.
    pub(super) fn finish(mut self) -> Checks {
        match (self.lower.take(), self.upper.take()) {
            // A range whose ends are crossed means outside.
            (Some(lower), Some(upper)) if lower.limit >= upper.limit => {
                let reason =
                    format!("{} or {}", lower.check.rule.reason, upper.check.rule.reason.replace("must be ", ""));
                let rule = Rule { name: lower.check.rule.name, reason };
                let test = Test::Either(Box::new([lower.check.test, upper.check.test]));
                self.checks.list.push(Check { rule, test });
            }
            (lower, upper) => self.checks.list.extend(lower.into_iter().chain(upper).map(|bound| bound.check)),
        }
        self.checks
    }

    fn check(&self, rule: &str, reason: String, test: Test) -> Check {
        Check { rule: Rule { name: format!("{}.{rule}", self.name), reason }, test }
    }

    fn push(&mut self, rule: &str, reason: String, test: Test) -> bool {
        let check = self.check(rule, reason, test);
        self.checks.list.push(check);
        true
    }

    fn size(&mut self, rule: &str, value: &Value, bound: &str) -> bool {
        let Some(number) = value.as_u64() else { return false };
        let what = match (rule.ends_with("_items"), number) {
            (true, 1) => "element",
            (true, _) => "elements",
            (false, 1) => "entry",
            (false, _) => "entries",
        };
        let limit = Operand::Integer(number.into());
        let test = if rule.starts_with("min") { Test::GreaterOrEqual(limit) } else { Test::LessOrEqual(limit) };
        self.push(rule, format!("must have {bound} {number} {what}"), test)
    }

    fn compare(&mut self, rule: &str, value: &Value) -> bool {
        let Some((limit, text)) = operand(value, &self.subject) else { return false };
        let (sign, test): (_, fn(Operand<'static>) -> Test) = match rule {
            "lt" => ("<", Test::Less),
            "lte" => ("<=", Test::LessOrEqual),
            "gt" => (">", Test::Greater),
            "gte" => (">=", Test::GreaterOrEqual),
            _ => return self.push(rule, format!("must be {text}"), Test::Equal(limit)),
        };
        let check = self.check(rule, format!("must be {sign} {text}"), test(limit.clone()));
        let end = if rule.starts_with('l') { &mut self.upper } else { &mut self.lower };
        *end = Some(Bound { limit, check });
        true
    }

    fn member(&mut self, rule: &str, value: &Value) -> bool {
        let Some((list, text)) = operands(value, &self.subject) else { return false };
        if rule == "in" {
            self.push(rule, format!("must be one of {text}"), Test::In(list))
        } else {
            self.push(rule, format!("must not be one of {text}"), Test::NotIn(list))
        }
    }
}
