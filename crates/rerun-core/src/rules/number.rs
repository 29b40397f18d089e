//! Exact decimal numbers: digits, never binary floating point.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// An exact decimal number of any size. Equal numbers are equal here, however they were written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    negative: bool,
    /// Digits without a leading zero; empty for a number below one.
    whole: String,
    /// Digits without a zero at the end; empty for a whole number.
    fraction: String,
}

impl Number {
    /// The largest exponent that a number in a declaration may have, either way.
    const MAX_EXPONENT: usize = 100;

    fn new(negative: bool, whole: &str, fraction: &str) -> Self {
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        Self {
            negative: negative && !(whole.is_empty() && fraction.is_empty()),
            whole: whole.to_owned(),
            fraction: fraction.to_owned(),
        }
    }

    /// Reads a number as customers' values have it: a sign or none, ASCII digits, and `decimal`
    /// with digits on both sides or none. The other of `.` and `,` may group thousands. `None` for
    /// every other text.
    pub(crate) fn parse(text: &str, decimal: char) -> Option<Self> {
        let (negative, digits) = signed(text);
        let (whole, fraction) = match digits.split_once(decimal) {
            Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (digits, ""),
        };
        let group = if decimal == '.' { ',' } else { '.' };
        let whole = if whole.contains(group) {
            Cow::Owned(ungrouped(whole, group)?)
        } else {
            Cow::Borrowed(whole)
        };
        is_digits(&whole).then(|| Self::new(negative, &whole, fraction))
    }

    /// Parses a JSON number. Returns `None` if the text is not a number or its exponent is beyond ±100.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent),
            None => (text, "0"),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        if !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let (down, exponent) = signed(exponent);
        if !is_digits(exponent) {
            return None;
        }
        let places: usize = exponent.parse().ok()?;
        if places > Self::MAX_EXPONENT {
            return None;
        }
        let zeros = "0".repeat(places);
        let (whole, fraction) = if down {
            let whole = zeros + whole;
            let (kept, moved) = whole.split_at_checked(whole.len() - places)?;
            (kept.to_owned(), moved.to_owned() + fraction)
        } else {
            let fraction = fraction.to_owned() + &zeros;
            let (moved, kept) = fraction.split_at_checked(places)?;
            (whole.to_owned() + moved, kept.to_owned())
        };
        Some(Self::new(negative, &whole, &fraction))
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        // Without leading zeros the longer of two whole numbers is the larger one. Fractions of
        // digits compare like texts.
        self.whole
            .len()
            .cmp(&other.whole.len())
            .then_with(|| self.whole.cmp(&other.whole))
            .then_with(|| self.fraction.cmp(&other.fraction))
    }
}

/// Whether the text has a minus, and what follows the sign.
fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The digits of exact groups of three, of which the first may be shorter but does not start with 0.
fn ungrouped(text: &str, group: char) -> Option<String> {
    let mut groups = text.split(group);
    let first = groups.next()?;
    if !is_digits(first) || first.len() > 3 || first.starts_with('0') {
        return None;
    }
    let mut digits = first.to_owned();
    for group in groups {
        if !is_digits(group) || group.len() != 3 {
            return None;
        }
        digits.push_str(group);
    }
    Some(digits)
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The shortest decimal text that is exactly the number, with `.`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let whole = if self.whole.is_empty() {
            "0"
        } else {
            &self.whole
        };
        let point = if self.fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{}", self.fraction)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, decimal: char) -> Option<String> {
        Number::parse(text, decimal).map(|number| number.to_string())
    }

    #[test]
    fn numbers_are_read_exactly() {
        for (text, shown) in [
            ("36", "36"),
            ("007", "7"),
            ("0", "0"),
            ("-0", "0"),
            ("+5", "5"),
            ("-000.500", "-0.5"),
            ("1000.50", "1000.5"),
            ("1,000.5", "1000.5"),
            ("12,345,678", "12345678"),
            ("123,456", "123456"),
            ("0.1", "0.1"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("9007199254740993", "9007199254740993"),
        ] {
            assert_eq!(read(text, '.').as_deref(), Some(shown), "{text}");
        }
        assert_eq!(read("1.000,5", ',').as_deref(), Some("1000.5"));
        assert_eq!(read("1.000", ',').as_deref(), Some("1000"));
        assert_eq!(read("1,5", ',').as_deref(), Some("1.5"));
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "1.",
            ".5",
            "1e3",
            "1E3",
            "0x1",
            "1_000",
            " 1",
            "1 ",
            "- 1",
            "--1",
            "0,001",
            "1,00",
            "1,0000",
            "1234,567",
            ",123",
            "1,",
            "1,,000",
            "1.000.000",
            "1,000.5,0",
            "1.5,000",
            "36 months",
            "term_36",
            "３６",
            "٣٦",
            "½",
            "∞",
            "NaN",
            "inf",
            "1\u{a0}000",
            "00,123",
            "1,234.",
            "−5",
        ] {
            assert_eq!(read(text, '.'), None, "{text}");
        }
        assert_eq!(read("1,5", '.'), None);
        assert_eq!(read("1.5", ','), None);
    }

    #[test]
    fn json_numbers_are_read_exactly() {
        for (text, shown) in [
            ("25000", "25000"),
            ("25000.0", "25000"),
            ("-0.0", "0"),
            ("0.1", "0.1"),
            ("1e3", "1000"),
            ("2.5E4", "25000"),
            ("-1.25e+1", "-12.5"),
            ("125e-2", "1.25"),
            ("5e-3", "0.005"),
            ("0.12345678901234567890", "0.1234567890123456789"),
            ("1e100", &format!("1{}", "0".repeat(100))),
        ] {
            let read = Number::from_json(text).map(|number| number.to_string());
            assert_eq!(read.as_deref(), Some(shown), "{text}");
        }
        for text in [
            "",
            "\"1\"",
            "null",
            "[1]",
            "1e101",
            "1e-101",
            "1e99999999999999999999",
            "true",
        ] {
            assert_eq!(Number::from_json(text), None, "{text}");
        }
    }

    proptest! {
        /// Against integers of the machine, scaled by the same power of ten.
        #[test]
        fn numbers_compare_by_value(one in -100_000_i64..100_000, other in -100_000_i64..100_000, places in 0_u32..5) {
            let text = |scaled: i64| {
                let unit = 10_i64.pow(places);
                let (whole, rest) = (scaled.abs() / unit, scaled.abs() % unit);
                let sign = if scaled < 0 { "-" } else { "" };
                let width = usize::try_from(places).unwrap();
                if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:0width$}") }
            };
            let (a, b) = (Number::parse(&text(one), '.').unwrap(), Number::parse(&text(other), '.').unwrap());
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
            prop_assert_eq!(Number::parse(&a.to_string(), '.'), Some(a));
        }
    }
}
