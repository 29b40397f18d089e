use std::io::{self, IsTerminal, Write};
use std::panic;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Logs to standard error from now on. `filter` is one that is known to be well-formed.
pub(super) fn start(log: &Log, filter: &str) {
    subscribe(log.format, filter);
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
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(io::stderr().is_terminal());
    // An error says that something is logged to already, which then stays.
    let _already = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
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
