//! Fuzz targets: each takes any bytes, and panics when a promise is broken.
//!
//! `scripts/fuzz` drives them with libFuzzer, guided by coverage; the tests of this crate drive
//! them with the inputs in `seeds/` and with random ones. `docs/fuzzing.md` lists what each target
//! promises, and the format of its input.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "this is test code in the form of a library: a broken promise is a panic"
)]

mod answers;
mod csv;
mod cursors;
mod guard;
mod requests;
mod segments;
mod templates;

pub use self::csv::csv;
pub use answers::answers;
pub use cursors::cursors;
pub use guard::guard;
pub use requests::requests;
pub use segments::segments;
pub use templates::templates;

/// A target: its name, which is the name of its folder in `seeds/`, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("answers", answers),
    ("csv", csv),
    ("cursors", cursors),
    ("guard", guard),
    ("requests", requests),
    ("segments", segments),
    ("templates", templates),
];
