//! How text is compared and stored.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::invalid::Invalid;

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

/// Whether the character ends a line or is a control character: what text in one line never has.
/// Marks of writing direction are allowed, because some languages need them.
fn breaks_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Refuses text that is not one line.
///
/// # Errors
/// [`Invalid`] naming `field` and the first line break or control character, with its place.
pub fn check_one_line(field: &str, text: &str) -> Result<(), Invalid> {
    match text.chars().enumerate().find(|(_, c)| breaks_line(*c)) {
        None => Ok(()),
        Some((before, c)) => {
            let what = match c {
                '\n' => "a line feed".to_owned(),
                '\r' => "a carriage return".to_owned(),
                '\t' => "a tab".to_owned(),
                other => format!("the control character U+{:04X}", u32::from(other)),
            };
            Err(Invalid::new(format!(
                "`{field}` must be one line without control characters; character {} is {what}",
                before + 1
            )))
        }
    }
}

/// The text in one line: each line break and control character becomes a space.
#[must_use]
pub fn one_line(text: String) -> String {
    if text.contains(breaks_line) {
        text.replace(breaks_line, " ")
    } else {
        text
    }
}

/// The most characters that [`excerpt`] shows.
const MAX_EXCERPT_LENGTH: usize = 60;

/// The beginning of a text that came from outside, for an error message: with controls escaped, and
/// cut with an ellipsis when it is long.
#[must_use]
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_EXCERPT_LENGTH) {
        Some((end, _)) => escape_controls(text.get(..end).unwrap_or_default()).into_owned() + "…",
        None => escape_controls(text).into_owned(),
    }
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

/// The byte order mark that some programs write before a text. It is not part of the text.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// The bytes of a text of UTF-8 without a byte order mark before it: editors and spreadsheets
/// write one that nobody sees or means. Use it wherever a file is read as text.
///
/// # Errors
/// [`Invalid`] naming the encoding when the text is in another one of Unicode.
pub fn without_mark(bytes: &[u8]) -> Result<&[u8], Invalid> {
    const UTF_8: &[u8] = b"\xef\xbb\xbf";
    let encoding = match bytes {
        // Before UTF-16, whose mark the first of these begins with.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        [first, 0, ..] | [0, first, ..] if *first != 0 => "UTF-16",
        _ => return Ok(bytes.strip_prefix(UTF_8).unwrap_or(bytes)),
    };
    Err(Invalid::new(format!(
        "it is in {encoding}, and must be in UTF-8"
    )))
}

/// Whether a character can make text look like what it is not: it ends a line, moves a
/// terminal's cursor, or turns the order of what follows around.
#[must_use]
pub fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Ends of lines and paragraphs.
            '\u{2028}' | '\u{2029}'
            // Marks, embeddings, overrides and isolates of writing direction.
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text from outside in a form that stays on one line and shows what it holds: each
/// [control character](is_control) is written as Rust writes it, such as `\n` and `\u{1b}`. Use
/// it wherever such text goes into a log, an error or a terminal.
#[must_use]
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_control(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_begins_with_nul_has_no_mark() {
        assert_eq!(without_mark(b"\0\0x"), Ok(&b"\0\0x"[..]));
        assert!(without_mark(b"x\0").is_err() && without_mark(b"\0x").is_err());
    }

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

    #[test]
    fn a_mark_before_text_is_skipped_once_and_other_encodings_are_named() {
        let marked = "\u{feff}text".as_bytes();
        assert_eq!(without_mark(marked), Ok(&b"text"[..]));
        let twice = ["\u{feff}".as_bytes(), marked].concat();
        assert_eq!(without_mark(&twice), Ok(marked));
        for text in ["", "t", "text", "\u{fffe}", "te\u{feff}xt"] {
            assert_eq!(without_mark(text.as_bytes()), Ok(text.as_bytes()));
        }
        for (bytes, encoding) in [
            (&b"\xff\xfet\0e\0"[..], "UTF-16"),
            (b"\xfe\xff\0t\0e", "UTF-16"),
            (b"t\0e\0", "UTF-16"),
            (b"\0t\0e", "UTF-16"),
            (b"\xff\xfe\0\0t\0\0\0", "UTF-32"),
            (b"\0\0\xfe\xff\0\0\0t", "UTF-32"),
        ] {
            let said = without_mark(bytes).unwrap_err().to_string();
            assert!(said.contains(encoding), "{said}");
        }
    }

    #[test]
    fn what_could_pass_for_another_line_is_written_out() {
        for (text, escaped) in [
            ("plain, \u{e9} and \u{1f600}", "plain, \u{e9} and \u{1f600}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{1b}[2J\u{7f}\u{9b}\0", "\\u{1b}[2J\\u{7f}\\u{9b}\\u{0}"),
            ("a\u{85}b\u{2028}c\u{2029}", "a\\u{85}b\\u{2028}c\\u{2029}"),
            (
                "\u{202e}txt\u{2066}\u{200f}",
                "\\u{202e}txt\\u{2066}\\u{200f}",
            ),
            // What joins letters or emoji is part of ordinary words.
            (
                "\u{645}\u{6cc}\u{200c}\u{62e}",
                "\u{645}\u{6cc}\u{200c}\u{62e}",
            ),
        ] {
            assert_eq!(escape_controls(text), escaped);
        }
        assert!(matches!(escape_controls("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn one_line_has_no_breaks_and_no_control_characters() {
        let refusal = |text| check_one_line("subject", text).unwrap_err().to_string();
        assert_eq!(check_one_line("subject", "Grüße – 100\u{a0}%"), Ok(()));
        for (text, what) in [
            ("a\r\nBcc: x", "character 2 is a carriage return"),
            ("é\nb", "character 2 is a line feed"),
            ("a\tb", "character 2 is a tab"),
            ("\u{1b}[31m", "character 1 is the control character U+001B"),
            ("a\u{85}", "U+0085"),
            ("a\u{2028}b", "U+2028"),
            ("a\u{2029}b", "U+2029"),
            ("a\0", "U+0000"),
            ("a\u{7f}", "U+007F"),
        ] {
            assert!(refusal(text).contains(what), "{}", refusal(text));
            let line = one_line(text.to_owned());
            assert_eq!(check_one_line("subject", &line), Ok(()), "{text:?}");
            assert_eq!(line.chars().count(), text.chars().count(), "{text:?}");
        }
        assert_eq!(one_line("a\r\nb".to_owned()), "a  b");
    }

    #[test]
    fn an_excerpt_is_short_and_shows_controls() {
        assert_eq!(excerpt("a\nb"), "a\\nb");
        let long = "é".repeat(100_000);
        assert_eq!(excerpt(&long), "é".repeat(60) + "…");
    }

    proptest! {
        #[test]
        fn nothing_escaped_has_a_control_character(text in any::<String>()) {
            prop_assert!(!escape_controls(&text).contains(is_control));
        }

        #[test]
        fn normalising_twice_changes_nothing(text in any::<String>()) {
            let once = normalise(&text).map(Cow::into_owned);
            let twice = once.as_deref().and_then(normalise).map(Cow::into_owned);
            prop_assert_eq!(once, twice);
        }
    }
}
