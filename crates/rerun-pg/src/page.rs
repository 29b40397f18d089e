//! Pages that are bounded by bytes.

use rerun_core::page::MAX_READ_BYTES;

/// A part of a statement that reads a page of a list.
pub(crate) struct PageQuery<'a> {
    /// What is selected, each with a name of its own.
    pub(crate) columns: &'a str,
    /// The bytes of a row's contents, as SQL. PostgreSQL knows how long a text is without reading
    /// it. It counts each text that [`Contents`](rerun_core::page::Contents) counts, but not what
    /// JSON adds to them. It may be more by half at most, so that no page ends before it is full.
    pub(crate) bytes: &'a str,
    /// Where the rows are from, limited by number already.
    pub(crate) from: &'a str,
    /// The order of the list within.
    pub(crate) order: &'a str,
    /// The same by the names of the selected columns.
    pub(crate) by: &'a str,
}

impl PageQuery<'_> {
    /// The statement. Of the rows it has as many as the contents of a page take, and one more:
    /// each row before which there is room, not counting the row right before it. So no text
    /// leaves the database that is not sent on.
    pub(crate) fn text(&self) -> String {
        let Self {
            columns,
            bytes,
            from,
            order,
            by,
        } = self;
        format!(
            "SELECT * FROM (SELECT {columns}, sum({bytes}) OVER (ORDER BY {order} \
               ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING) AS bytes_before {from}) page \
             WHERE bytes_before IS NULL OR bytes_before < {MAX_READ_BYTES} ORDER BY {by}"
        )
    }
}
