//! Entries of the audit log as events.

use rerun_core::ports::EventFilter;

/// A statement that reads an account's entries by number, oldest first, with these columns of `a`.
/// For each of several types it has a part of its own, which an index leads to the first rows.
///
/// Its values are for each of the parts: the account, the campaign if there is one, the type if
/// there is one, the numbers after and up to which to read, and the most rows; with several parts,
/// the most rows of all come last.
#[must_use]
pub fn events_sql(columns: &str, filter: &EventFilter) -> String {
    let campaign = if filter.campaign_id.is_some() {
        "AND a.campaign_id = ?"
    } else {
        ""
    };
    let part = |columns: &str, action: &str| {
        format!(
            "SELECT {columns} FROM audit_entries a WHERE a.account_id = ? {campaign} {action} \
             AND a.seq > ? AND a.seq <= ? ORDER BY a.seq LIMIT ?"
        )
    };
    let by_action = "AND a.action = ?";
    match filter.types.as_deref() {
        None => part(columns, ""),
        Some([_]) => part(columns, by_action),
        Some(types) => {
            let part = format!("SELECT * FROM ({}) a", part("*", by_action));
            let parts = vec![part; types.len()].join(" UNION ALL ");
            format!("SELECT {columns} FROM ({parts}) a ORDER BY a.seq LIMIT ?")
        }
    }
}

/// The types of the parts of such a statement: one part without a type when all are read.
#[must_use]
pub fn event_types(filter: &EventFilter) -> Vec<Option<&'static str>> {
    filter.types.as_ref().map_or_else(
        || vec![None],
        |types| types.iter().map(|action| Some(action.as_str())).collect(),
    )
}
