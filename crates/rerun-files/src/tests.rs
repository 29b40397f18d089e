use std::fmt::Write as _;
use std::io::{self, BufReader, Cursor, Read, Write as _};
use std::process::{Command, Stdio};

use rerun_core::text;

use super::records::{MAX_COLUMNS, MAX_ROW_BYTES};
use crate::customers::{CustomerCsv, records};
use crate::header::CsvOptions;
use crate::records::Separator;

/// What an import of these bytes comes to: each customer with its values, or the refusal.
fn import(file: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    import_as(file, &CsvOptions::default())
}

fn import_as(file: &[u8], options: &CsvOptions) -> Result<(Vec<String>, Vec<String>), String> {
    let file = Cursor::new(file.to_vec());
    let CustomerCsv { fields, rows, .. } =
        CustomerCsv::open(file, options).map_err(|error| error.to_string())?;
    let rows = rows.map(|row| {
        let row = row.map_err(|invalid| invalid.to_string())?;
        let values = row
            .values
            .iter()
            .map(|value| value.as_deref().unwrap_or("-"));
        Ok(format!(
            "{}:{}",
            row.customer_ref,
            values.collect::<Vec<_>>().join(",")
        ))
    });
    Ok((fields, rows.collect::<Result<_, String>>()?))
}

fn rows(file: &[u8]) -> Vec<String> {
    import(file).unwrap().1
}

#[test]
fn rows_are_read_however_they_are_written() {
    let expected = ["a:DE,gold", "b:FR,-"];
    for file in [
        &b"customer_ref,country,tier\na,DE,gold\nb,FR,\n"[..],
        b"customer_ref,country,tier\na,DE,gold\nb,FR,",
        b"customer_ref,country,tier\r\na,DE,gold\r\nb,FR,\r\n",
        b"\xef\xbb\xbfcustomer_ref,country,tier\na,DE,gold\nb,FR,\n",
        b"\n\r\n\ncustomer_ref,country,tier\n\n\na,DE,gold\n\r\n\r\nb,FR,\n\n",
        b"\"customer_ref\",\"country\",tier\n\"a\",\"DE\",\"gold\"\n b , FR ,\" \"",
        b"country,customer_ref,tier\nDE,a,gold\nFR,b,\n",
    ] {
        let (fields, rows) = import(file).unwrap();
        assert_eq!(
            (fields, rows),
            (
                vec!["country".into(), "tier".into()],
                expected.map(Into::into).to_vec()
            ),
            "{file:?}"
        );
    }
}

#[test]
fn quotes_hold_separators_line_ends_and_quotes() {
    assert_eq!(
        rows(b"customer_ref,note\na,\"x,y\"\nb,\"two\r\nlines\"\nc,\"say \"\"hi\"\"\"\n"),
        ["a:x,y", "b:two\r\nlines", "c:say \"hi\""],
    );
}

