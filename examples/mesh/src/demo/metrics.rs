//! Reads Prometheus text as far as the demo needs it: samples with labels.

use std::collections::BTreeMap;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// A label's value, empty if there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// The samples of a scrape whose names begin with `prefix`. Lines that are no samples are passed over.
pub(crate) fn samples(text: &str, prefix: &str) -> Vec<Sample> {
    text.lines().filter(|l| l.starts_with(prefix)).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    Some(Sample { name: name.into(), labels, value: number(rest)? })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.to_owned(), value);
        rest = after;
    }
}

/// Text up to the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, other) => value.push(other),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Estimates quantiles of a histogram from its cumulative buckets, as Prometheus' `histogram_quantile` does.
pub(crate) fn quantile(q: f64, buckets: &BTreeMap<u64, f64>, total: f64) -> Option<f64> {
    if total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        let bound = f64::from_bits(*bound);
        if *count >= rank {
            if !bound.is_finite() {
                return Some(lower);
            }
            let inside = count - below;
            let share = if inside > 0.0 { (rank - below) / inside } else { 1.0 };
            return Some(lower + (bound - lower) * share);
        }
        (lower, below) = (bound, *count);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_with_escapes() {
        let text = "# TYPE a counter\nistio_x{a=\"1\",b=\"q\\\"} ,\\\\\"} 4.5 1700\nistio_y 2\nother 1\n";
        let found = samples(text, "istio_");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].label("b"), "q\"} ,\\");
        assert_eq!((found[0].value, found[1].value), (4.5, 2.0));
    }

    #[test]
    fn quantiles_interpolate() {
        let buckets = [(1.0f64, 50.0), (5.0, 90.0), (f64::INFINITY, 100.0)].map(|(b, c)| (b.to_bits(), c)).into();
        assert_eq!(quantile(0.5, &buckets, 100.0), Some(1.0));
        assert_eq!(quantile(0.7, &buckets, 100.0), Some(3.0));
        assert_eq!(quantile(0.99, &buckets, 100.0), Some(5.0));
        assert_eq!(quantile(0.5, &BTreeMap::new(), 0.0), None);
    }
}
