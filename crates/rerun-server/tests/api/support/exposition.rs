use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

type Labels = BTreeMap<String, String>;

/// A metric with all its series.
pub(crate) struct Family {
    pub(crate) kind: String,
    samples: Vec<(String, Labels, f64)>,
}

/// What a scrape answers, read strictly: a line that Prometheus would not take, or that breaks
/// its conventions, fails the test.
pub(crate) struct Exposition(pub(crate) BTreeMap<String, Family>);

impl Exposition {
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let help = Regex::new(r"^# HELP ([a-z][a-z0-9_]*) (\S.*)$").unwrap();
        let kind = Regex::new(r"^# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram)$").unwrap();
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut name = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(found) = help.captures(line) {
                found[1].clone_into(&mut name);
                let found = kind.captures(lines.next().unwrap()).unwrap();
                assert_eq!(&found[1], name);
                let family = Family {
                    kind: found[2].to_owned(),
                    samples: Vec::new(),
                };
                let before = families.insert(name.clone(), family);
                assert!(before.is_none(), "{name} is there twice");
            } else {
                let family = families.get_mut(&name).unwrap_or_else(|| panic!("{line}"));
                family.samples.push(sample(line));
            }
        }
        for (name, family) in &families {
            family.check(name);
        }
        Self(families)
    }

    /// The value of the series with exactly these labels; 0 when it is not there.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let base = self.family_of(name).unwrap_or_else(|| panic!("no {name}"));
        let wanted: Labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let samples = &self.0[base].samples;
        let found = samples
            .iter()
            .find(|(sample, labels, _)| sample == name && *labels == wanted);
        found.map_or(0.0, |(_, _, value)| *value)
    }

    /// The family that a name in a query belongs to.
    pub(crate) fn family_of(&self, name: &str) -> Option<&str> {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
            let base = name.strip_suffix(part)?;
            let (base, family) = self.0.get_key_value(base)?;
            (family.kind == "histogram").then_some(base.as_str())
        });
        of_histogram.or_else(|| self.0.get_key_value(name).map(|(name, _)| name.as_str()))
    }

    /// All values of a label of a metric.
    pub(crate) fn values_of(&self, name: &str, label: &str) -> BTreeSet<String> {
        let samples = self.0[name].samples.iter();
        samples
            .map(|(_, labels, _)| labels[label].clone())
            .collect()
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> usize {
        self.0.values().map(|family| family.samples.len()).sum()
    }
}

fn sample(line: &str) -> (String, Labels, f64) {
    let whole = Regex::new(r"^([a-z][a-z0-9_]*)(?:\{(.+)\})? (\S+)$").unwrap();
    let found = whole.captures(line).unwrap_or_else(|| panic!("{line}"));
    let label = Regex::new(r#"^([a-z][a-z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)"#).unwrap();
    let mut labels = Labels::new();
    let mut rest = found.get(2).map_or("", |labels| labels.as_str());
    while !rest.is_empty() {
        let found = label.captures(rest).unwrap_or_else(|| panic!("{line}"));
        let before = labels.insert(found[1].to_owned(), found[2].to_owned());
        assert!(before.is_none(), "{line}");
        rest = &rest[found[0].len()..];
    }
    (found[1].to_owned(), labels, found[3].parse().unwrap())
}

impl Family {
    /// The names of the labels that its series have.
    pub(crate) fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|(_, labels, _)| labels.keys());
        names
            .map(String::as_str)
            .filter(|name| *name != "le")
            .collect()
    }

    fn check(&self, name: &str) {
        assert!(!self.samples.is_empty(), "{name} has no series");
        let mut seen = BTreeSet::new();
        for (sample, labels, value) in &self.samples {
            assert!(
                seen.insert((sample, labels)),
                "{name}: a series is there twice"
            );
            assert!(value.is_finite() && *value >= 0.0, "{name}: {value}");
            if self.kind != "histogram" {
                assert_eq!(sample, name);
                assert!(
                    labels
                        .keys()
                        .all(|label| label != "le" && label != "quantile")
                );
            }
        }
        let is_total = name.ends_with("_total");
        assert_eq!(
            is_total,
            self.kind == "counter",
            "{name} is a {}",
            self.kind
        );
        if self.kind == "histogram" {
            self.check_histogram(name);
        }
    }

    /// Buckets grow up to the one without a bound, which holds all.
    fn check_histogram(&self, name: &str) {
        type Series = (Vec<(f64, f64)>, Option<f64>, Option<f64>);
        let mut series: BTreeMap<Labels, Series> = BTreeMap::new();
        for (sample, labels, value) in &self.samples {
            let mut labels = labels.clone();
            let bound = labels.remove("le");
            let (buckets, sum, count) = series.entry(labels).or_default();
            match (sample.strip_prefix(name).unwrap(), bound) {
                ("_bucket", Some(bound)) => buckets.push((bound.parse().unwrap(), *value)),
                ("_sum", None) => *sum = Some(*value),
                ("_count", None) => *count = Some(*value),
                other => panic!("{name}: {other:?}"),
            }
        }
        for (buckets, sum, count) in series.values() {
            let grows = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(buckets.windows(2).all(grows), "{name}: {buckets:?}");
            assert_eq!(*buckets.last().unwrap(), (f64::INFINITY, count.unwrap()));
            assert!(sum.is_some(), "{name}");
        }
    }
}
