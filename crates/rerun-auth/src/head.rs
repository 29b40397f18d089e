//! What is read of a request before anybody is let in.

use std::net::IpAddr;

/// The head of a request, as a server has it.
pub trait Head {
    /// Returns every value that a header came with, in order. The name is in lower case.
    fn values(&self, name: &str) -> Vec<&[u8]>;

    /// Returns the pattern of the path's endpoint: what the path was understood as, however it was
    /// written.
    fn pattern(&self) -> Option<String>;

    /// Returns the address at the other end of the connection.
    fn peer(&self) -> Option<IpAddr>;
}

/// The value of a header that stands there exactly once. With a repeated one, two parties on the
/// way could each believe another value.
pub(crate) fn single<'a>(head: &'a dyn Head, name: &str) -> Option<&'a [u8]> {
    match *head.values(name) {
        [value] => Some(value),
        _ => None,
    }
}

/// The same as text: printable ASCII, blanks and tabs.
pub(crate) fn single_text<'a>(head: &'a dyn Head, name: &str) -> Option<&'a str> {
    let value = single(head, name)?;
    let printable = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    if value.iter().all(printable) {
        str::from_utf8(value).ok()
    } else {
        None
    }
}

/// Whether a header is there at all.
pub(crate) fn has(head: &dyn Head, name: &str) -> bool {
    !head.values(name).is_empty()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A head of these headers, on a connection from this address.
    pub(crate) struct Sent<'a> {
        pub(crate) headers: &'a [(&'a str, &'a [u8])],
        pub(crate) peer: Option<IpAddr>,
    }

    impl Head for Sent<'_> {
        fn values(&self, name: &str) -> Vec<&[u8]> {
            let named = self.headers.iter().filter(|(header, _)| *header == name);
            named.map(|(_, value)| *value).collect()
        }

        fn pattern(&self) -> Option<String> {
            None
        }

        fn peer(&self) -> Option<IpAddr> {
            self.peer
        }
    }

    #[test]
    fn a_text_stands_there_once_and_is_printable() {
        let sent = Sent {
            headers: &[
                ("a", b"x\t ~"),
                ("b", b"x"),
                ("b", b"x"),
                ("c", b"\xc3\xa9"),
                ("d", b"\x7f"),
            ],
            peer: None,
        };
        assert_eq!(single_text(&sent, "a"), Some("x\t ~"));
        for name in ["b", "c", "d", "e"] {
            assert_eq!(single_text(&sent, name), None, "{name}");
        }
        assert_eq!(single(&sent, "c"), Some("\u{e9}".as_bytes()));
        assert!(has(&sent, "b") && !has(&sent, "e"));
    }
}
