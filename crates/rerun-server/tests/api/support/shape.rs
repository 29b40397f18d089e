use serde_json::Value;

/// Checks that a value has exactly the form of a pattern: the same fields in every object, for
/// every item of a list the form of the pattern's only one, and for a text in the pattern what
/// it names: `uuid`, `time`, `key`, `text`, `int`, `bool`, `any`, with a question mark where `null` may
/// stand, or after `=` the text itself.
#[track_caller]
pub(crate) fn assert_shape(value: &Value, pattern: &Value) {
    if let Err(wrong) = check(value, pattern) {
        panic!("{wrong} in {value:#}");
    }
}

fn check(value: &Value, pattern: &Value) -> Result<(), String> {
    match (pattern, value) {
        (Value::Object(fields), Value::Object(values)) => {
            let (mut wanted, mut found): (Vec<_>, Vec<_>) =
                (fields.keys().collect(), values.keys().collect());
            wanted.sort();
            found.sort();
            if wanted != found {
                return Err(format!("{wanted:?} wanted, {found:?} found"));
            }
            fields.iter().try_for_each(|(name, field)| {
                check(&values[name], field).map_err(|wrong| format!("{name}: {wrong}"))
            })
        }
        (Value::Array(items), Value::Array(values)) => {
            if values.is_empty() {
                return Err("an empty list".to_owned());
            }
            values.iter().try_for_each(|value| check(value, &items[0]))
        }
        (Value::String(kind), value) => {
            let (kind, nullable) = match kind.strip_suffix('?') {
                Some(kind) => (kind, true),
                None => (kind.as_str(), false),
            };
            let good = (nullable && value.is_null())
                || match kind {
                    "uuid" => text(value, is_uuid),
                    "time" => text(value, is_time),
                    "key" => text(value, |text| text.len() == 64 && text.bytes().all(is_hex)),
                    "text" => value.is_string(),
                    "int" => value.is_u64(),
                    "bool" => value.is_boolean(),
                    "any" => true,
                    literal => text(value, |text| literal.strip_prefix('=') == Some(text)),
                };
            if good {
                Ok(())
            } else {
                Err(format!("{value} where {kind} should be"))
            }
        }
        (pattern, value) if pattern == value => Ok(()),
        (pattern, value) => Err(format!("{value} where {pattern} should be")),
    }
}

fn text(value: &Value, good: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(good)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Lower case, with hyphens.
fn is_uuid(text: &str) -> bool {
    let parsed = uuid::Uuid::try_parse(text);
    parsed.is_ok_and(|id| id.hyphenated().to_string() == text)
}

/// RFC 3339 in UTC with exactly three digits of a second.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}
