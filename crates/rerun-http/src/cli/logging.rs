use std::io::{self, IsTerminal, Write};
use std::panic;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::Failure;
use crate::config::{Log, LogFormat, Otlp};
use crate::traces::{self, Sending};

/// Logs to standard error from now on. `filter` is one that is known to be well-formed.
pub(super) fn start(log: &Log, filter: &str) {
    subscribe(log.format, filter);
    log_panics();
}

/// The same, and sends traces until what it answers is dropped, where they are wanted. To be
/// called on no runtime.
pub(super) fn start_traced(log: &Log, otlp: Option<&Otlp>) -> Result<Option<Sending>, Failure> {
    let Some(otlp) = otlp else {
        start(log, log.filter());
        return Ok(None);
    };
    let (sent, sending) = traces::start(otlp)?;
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
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

fn subscribe(format: LogFormat, filter: &str) {
    let builder = fmt()
        .with_writer(io::stderr)
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(io::stderr().is_terminal());
    // An error says that something is logged to already, which then stays.
    let _already = match format {
        LogFormat::Text => builder.try_init(),
        // A line has its spans once, the outermost first.
        LogFormat::Json => builder.json().with_current_span(false).try_init(),
    };
}

/// Says why the process ends, in a way that fits its log.
pub(super) fn report(format: LogFormat, text: &str) {
    match format {
        LogFormat::Text => {
            // Nobody is left to tell when this fails.
            let _unwritten = writeln!(io::stderr().lock(), "rerun-http: {text}");
        }
        LogFormat::Json => {
            subscribe(format, "error");
            tracing::error!("{text}");
        }
    }
}