#[test]
fn a_header_alone_is_an_import_of_nobody() {
    assert_eq!(rows(b"customer_ref"), Vec::<String>::new());
    assert_eq!(rows(b"customer_ref,country\n"), Vec::<String>::new());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_wrong_is_said_with_its_line() {
    for (file, said) in [
        (&b""[..], "line 1: the header has no column `customer_ref`"),
        (
            b"\xef\xbb\xbf",
            "line 1: the header has no column `customer_ref`",
        ),
        (b"\n\n", "line 1: the header has no column"),
        (
            b"country\nDE\n",
            "line 1: the header has no column `customer_ref`",
        ),
        (b"customer_ref,a,a\n", "line 1: the header names `a` twice"),
        (
            b"customer_ref,,a\nx,y,z\n",
            "line 1: column 2 of the header has no name",
        ),
        (
            b"customer_ref,\nx,y\n",
            "line 2: column 2 has a value, but the header has no name for it",
        ),
        (
            b"customer_ref,\"a\nx,y\n",
            "line 1: a quote is never closed",
        ),
        (b"customer_ref,a\xff\nx,y\n", "line 1: not UTF-8"),
        (
            b"customer_ref,a\nx,y\nz\n",
            "line 3: 1 values where the header has 2",
        ),
        (
            b"customer_ref,a\nx,y\nz,1,2\n",
            "line 3: 3 values where the header has 2",
        ),
        (b"customer_ref,a\r\nx,y\r\n\r\nz\r\n", "line 4: 1 values"),
        (b"customer_ref,a\nx,\"1\n2\n3\"\n\nz\n", "line 6: 1 values"),
        (
            b"customer_ref,a\r\nx,\"1\r\n2\"\r\nz\r\n",
            "line 4: 1 values",
        ),
        (b"customer_ref,a\n ,y\n", "line 2: `customer_ref` is blank"),
        (b"customer_ref,a\n,y\n", "line 2: `customer_ref` is blank"),
        (
            b"customer_ref,a\n\"\",y\n",
            "line 2: `customer_ref` is blank",
        ),
        (
            b"customer_ref,a\nx,\"y\"\x1a\nz,1\n",
            "line 2: text after a closing quote",
        ),
        (
            b"customer_ref,a\nx,y\nz,\"open\n",
            "line 3: a quote is never closed",
        ),
        (
            b"customer_ref,a\nx,y\nz,\"open",
            "line 3: a quote is never closed",
        ),
        (
            b"customer_ref,a\nx,y\nz,\"",
            "line 3: a quote is never closed",
        ),
        (
            b"customer_ref,a\nx,\"y\nz,1\nw,2\n",
            "line 2: a quote is never closed",
        ),
        (
            b"customer_ref,a\nx,\"y\"\"\n",
            "line 2: a quote is never closed",
        ),
        (
            b"customer_ref,a\nx,12\" monitor\n",
            "line 2: a quote inside an unquoted field",
        ),
        (
            b"customer_ref,a\nx,\"12\" monitor\"\n",
            "line 2: text after a closing quote",
        ),
        (
            b"customer_ref,a\nx,\"1\r2\n3\r\n4\"5\n",
            "line 5: text after a closing quote",
        ),
        (
            b"customer_ref,\"a\"b\nx,1\n",
            "line 1: text after a closing quote",
        ),
        (
            b"customer_ref,a\rx,1\ry\r",
            "line 3: 1 values where the header has 2",
        ),
        (
            b"customer_ref,a\rx,1\r\ny,2\n\r\rz\r",
            "line 6: 1 values where the header has 2",
        ),
        (
            b"customer_ref,a\nx,\"1\r2\n\xff\"\n",
            "line 4: not UTF-8; save the file in UTF-8",
        ),
        (b"customer_ref,a\nx,\xff\n", "line 2: not UTF-8"),
        (b"customer_ref,a\nx\xc3,\xa9y\n", "line 2: not UTF-8"),
        (b"customer_ref,a\nx,y\0\n", "line 2: column 2 holds a NUL"),
        (b"customer_ref\nx\n\0\n", "line 3: column 1 holds a NUL"),
    ] {
        let error = import(file).unwrap_err();
        assert!(
            error.contains(said),
            "{:?} said {error}",
            String::from_utf8_lossy(file)
        );
    }
}

#[test]
fn a_closed_quote_at_the_end_of_the_file_is_no_open_one() {
    assert_eq!(rows(b"customer_ref,a\nx,\"y\""), ["x:y"]);
    assert_eq!(rows(b"customer_ref,a\nx,\"\""), ["x:-"]);
    assert_eq!(rows(b"customer_ref,a\nx,\"y\"\"\""), ["x:y\""]);
}

#[test]
fn every_split_of_the_input_reads_the_same() {
    let file = b"\xef\xbb\xbfcustomer_ref,a\r\n\r\nx,\"1\r\n\"\"2\"\"\"\r\n\n\xc3\xa9,y\r\nz";
    for size in 1..=file.len() {
        let file = BufReader::with_capacity(size, &file[..]);
        let Ok(mut csv) = records(file, &CsvOptions::default()) else {
            panic!("{size}");
        };
        let mut seen = Vec::new();
        while let Ok(Some(record)) = csv.record() {
            seen.push((record.line, record.values.join("|")));
        }
        let expected = [
            (1, "customer_ref|a"),
            (3, "x|1\r\n\"2\""),
            (6, "é|y"),
            (7, "z"),
        ];
        assert_eq!(
            seen,
            expected.map(|(line, text)| (line, text.to_owned())),
            "{size}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_of_the_file_alone() {
    for file in [
        &b"\n\xef\xbb\xbfcustomer_ref\nx\n"[..],
        b"\xef\xbb\xbf\xef\xbb\xbfcustomer_ref\nx\n",
    ] {
        let error = import(file).unwrap_err();
        assert!(error.contains("no column `customer_ref`"), "{error}");
    }
    assert_eq!(
        rows(b"\xef\xbb\xbf\ncustomer_ref\n\xef\xbb\xbfx\n"),
        ["\u{feff}x:"]
    );
}

#[test]
fn rows_have_bounds() {
    let long = [b"customer_ref,a\nx,\"".as_slice(), &vec![b'y'; 3 << 20]].concat();
    let error = import(&long).unwrap_err();
    assert!(error.contains("line 2: more than 1048576 bytes"), "{error}");
    let wide = [b"customer_ref".as_slice(), &b",a".repeat(MAX_COLUMNS)].concat();
    let error = import(&wide).unwrap_err();
    assert!(error.contains("line 1: more than 10000 values"), "{error}");
}

/// The bytes of the file count, whatever they stand for.
#[test]
fn a_row_is_as_long_as_it_is_in_the_file() {
    for filler in ["y", "\"\"", "\u{e9}", "\n"] {
        for end in ["\n", "\r\n", "\r", ""] {
            let longest = MAX_ROW_BYTES - "x,\"\"".len();
            let file = |longer: usize| {
                let value = filler.repeat(longest / filler.len());
                let padding = "z".repeat(longest % filler.len() + longer);
                let before = format!("customer_ref,a{end}first,{end}");
                let before = if end.is_empty() {
                    "customer_ref,a\n"
                } else {
                    &before
                };
                format!("{before}x,\"{value}{padding}\"{end}")
            };
            let fits = file(0);
            assert!(import(fits.as_bytes()).is_ok(), "{filler:?} {end:?}");
            let error = import(file(1).as_bytes()).unwrap_err();
            let said = "more than 1048576 bytes";
            assert!(error.contains(said), "{filler:?} {end:?}: {error}");
        }
    }
}

#[test]
fn the_last_columns_may_be_nameless_however_many_have_a_name() {
    let names: Vec<String> = (2..=MAX_COLUMNS).map(|n| n.to_string()).collect();
    let names = format!(",{}", names.join(","));
    let values = ",v".repeat(MAX_COLUMNS - 1);
    let file = |header: &str, row: &str| {
        let file = format!("customer_ref{names}{header}\nx{values}{row}\n");
        import(file.as_bytes()).map(|(fields, rows)| (fields.len(), rows.len()))
    };
    for (header, row) in [("", ""), (",", ","), (", ,\"\"", ","), (",", ",,,\u{a0}")] {
        let read = file(header, row);
        assert_eq!(read, Ok((MAX_COLUMNS - 1, 1)), "{header:?} {row:?}");
    }
    for (header, row, line) in [(",a", "", 1), (",", ",y", 2), ("", ",,y", 2)] {
        let error = file(header, row).unwrap_err();
        let said = format!("line {line}: more than 10000 values");
        assert!(error.contains(&said), "{error}");
    }
}

/// Spreadsheets leave such rows where there was something once.
#[test]
fn rows_whose_values_are_all_blank_are_skipped() {
    for blank in [
        "\u{a0}",
        "\"\"",
        "\"\",\"\"",
        "\" \",",
        ",\u{2003}",
        "\u{3000},\"\u{a0}\",,,",
        "\t, ",
        "\"\n\"",
    ] {
        let file = format!("{blank}\ncustomer_ref,a\n{blank}\nx,y\n{blank}");
        assert_eq!(rows(file.as_bytes()), ["x:y"], "{blank:?}");
    }
    let error = import("customer_ref,a\n\"\",\u{200b}\n".as_bytes()).unwrap_err();
    assert!(error.contains("`customer_ref` is blank"), "{error}");
}

#[test]
fn a_file_may_end_in_ctrl_z() {
    for end in ["\x1a", "\x1a\x1a\x1a", "\n\x1a", "\r\n\x1a\x1a", "\n\n\x1a"] {
        for value in ["y", "\"y\"", "\"y\" "] {
            let file = format!("customer_ref,a\nx,{value}{end}");
            assert_eq!(rows(file.as_bytes()), ["x:y"], "{file:?}");
        }
    }
    assert_eq!(rows(b"customer_ref,a\x1a"), Vec::<String>::new());
    // Elsewhere it is a character.
    assert_eq!(
        rows(b"customer_ref,a\nx,\x1ay\n\x1a,z\n"),
        ["x:\x1ay", "\x1a:z"]
    );
    assert_eq!(rows(b"customer_ref,a\nx,\"\x1a\""), ["x:\x1a"]);
}

#[test]
fn the_line_that_names_the_separator_may_be_filled_up() {
    for line in [
        "sep=;",
        "SEP=; ",
        "sep=;;",
        "sep=;;;; ",
        "sep= ;",
        "\"sep=;\"",
        "\"sep=;\";;",
    ] {
        let file = format!("{line}\r\nx;customer_ref,\na;b\n");
        let options = CsvOptions {
            ref_column: "x".into(),
            ..CsvOptions::default()
        };
        let (fields, rows) = import_as(file.as_bytes(), &options).unwrap();
        assert_eq!((fields.len(), rows), (1, vec!["a:b".into()]), "{line}");
        assert_eq!(fields, ["customer_ref,"], "{line}");
    }
    assert_eq!(rows(b"sep=\t\t\ncustomer_ref\ta\nx\ty\n"), ["x:y"]);
    // A column may have such a name.
    let (fields, _) = import(b"sep=a,customer_ref\n1,x\n").unwrap();
    assert_eq!(fields, ["sep=a"]);
}

#[test]
fn a_file_that_cannot_be_read_is_no_fault_of_the_rows() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk"))
        }
    }
    // More than is read for the header.
    let start = format!("customer_ref\n{}y", "x\n".repeat(1 << 20));
    let file = Cursor::new(start).chain(Broken);
    let opened = CustomerCsv::open(file, &CsvOptions::default());
    let CustomerCsv { rows, failure, .. } = opened.unwrap_or_else(|_| panic!("header"));
    let rows: Vec<_> = rows.collect();
    let last = rows.last().unwrap().is_err();
    assert_eq!((rows.len(), last), ((1 << 20) + 1, true));
    assert_eq!(failure.get().unwrap().to_string(), "disk");
    let error = CustomerCsv::open(Broken, &CsvOptions::default())
        .map(drop)
        .unwrap_err();
    assert_eq!(error.to_string(), "the file cannot be read");
}

