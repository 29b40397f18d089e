//! How text is compared and kept.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::error::Invalid;

/// Trims Unicode white space and brings the text into NFC: the form in which profile values,
/// field names and customer references are compared, stored and shown. `None` when nothing is
/// left, since an empty value is the same as a missing one.
#[must_use]
pub fn normalise(text: &str) -> Option<Cow<'_, str>> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        None
    } else if is_nfc_quick(trimmed.chars()) == IsNormalized::Yes {
        Some(Cow::Borrowed(trimmed))
    } else {
        Some(Cow::Owned(trimmed.nfc().collect()))
    }
}

/// Refuses what cannot be stored as text.
///
/// # Errors
/// [`Invalid`] naming `field` when the text holds a NUL character.
pub fn check(field: &str, text: &str) -> Result<(), Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new(format!("`{field}` holds a NUL character")));
    }
    Ok(())
}

/// A name as people give it: normalised, not empty, at most `max` characters.
///
/// # Errors
/// [`Invalid`] naming `field` and the bound that it breaks.
pub fn name(field: &str, text: &str, max: usize) -> Result<String, Invalid> {
    check(field, text)?;
    let name = normalise(text)
        .ok_or_else(|| Invalid::new(format!("`{field}` must not be blank")))?
        .into_owned();
    let length = name.chars().count();
    if length > max {
        return Err(Invalid::new(format!(
            "`{field}` may have at most {max} characters, this one has {length}"
        )));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn white_space_goes_and_composed_equals_decomposed() {
        assert_eq!(
            normalise("\u{2003} Zoe\u{308} \u{a0}\n").as_deref(),
            Some("Zo\u{eb}")
        );
        assert_eq!(normalise("a  b").as_deref(), Some("a  b"));
        assert_eq!(normalise(" \t\u{3000}"), None);
        assert_eq!(normalise(""), None);
        assert_ne!(normalise("de"), normalise("DE"));
    }

    #[test]
    fn a_name_says_what_is_wrong_with_it() {
        assert!(
            name("name", "a\0b", 9)
                .unwrap_err()
                .to_string()
                .contains("NUL")
        );
        assert!(
            name("name", "  ", 9)
                .unwrap_err()
                .to_string()
                .contains("blank")
        );
        assert!(
            name("name", "abc", 2)
                .unwrap_err()
                .to_string()
                .contains("at most 2")
        );
        assert_eq!(name("name", " ab ", 2).unwrap(), "ab");
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in any::<String>()) {
            let once = normalise(&text).map(Cow::into_owned);
            let twice = once.as_deref().and_then(normalise).map(Cow::into_owned);
            prop_assert_eq!(once, twice);
        }
    }
}
