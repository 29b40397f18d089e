//! Value rules: which of a field's values a campaign declares equal.
//!
//! Exports spell the same value differently from one year to the next. What is declared equal is
//! made equal when segments are [counted](crate::counting); nothing else ever is.

mod apply;
mod declare;
mod number;
mod reread;

pub(crate) use apply::folded;

/// The longest value of a field to segment by, in characters.
pub(crate) const MAX_VALUE_LENGTH: usize = 1_000;

pub(crate) use apply::{Applied, FieldRules, Tag, alike, applied};
pub use declare::{Edge, FieldDeclaration, Normalise, RulesDeclaration, ValueMap, ValueType};
pub use reread::AttributeTypes;
pub(crate) use reread::{AttributeType, Made, Possible, applied_again, chosen, possible};