fn utf_16(text: &str, big: bool) -> Vec<u8> {
    let text = format!("\u{feff}{text}");
    let units = text.encode_utf16();
    let bytes = units.map(|unit| {
        if big {
            unit.to_be_bytes()
        } else {
            unit.to_le_bytes()
        }
    });
    bytes.flatten().collect()
}

#[test]
fn utf_16_with_a_byte_order_mark_is_read() {
    let text = "customer_ref;na\u{ef}ve\r\n\u{1f600};\"a\n\u{feff}b\"\r\nb;\u{20ac}";
    for big in [false, true] {
        let file = utf_16(text, big);
        let (fields, rows) = import(&file).unwrap();
        assert_eq!(fields, ["na\u{ef}ve"]);
        assert_eq!(rows, ["\u{1f600}:a\n\u{feff}b", "b:\u{20ac}"]);
        for size in 1..=file.len() {
            let pieces = BufReader::with_capacity(size, &file[..]);
            let Ok(mut csv) = records(pieces, &CsvOptions::default()) else {
                panic!("{size}");
            };
            let mut lines = Vec::new();
            while let Ok(Some(record)) = csv.record() {
                lines.push((record.line, record.values.len()));
            }
            assert_eq!(lines, [(1, 2), (2, 2), (4, 2)], "{size}");
        }
        // Longer than what is looked at, and decoded, at once.
        let mut long = String::new();
        for n in 0..60_000 {
            writeln!(long, "c{n};\u{e4}{n}").unwrap();
        }
        let file = utf_16(&format!("customer_ref;a\n{long}"), big);
        let (_, rows) = import(&file).unwrap();
        assert_eq!(rows.len(), 60_000);
        assert_eq!(rows[59_999], "c59999:\u{e4}59999");

        let mut half = utf_16("customer_ref\nx\ny", big);
        let surrogate = if big { [0xd8, 0] } else { [0, 0xd8] };
        half.extend(surrogate);
        assert_eq!(import(&half).unwrap_err(), "line 3: not UTF-16");
        half.extend(utf_16("\nz\n", big).split_off(2));
        assert_eq!(import(&half).unwrap_err(), "line 3: not UTF-16");
        let mut odd = utf_16("customer_ref\nx\ny", big);
        odd.push(b'a');
        assert_eq!(import(&odd).unwrap_err(), "line 3: not UTF-16");
    }
}

