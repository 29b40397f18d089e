//! What value rules make of values and of segments, told a second time: it shares no code with what
//! it judges.

mod campaign;
mod declarations;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

pub use campaign::{Change, Nearest, Published, Reported, Unseen, key, text_of};
pub use declarations::{declaration, item};

/// A value as an export has it, and as it is counted: trimmed and in NFC, empty for no value.
pub type Raw = (&'static str, &'static str);

/// Values of all kinds, of which some are easily taken for others.
pub const VALUES: &[Raw] = &[
    ("", ""),
    (" \u{3000}\u{a0}", ""),
    ("a", "a"),
    (" A\u{2003}", "A"),
    ("de", "de"),
    ("DE", "DE"),
    ("De", "De"),
    ("California", "California"),
    ("CALIFORNIA", "CALIFORNIA"),
    ("CA", "CA"),
    ("ca", "ca"),
    ("New York", "New York"),
    ("new\u{a0}york", "new\u{a0}york"),
    ("NEW \u{3000}YORK", "NEW \u{3000}YORK"),
    ("new_york", "new_york"),
    ("New-York", "New-York"),
    ("new–york", "new–york"),
    ("new — york", "new — york"),
    ("new\tyork", "new\tyork"),
    ("N/A", "N/A"),
    ("n/a", "n/a"),
    ("not  set", "not  set"),
    ("Not Set", "Not Set"),
    ("not_set", "not_set"),
    ("-", "-"),
    ("--", "--"),
    ("_ –", "_ –"),
    ("-a", "-a"),
    ("_a", "_a"),
    ("Straße", "Straße"),
    ("STRASSE", "STRASSE"),
    ("STRAẞE", "STRAẞE"),
    ("İ", "İ"),
    ("i\u{307}", "i\u{307}"),
    ("I", "I"),
    ("e\u{301}", "é"),
    ("É", "É"),
    ("E\u{301}", "É"),
    ("ﬁ", "ﬁ"),
    ("FI", "FI"),
    ("\u{212b}", "Å"),
    ("å", "å"),
    ("Ａ", "Ａ"),
    ("ａ", "ａ"),
    ("36", "36"),
    ("036", "036"),
    ("+36", "+36"),
    ("36.0", "36.0"),
    ("36,0", "36,0"),
    ("36.5", "36.5"),
    ("36,5", "36,5"),
    ("1.234", "1.234"),
    ("1,234", "1,234"),
    ("1234", "1234"),
    ("３６", "３６"),
    ("term_36", "term_36"),
    ("-0", "-0"),
    ("0", "0"),
    ("1", "1"),
    ("0.1", "0.1"),
    ("0.10", "0.10"),
    ("0,1", "0,1"),
    ("0.09999999999999999999", "0.09999999999999999999"),
    ("25000", "25000"),
    ("25,000", "25,000"),
    ("25.000", "25.000"),
    ("24,999.99", "24,999.99"),
    ("24.999,99", "24.999,99"),
    ("0,001", "0,001"),
    ("1,00", "1,00"),
    ("1e3", "1e3"),
    (".5", ".5"),
    ("5.", "5."),
    ("true", "true"),
    ("TRUE", "TRUE"),
    ("Yes", "Yes"),
    ("n", "n"),
    ("n. a.", "n. a."),
    ("low", "low"),
    ("some", "some"),
    ("high", "high"),
];

/// The folded form of the characters in [`VALUES`] whose folding is not that of ASCII.
const FOLDED: &[(char, &str)] = &[
    ('ß', "ss"),
    ('ẞ', "ss"),
    ('İ', "i\u{307}"),
    ('É', "é"),
    ('ﬁ', "fi"),
    ('Å', "å"),
    ('Ａ', "ａ"),
];

