use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::panic;

use rerun_core::text::{escape_controls, is_control};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::Failure;
use crate::config::{Log, LogFormat, Otlp};
use crate::traces::{self, Sending};
use rerun_generate::Secrets;

/// Logs to standard error from now on. `filter` is one that is known to be well-formed.
pub(super) fn start(log: &Log, filter: &str) {
    subscribe(Lines::new(log.format, log.secrets.clone()), filter);
    log_panics();
}

/// The same, and sends traces until what it answers is dropped, where they are wanted. To be
/// called on no runtime.
pub(super) fn start_traced(log: &Log, otlp: Option<&Otlp>) -> Result<Option<Sending>, Failure> {
    let Some(otlp) = otlp else {
        start(log, &log.filter());
        return Ok(None);
    };
    let (sent, sending) = traces::start(otlp)?;
    let writer = Lines::new(log.format, log.secrets.clone());
    let lines = fmt::layer().with_ansi(writer.coloured).with_writer(writer);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().with_current_span(false).boxed(),
    };
    // Each has a filter of its own: a span that is traced need not be logged.
    let lines = lines.with_filter(EnvFilter::new(log.filter()));
    let _already = tracing_subscriber::registry()
        .with(lines)
        .with(sent)
        .try_init();
    log_panics();
    Ok(Some(sending))
}

fn log_panics() {
    // A panic's own message would be several lines of text between lines of JSON.
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(place, panic = text, "a panic");
    }));
}

fn subscribe(lines: Lines, filter: &str) {
    let format = lines.format;
    let builder = fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(lines.coloured)
        .with_writer(lines);
    // An error says that something is logged to already, which then stays.
    let _already = match format {
        LogFormat::Text => builder.try_init(),
        // A line has its spans once, the outermost first.
        LogFormat::Json => builder.json().with_current_span(false).try_init(),
    };
}

/// Says why the process ends, in a way that fits its log.
pub(super) fn report(format: LogFormat, secrets: &Secrets, text: &str) {
    match format {
        LogFormat::Text => {
            let text = secrets.redact(text);
            let lines: Vec<_> = text.lines().map(escape_controls).collect();
            // A line break may be part of a file's name: only the first line may look like the
            // beginning of something. Nobody is left to tell when this fails.
            let _unwritten = writeln!(io::stderr().lock(), "rerun-http: {}", lines.join("\n  "));
        }
        LogFormat::Json => {
            subscribe(Lines::new(format, secrets.clone()), "error");
            tracing::error!("{text}");
        }
    }
}

/// Where every line of the log passes: an event is one line, whatever text of others it repeats,
/// and shows no secret.
#[derive(Clone)]
struct Lines {
    format: LogFormat,
    /// Whether the log is read on a terminal, and has colours.
    coloured: bool,
    secrets: Secrets,
}

impl Lines {
    fn new(format: LogFormat, secrets: Secrets) -> Self {
        Self {
            format,
            coloured: format == LogFormat::Text && io::stderr().is_terminal(),
            secrets,
        }
    }

    /// The event as it is written; `event` ends with the one line break that is meant.
    fn line(&self, event: &str) -> String {
        let text = self
            .secrets
            .redact(event.strip_suffix('\n').unwrap_or(event));
        let mut line = match self.format {
            LogFormat::Json => json_escaped(&text),
            LogFormat::Text if self.coloured => escaped_but_colours(&text),
            LogFormat::Text => escape_controls(&text),
        }
        .into_owned();
        line.push('\n');
        line
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// An event arrives in one piece.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = self.line(&String::from_utf8_lossy(event));
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// JSON escapes the controls of ASCII by itself. Others can stand in its texts alone, so that an
/// escape is right wherever one is found.
fn json_escaped(line: &str) -> Cow<'_, str> {
    if !line.contains(is_control) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for character in line.chars() {
        if is_control(character) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// A line as [`escape_controls`] makes it, with the sequences left in that only set a colour.
fn escaped_but_colours(line: &str) -> Cow<'_, str> {
    let mut escaped = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("\u{1b}[") {
        let (before, sequence) = rest.split_at(start);
        escaped.push_str(&escape_controls(before));
        let inner = sequence.get(2..).unwrap_or_default();
        let digits = inner.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        let after = digits.strip_prefix('m');
        let taken = sequence.len() - after.map_or(inner.len(), str::len);
        let (sequence, after) = sequence.split_at(taken);
        if digits.starts_with('m') {
            escaped.push_str(sequence);
        } else {
            escaped.push_str(&escape_controls(sequence));
        }
        rest = after;
    }
    escaped.push_str(&escape_controls(rest));
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn lines(format: LogFormat, coloured: bool) -> Lines {
        let secret = SecretString::from("sk-hunter2");
        Lines {
            format,
            coloured,
            secrets: Secrets::new([&secret]),
        }
    }

    #[test]
    fn an_event_is_one_line_without_secrets() {
        let forged = "INFO said: no\n2026 ERROR the key is sk-hunter2\u{1b}[2J\u{202e}\r\n";
        assert_eq!(
            lines(LogFormat::Text, false).line(forged),
            "INFO said: no\\n2026 ERROR the key is ***\\u{1b}[2J\\u{202e}\\r\n"
        );
        assert_eq!(lines(LogFormat::Text, false).line("plain\n"), "plain\n");
    }

    #[test]
    fn colours_are_the_only_sequences_for_a_terminal() {
        let event = "\u{1b}[2mnow\u{1b}[0m \u{1b}[1;31mred\u{1b}[0m \u{1b}[2J \u{1b}]0;x\u{7}\n";
        assert_eq!(
            lines(LogFormat::Text, true).line(event),
            "\u{1b}[2mnow\u{1b}[0m \u{1b}[1;31mred\u{1b}[0m \\u{1b}[2J \\u{1b}]0;x\\u{7}\n"
        );
        assert_eq!(
            lines(LogFormat::Text, false).line("\u{1b}[0mx\n"),
            "\\u{1b}[0mx\n"
        );
    }

    #[test]
    fn json_stays_json() {
        let said = "a\n\u{85}\u{2028}\u{202e}\u{7f} sk-hunter2";
        let event = format!("{}\n", serde_json::json!({ "said": said }));
        let line = lines(LogFormat::Json, false).line(&event);
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        assert!(!line.trim_end().contains(is_control), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["said"], said.replace("sk-hunter2", "***"));
    }
}