#[test]
fn what_is_no_csv_is_named() {
    let wide = |text: &str, big: bool| utf_16(text, big).split_off(2);
    let utf_32 = |text: &str| -> Vec<u8> {
        text.chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect()
    };
    let csv = "customer_ref,country\nx,DE\n";
    let zip = |names: &[&str]| {
        let mut file = b"PK\x03\x04\x14\0\x06\0".to_vec();
        for name in names {
            file.extend(name.as_bytes());
            file.extend(b"\0\0\xff");
        }
        file
    };
    let workbook = "this is a spreadsheet workbook (xlsx); save it as CSV";
    for (file, said) in [
        (zip(&["[Content_Types].xml", "_rels/.rels"]), workbook),
        (zip(&["xl/workbook.xml"]), workbook),
        (
            zip(&["mimetypeapplication/vnd.oasis.opendocument.spreadsheet"]),
            "this is a spreadsheet workbook (ods); save it as CSV",
        ),
        (
            zip(&["[Content_Types].xml", "word/document.xml"]),
            "this is an office document",
        ),
        (zip(&["customers.csv"]), "this is an archive (zip)"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(),
            "(xls); save it as CSV",
        ),
        (
            b"\x1f\x8b\x08\0".to_vec(),
            "gzip; send `content-encoding: gzip`",
        ),
        (b"%PDF-1.7\n".to_vec(), "this is a PDF"),
        (b"{\\rtf1".to_vec(), "(RTF)"),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (wide(csv, false), "this is UTF-16 without a byte order mark"),
        (wide(csv, true), "this is UTF-16 without a byte order mark"),
        (utf_32(csv), "this is UTF-32"),
        (utf_32(&format!("\u{feff}{csv}")), "this is UTF-32"),
        (b"{\"customer_ref\":\"x\"}".to_vec(), "this is JSON"),
        (
            b"\xef\xbb\xbf [ {\"customer_ref\":\"x\"}]".to_vec(),
            "this is JSON",
        ),
        (b"\n<!DOCTYPE html><html>".to_vec(), "this is an HTML page"),
        (b"<html lang=en>".to_vec(), "this is an HTML page"),
        (b"<?xml version=\"1.0\"?>".to_vec(), "this is XML"),
    ] {
        let error = import(&file).unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
    }
    // Names that only look like it.
    for header in ["BZh", "PK", "{a}", "[id]", "<5", "GIF"] {
        let file = format!("{header},customer_ref\n1,x\n");
        assert_eq!(import(file.as_bytes()).unwrap().0, [header]);
    }
}

