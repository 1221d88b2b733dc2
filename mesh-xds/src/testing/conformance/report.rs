//! All verdicts of one peer.

use std::fmt;

use super::{Case, Verdict};

/// The verdicts of a run, in the order of the cases. Prints as a table.
#[derive(Debug, Clone, Default)]
pub struct Report {
    verdicts: Vec<(Case, Verdict)>,
}

impl Report {
    pub(super) fn add(&mut self, case: Case, verdict: Verdict) {
        self.verdicts.push((case, verdict));
    }

    /// Every case with its verdict.
    #[must_use]
    pub fn verdicts(&self) -> &[(Case, Verdict)] {
        &self.verdicts
    }

    /// The verdict on the case of that name, if it was run.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|(case, _)| case.name == name).map(|(_, verdict)| verdict)
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&Case, &Verdict)> {
        self.verdicts.iter().filter(|(_, v)| matches!(v, Verdict::Fail { .. })).map(|(c, v)| (c, v))
    }

    /// Panics if any case failed, and prints those that did.
    ///
    /// # Panics
    /// As said; also if no case was run at all.
    pub fn assert_passed(&self) {
        assert!(!self.verdicts.is_empty(), "no case was run");
        let failures: Vec<String> =
            self.failures().map(|(c, v)| format!("{} ({}): {v}\n    rule: {}", c.name, c.section, c.what)).collect();
        assert!(
            failures.is_empty(),
            "{} of {} cases failed:\n{}",
            failures.len(),
            self.verdicts.len(),
            failures.join("\n")
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.verdicts.iter().map(|(case, _)| case.name.len()).max().unwrap_or_default();
        for (case, verdict) in &self.verdicts {
            let weight = case.weight.to_string();
            writeln!(f, "{:width$}  {weight:8}  {verdict}  [{}]", case.name, case.section)?;
        }
        let count = |wanted: fn(&Verdict) -> bool| self.verdicts.iter().filter(|(_, v)| wanted(v)).count();
        write!(
            f,
            "{} passed, {} failed, {} not applicable",
            count(|v| matches!(v, Verdict::Pass)),
            count(|v| matches!(v, Verdict::Fail { .. })),
            count(|v| matches!(v, Verdict::NotApplicable { .. }))
        )
    }
}
