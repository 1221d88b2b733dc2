//! Logic over permissions and principals alike.

use mesh_xds_api::envoy::{
    config::{
        rbac::v3::{Permission, Principal, permission, principal},
        route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
    },
    r#type::matcher::v3::StringMatcher,
};

use crate::translate::proto;

/// A term of a policy: a [`Permission`] or a [`Principal`].
pub(super) trait Term: Sized {
    /// Always true.
    fn any() -> Self;
    /// True if all are; there is at least one.
    fn all(terms: Vec<Self>) -> Self;
    /// True if one is; there is at least one.
    fn one(terms: Vec<Self>) -> Self;
    /// True if `term` is not.
    fn not(term: Self) -> Self;
}

impl Term for Permission {
    fn any() -> Self {
        Self { rule: Some(permission::Rule::Any(true)) }
    }

    fn all(rules: Vec<Self>) -> Self {
        Self { rule: Some(permission::Rule::AndRules(permission::Set { rules })) }
    }

    fn one(rules: Vec<Self>) -> Self {
        Self { rule: Some(permission::Rule::OrRules(permission::Set { rules })) }
    }

    fn not(term: Self) -> Self {
        Self { rule: Some(permission::Rule::NotRule(Box::new(term))) }
    }
}

impl Term for Principal {
    fn any() -> Self {
        Self { identifier: Some(principal::Identifier::Any(true)) }
    }

    fn all(ids: Vec<Self>) -> Self {
        Self { identifier: Some(principal::Identifier::AndIds(principal::Set { ids })) }
    }

    fn one(ids: Vec<Self>) -> Self {
        Self { identifier: Some(principal::Identifier::OrIds(principal::Set { ids })) }
    }

    fn not(term: Self) -> Self {
        Self { identifier: Some(principal::Identifier::NotId(Box::new(term))) }
    }
}

/// Conditions that must all hold, some of which are known before any request comes.
#[derive(Debug)]
pub(super) struct Conjunction<T> {
    terms: Vec<T>,
    never: bool,
}

impl<T: Term> Conjunction<T> {
    pub(super) fn new() -> Self {
        Self { terms: Vec::new(), never: false }
    }

    /// It cannot hold.
    pub(super) fn never(&mut self) {
        self.never = true;
    }

    /// One of `values` must hold, if there are any, and none of `not_values`. A value of which `term` makes nothing
    /// holds never.
    pub(super) fn values(&mut self, values: &[String], not_values: &[String], term: impl Fn(&str) -> Option<T>) {
        if !values.is_empty() {
            match one_of(values, &term) {
                Some(term) => self.terms.push(term),
                None => self.never = true,
            }
        }
        if let Some(unwanted) = one_of(not_values, &term) {
            self.terms.push(T::not(unwanted));
        }
    }

    /// The whole as one term; `None` if it cannot hold.
    pub(super) fn finish(mut self) -> Option<T> {
        if self.never {
            return None;
        }
        match self.terms.len() {
            0 => Some(T::any()),
            1 => self.terms.pop(),
            _ => Some(T::all(self.terms)),
        }
    }
}

fn one_of<T: Term>(values: &[String], term: &impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut terms: Vec<T> = values.iter().filter_map(|value| term(value)).collect();
    if terms.len() <= 1 { terms.pop() } else { Some(T::one(terms)) }
}

/// A value of a policy: exact, or with `*` at its beginning or its end, or `*` alone (`None`: anything).
pub(super) fn pattern(value: &str) -> Option<StringMatcher> {
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        _ if value == "*" => None,
        (Some(suffix), _) => Some(proto::suffix(suffix)),
        (None, Some(prefix)) => Some(proto::prefix(prefix)),
        (None, None) => Some(proto::exact(value)),
    }
}

/// A header with a value of a policy.
pub(super) fn header(name: &str, value: &str, ignore_case: bool) -> HeaderMatcher {
    let specifier = match pattern(value) {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(StringMatcher { ignore_case, ..matcher }),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}