#[test]
fn the_separator_is_the_one_with_which_the_header_has_the_reference() {
    for (file, fields) in [
        (&b"a,b;customer_ref;c\n1,2;x;3\n"[..], vec!["a,b", "c"]),
        (b"a;b;c,customer_ref\n1;2;3,x\n", vec!["a;b;c"]),
        (b"\"a;b;c;d\",customer_ref\n1,x\n", vec!["a;b;c;d"]),
        (b"a,b\tcustomer_ref\n1,2\tx\n", vec!["a,b"]),
        (b"customer_ref\t\nx\t\n", vec![]),
        (b"\n;;\ncustomer_ref;a\nx;1\n", vec!["a"]),
        (b"customer_ref;\"a\n,b\"\nx;1\n", vec!["a\n,b"]),
    ] {
        let (found, rows) = import(file).unwrap();
        assert_eq!((found.len(), rows.len()), (fields.len(), 1), "{found:?}");
        assert_eq!(found, fields);
    }
    for (file, said) in [
        (
            &b"id;country;tier\nx;DE;gold\n"[..],
            "line 1: the header has no column `customer_ref`; it has: id, country, tier",
        ),
        (
            b"sep=\t\nid,customer_ref\n",
            "line 2: the header has no column `customer_ref`; it has: id,customer_ref",
        ),
        (b"sep=|\ncustomer_ref|a\n", "line 1: `sep=` must name"),
        (b"sep=\ncustomer_ref,a\n", "line 1: `sep=` must name"),
        (b"sep=||\ncustomer_ref|a\n", "line 1: `sep=` must name"),
        (b"sep=;,\ncustomer_ref;a\n", "line 1: `sep=` must name"),
        (b"sep= \ncustomer_ref,a\n", "line 1: `sep=` must name"),
        (b"sep=;\ncustomer_ref;a\nx\n", "line 3: 1 values"),
        (b"customer_ref;\"a\nx;1", "line 1: a quote is never closed"),
    ] {
        let error = import(file).unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn the_caller_can_name_separator_and_reference() {
    let named = |separator, ref_column: &str| CsvOptions {
        separator: Some(separator),
        ref_column: ref_column.to_owned(),
    };
    let file = b"customer_ref;id\nx;1\n";
    let (fields, rows) = import_as(file, &named(Separator::Semicolon, "id")).unwrap();
    assert_eq!(
        (fields, rows),
        (vec!["customer_ref".into()], vec!["1:x".into()])
    );
    let error = import_as(file, &named(Separator::Comma, "id")).unwrap_err();
    assert!(error.contains("it has: customer_ref;id"), "{error}");
    let error = import_as(b"sep=;\nid;a\n", &named(Separator::Tab, "id")).unwrap_err();
    let said = "`delimiter` names a tab, but line 1 of the file names a semicolon";
    assert_eq!(error, said);
    assert!(import_as(b"sep=;\nid;a\n", &named(Separator::Semicolon, "id")).is_ok());
    let error = import_as(file, &named(Separator::Comma, " ")).unwrap_err();
    assert_eq!(error, "`ref_column` must not be blank");
}

/// A file that everybody can read, with the separator that it has.
fn generated(rng: &mut fastrand::Rng) -> (Separator, String) {
    let separator = rng.choice(Separator::ALL).unwrap();
    let end = rng.choice(["\n", "\r\n", "\r"]).unwrap();
    let between = char::from(separator.byte());
    let parts = [
        "a",
        "B ",
        " c",
        "\u{e9}",
        "\u{1f600}",
        ",",
        ";",
        "\t",
        "\"\"",
        "\n",
        "\r\n",
        "\r",
        "'",
        "=1+1",
        "",
    ];
    let columns = rng.usize(1..5);
    let mut file = String::new();
    for row in 0..rng.usize(1..8) {
        for column in 0..columns {
            if column > 0 {
                file.push(between);
            }
            // Neither a line without text nor spaces around quotes: readers differ there.
            let first = column == 0;
            if row == 0 && first {
                file.push_str("customer_ref");
            } else if rng.bool() {
                file.push('"');
                for _ in 0..rng.usize(0..5) {
                    file.push_str(rng.choice(parts).unwrap());
                }
                file.push_str(if first { "x\"" } else { "\"" });
            } else {
                write!(file, "{}", rng.u8(..)).unwrap();
                let plain = rng.choice(&parts[..5]).unwrap();
                file.push_str(if first { "" } else { plain });
            }
        }
        file.push_str(end);
        if rng.u8(..8) == 0 {
            file.push_str(end);
        }
    }
    (separator, file)
}

/// Reads one file a line, as JSON of separator and text; writes its records as JSON.
const PYTHON: &str = r"
import csv, io, json, sys
for line in sys.stdin:
    separator, text = json.loads(line)
    file = io.StringIO(text, newline='')
    rows = csv.reader(file, delimiter=separator, strict=True)
    print(json.dumps([row for row in rows if row]))
";

#[test]
fn records_are_those_that_python_reads() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let files: Vec<_> = (0..2_000).map(|_| generated(&mut rng)).collect();
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 can be started");
    let mut stdin = python.stdin.take().unwrap();
    let lines: Vec<u8> = files
        .iter()
        .flat_map(|(separator, file)| {
            let separator = char::from(separator.byte());
            let line = serde_json::to_string(&(separator, file)).unwrap();
            format!("{line}\n").into_bytes()
        })
        .collect();
    let writing = std::thread::spawn(move || stdin.write_all(&lines).unwrap());
    let output = python.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let mut compared = 0;
    for (line, (separator, file)) in output.lines().zip(&files) {
        let expected: Vec<Vec<String>> = serde_json::from_str(line).unwrap();
        let options = CsvOptions {
            separator: Some(*separator),
            ..CsvOptions::default()
        };
        for bytes in [file.as_bytes().to_vec(), utf_16(file, true)] {
            let Ok(mut csv) = records(&bytes[..], &options) else {
                panic!("seed {seed}: {file:?} is refused");
            };
            let mut found: Vec<Vec<String>> = Vec::new();
            loop {
                match csv.record() {
                    Ok(Some(record)) => {
                        found.push(record.values.iter().map(|v| (*v).to_owned()).collect());
                    }
                    Ok(None) => break,
                    Err(stop) => panic!("seed {seed}: {file:?}: {stop:?}"),
                }
            }
            assert_eq!(found, expected, "seed {seed}: {file:?}");
        }
        compared += 1;
    }
    assert_eq!(compared, files.len());
}

#[test]
fn a_header_is_found_however_long_it_is() {
    let names: Vec<String> = (0..9_000)
        .map(|n| format!("{}{n}", "n".repeat(90)))
        .collect();
    let file = format!("{};customer_ref\n{}x\n", names.join(";"), ";".repeat(9_000));
    let (fields, rows) = import(file.as_bytes()).unwrap();
    assert_eq!((fields.len(), rows.len()), (9_000, 1));
    assert!(text::normalise(&fields[0]).is_some() && file.len() < MAX_ROW_BYTES);
}