/// What a value is: its type and what it is compared by.
pub type Identity = (&'static str, String);

fn fold(text: &str) -> String {
    let mut folded = String::new();
    for c in text.chars() {
        match FOLDED.iter().find(|(upper, _)| *upper == c) {
            Some((_, lower)) => folded.push_str(lower),
            None => folded.push(c.to_ascii_lowercase()),
        }
    }
    folded
}

/// The text cut at blanks, its pieces joined by one space.
fn joined(text: &str, blank: &[char]) -> String {
    let mut text = text.to_owned();
    for c in blank {
        text = text.replace(*c, " ");
    }
    while text.contains("  ") {
        text = text.replace("  ", " ");
    }
    text
}

const BLANKS: &[char] = &[' ', '\t', '\u{a0}', '\u{3000}'];
const SEPARATORS: &[char] = &[' ', '\t', '\u{a0}', '\u{3000}', '_', '-', '–'];

/// A number in units of 10^-20, by long arithmetic on `i128`.
fn units(text: &str, decimal: char) -> Option<i128> {
    let (sign, text) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let other = if decimal == '.' { ',' } else { '.' };
    let parts: Vec<&str> = text.split(decimal).collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    let groups: Vec<&str> = parts[0].split(other).collect();
    if groups.len() > 1 {
        let first = groups[0];
        if first.is_empty() || first.len() > 3 || first.starts_with('0') {
            return None;
        }
        if groups[1..].iter().any(|group| group.len() != 3) {
            return None;
        }
    }
    let whole = groups.concat();
    let mut digits = whole;
    let fraction = parts.get(1).copied().unwrap_or_default();
    digits.push_str(fraction);
    digits.push_str(&"0".repeat(20_usize.checked_sub(fraction.len())?));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i128>().ok().map(|units| sign * units)
}

fn shortest(units: i128) -> String {
    let unit = 10_i128.pow(20);
    let (whole, fraction) = (units.abs() / unit, units.abs() % unit);
    let sign = if units < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{fraction:020}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The rules of one field, straight from the JSON object that declares them.
struct Oracle<'a>(&'a Value);

/// The items of a declaration, each as an object.
fn objects(items: &Value) -> Vec<Value> {
    let items = items.as_array().unwrap().iter();
    let object = |item: &Value| {
        if item.is_string() {
            json!({ "field": item })
        } else {
            item.clone()
        }
    };
    items.map(object).collect()
}

fn field(item: &Value) -> &str {
    item["field"].as_str().unwrap()
}

impl Oracle<'_> {
    fn has(&self, rule: &str) -> bool {
        let rules = self.0["normalise"].as_array();
        rules.is_some_and(|rules| rules.iter().any(|r| r == rule))
    }

    fn spelled(&self, text: &str) -> String {
        if self.has("collapse_spaces") {
            joined(text, BLANKS)
        } else {
            text.to_owned()
        }
    }

    fn key_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.has("casefold") {
            text = fold(&text);
        }
        if self.has("separators") && text.chars().any(|c| !SEPARATORS.contains(&c)) {
            text = joined(&text, SEPARATORS);
        }
        text
    }

    /// Identity and spelling of a normal value.
    fn value(&self, normal: &str) -> Option<(Identity, String)> {
        if normal.is_empty() {
            return None;
        }
        let mut text = self.spelled(normal);
        for null in self.0["null"].as_array().into_iter().flatten() {
            if fold(&self.spelled(null.as_str().unwrap().trim())) == fold(&text) {
                return None;
            }
        }
        for (from, target) in self.0["values"].as_object().into_iter().flatten() {
            if self.key_of(&self.spelled(from)) == self.key_of(&text) {
                target.as_str().unwrap().clone_into(&mut text);
                break;
            }
        }
        Some(self.typed(text))
    }

    fn decimal(&self) -> char {
        if self.0["decimal"] == "," { ',' } else { '.' }
    }

    fn is_typed(&self) -> bool {
        matches!(self.0["type"].as_str(), Some("number" | "boolean"))
    }

    /// What a value is as the field's type, and its spelling.
    fn typed(&self, text: String) -> (Identity, String) {
        match self.0["type"].as_str() {
            Some("boolean") => {
                let lower = text.to_lowercase();
                let found = [["true", "yes", "y", "1"], ["false", "no", "n", "0"]];
                let found = found.iter().find(|words| words.contains(&lower.as_str()));
                match found {
                    Some(words) => (("boolean", words[0].into()), words[0].into()),
                    None => (("text", text.clone()), text),
                }
            }
            Some("number") => {
                let Some(number) = units(&text, self.decimal()) else {
                    return (("text", text.clone()), text);
                };
                let Some(edges) = self.0["bins"].as_array() else {
                    let text = shortest(number);
                    return (("number", text.clone()), text);
                };
                let mut bin = 0;
                for edge in edges {
                    if units(&edge.to_string(), '.').unwrap() <= number {
                        bin += 1;
                    }
                }
                let label = self.0["labels"][bin].as_str().unwrap().to_owned();
                (("bin", label.clone()), label)
            }
            _ => (("text", self.key_of(&text)), text),
        }
    }
}

/// A segment of a group.
#[derive(Debug, Clone)]
pub struct Counted {
    /// What its values are, in the order of the declaration.
    pub identities: Vec<Option<Identity>>,
    /// How they are shown.
    pub attributes: BTreeMap<String, Option<String>>,
    /// How many customers have them.
    pub customers: i64,
}

/// The segments of customers with these values, in the order of the declaration.
#[must_use]
pub fn counted(items: &Value, rows: &[Vec<Raw>]) -> Vec<Counted> {
    let items = objects(items);
    let mut groups: HashMap<Vec<Option<Identity>>, i64> = HashMap::new();
    let mut spellings: HashMap<(usize, Identity), BTreeMap<String, i64>> = HashMap::new();
    for row in rows {
        let values: Vec<_> = items
            .iter()
            .zip(row)
            .map(|(item, (_, normal))| Oracle(item).value(normal))
            .collect();
        for (place, value) in values.iter().enumerate() {
            if let Some((identity, spelling)) = value {
                let counts = spellings.entry((place, identity.clone())).or_default();
                *counts.entry(spelling.clone()).or_default() += 1;
            }
        }
        let identities = values.into_iter().map(|value| Some(value?.0)).collect();
        *groups.entry(identities).or_default() += 1;
    }
    let shown = |place: usize, identity: &Identity| -> String {
        let item = &items[place];
        let targets = item["values"].as_object().into_iter().flatten();
        let mut targets: Vec<&str> = targets
            .map(|(_, target)| target.as_str().unwrap())
            .filter(|target| identity.0 == "text" && Oracle(item).key_of(target) == identity.1)
            .collect();
        targets.sort_unstable();
        if let Some(target) = targets.first() {
            return (*target).to_owned();
        }
        let counts = &spellings[&(place, identity.clone())];
        let most = counts.values().max().unwrap();
        let common = counts.iter().find(|(_, count)| *count == most);
        common.unwrap().0.clone()
    };
    let counted = groups.into_iter().map(|(identities, customers)| {
        let attributes = identities.iter().enumerate().map(|(place, identity)| {
            let shown = identity.as_ref().map(|identity| shown(place, identity));
            (field(&items[place]).to_owned(), shown)
        });
        Counted {
            attributes: attributes.collect(),
            identities,
            customers,
        }
    });
    counted.collect()
}
