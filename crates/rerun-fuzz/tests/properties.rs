//! The targets on random inputs that are mostly nearly right.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Some of these parts, one after another.
fn joined(parts: &'static [&'static [u8]], most: usize) -> impl Strategy<Value = Vec<u8>> + Clone {
    vec(select(parts), 0..most).prop_map(|parts| parts.concat())
}

const CSV: &[&[u8]] = &[
    b"\"",
    b"\"",
    b"\"\"",
    b",",
    b",",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"a",
    b"x y",
    b" ",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xef",
    b"\xbb\xbf",
    b"\xff",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"\xe3\x80\x80",
    b";",
    b"\t",
    b" \"",
    b"\" ",
    b"\xfe\xff",
    b"customer_ref",
    b"customer_ref,a\n",
    b"x,1\n",
];

const ANSWER: &[&[u8]] = &[
    br#"{"choices":[{"message":{"content":""#,
    br#"{"choices":[{"message":{"content":[{"type":"text","text":""#,
    br#"{\"subject\":\"s\",\"body\":\"b\"}"#,
    br#"{\"subject\":\"s\","#,
    br#"\"body\":\"b\"}"#,
    b"```",
    b"<think>",
    b"</think>",
    b"\\n",
    b"{",
    b"}",
    b" \xef\xbb\xbf",
    br#""}}]}"#,
    br#""}]}}],"usage":{"prompt_tokens":1}}"#,
    br#"{"error":{"message":""#,
    br#"","code":429}}"#,
    b"sk-hunter2-0123456789",
];

const CLAIMS: &[&[u8]] = &[
    br#""user_id":"0193ed20-7b3c-7000-8000-00000000000b""#,
    br#""account_id":"0193ed20-7b3c-7000-8000-00000000000a""#,
    br#""account_id":"x""#,
    br#""role_code":"ADMIN""#,
    br#""role_code":"A\u0000""#,
    br#""exp":1795424460"#,
    br#""exp":1795424400.5"#,
    br#""exp":1795424400"#,
    br#""exp":"1795424460""#,
    br#""nbf":1795424400"#,
    br#""nbf":1795424400.5"#,
    br#""aud":["a"]"#,
    br#""x":{"y":[1e999]}"#,
];

const CONTEXT: &[&[u8]] = &[
    br#""api_access":true"#,
    br#""api_access":false"#,
    br#""api_access":1"#,
    br#""api_code":"the-api-code""#,
    br#""api_code":"the-api-code ""#,
    br#""api_code":null"#,
    br#""x":"\ud800""#,
];

/// The file as it is, or in UTF-16, with what is no UTF-8 as half a pair.
fn wide(file: Vec<u8>, encoding: i32) -> Vec<u8> {
    let in_bytes: fn(u16) -> [u8; 2] = match encoding {
        0 => u16::to_le_bytes,
        1 => u16::to_be_bytes,
        _ => return file,
    };
    let mut units = vec![0xfeff];
    for chunk in file.utf8_chunks() {
        units.extend(chunk.valid().encode_utf16());
        units.extend(chunk.invalid().iter().map(|byte| 0xd800 + u16::from(*byte)));
    }
    units.into_iter().flat_map(in_bytes).collect()
}

/// A file, often with a good header.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let header = select(vec![
        "",
        "customer_ref,a\n",
        "a;customer_ref;;\n",
        "customer_ref\t\"a\"\r",
        "sep=;\r\ncustomer_ref;a\r\n",
        "\"SEP=,\"\ncustomer_ref;a,customer_ref\n",
        "sep=|\n",
        "\u{feff}a,customer_ref\r\n",
        "\u{feff}\u{feff}customer_ref\n",
        "\n\u{feff}customer_ref\n",
    ]);
    let file = (header, joined(CSV, 24));
    let file = file.prop_map(|(header, rest)| [header.as_bytes(), &rest].concat());
    (file, 0..4).prop_map(|(file, encoding)| wide(file, encoding))
}

fn json(fields: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let some = subsequence(fields, 0..=fields.len()).prop_shuffle();
    some.prop_map(|fields| fields.join(&b','))
        .prop_map(|fields| [b"{".as_slice(), &fields, b"}"].concat())
}

/// What the fuzzer's input says to be right.
fn right_claims() -> Vec<u8> {
    [
        b"{".as_slice(),
        &[CLAIMS[0], CLAIMS[1], CLAIMS[3], CLAIMS[5]].join(&b','),
        b"}",
    ]
    .concat()
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let scheme = select(vec![
        "Bearer ", "bearer ", "Bearer", "Basic ", "Bearer  ", "",
    ]);
    let header = select(vec![
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256","crit":["x"]}"#,
    ]);
    let claims = prop_oneof![json(CLAIMS), Just(right_claims())];
    let token = (scheme, header, claims).prop_map(|(scheme, header, claims)| {
        [scheme.as_bytes(), header.as_bytes(), b"|", &claims].concat()
    });
    let right = br#"{"api_access":true,"api_code":"the-api-code"}"#.to_vec();
    let context = prop_oneof![json(CONTEXT), Just(right)];
    let address = select(vec![
        "203.0.113.7",
        "::1",
        "203.0.113",
        "203.0.113.07",
        " ::1",
        "",
    ]);
    let media = select(vec![
        "application/json",
        "APPLICATION/JSON ; charset=x",
        "application/json+x",
        "text/csv",
        "text/csv; charset=utf-8",
        "text/csv;charset=latin1",
    ]);
    let lines = (token, context, address, media).prop_map(|(token, context, address, media)| {
        [
            [b"authorization: ".as_slice(), &token].concat(),
            [b"x-auth-context: ".as_slice(), &context].concat(),
            format!("x-ip: {address}").into_bytes(),
            format!("content-type: {media}").into_bytes(),
        ]
    });
    let kept = vec(
        prop_oneof![1 => Just(0_usize), 20 => Just(1), 1 => Just(2)],
        4,
    );
    (lines, kept).prop_map(|(lines, kept)| {
        let lines = lines.iter().zip(kept);
        let repeated: Vec<_> = lines
            .flat_map(|(line, times)| vec![line.as_slice(); times])
            .collect();
        repeated.join(&b'\n')
    })
}

const SEGMENTS: &[&[u8]] = &[
    b"\xff",
    b"\xff",
    b"\xfe",
    b"\xfe",
    b"\xfe",
    b"a",
    b"b",
    b"ab",
    b"1",
    b":",
    b"|",
    b"=",
    b",",
    b"\"",
    b"\\",
    b"null",
    b" ",
    b"\0",
    b"\n",
    b"customer_ref",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"\xcc\x81",
    b"\xe2\x84\xab",
    b"\xc3\x85",
    b"\xe3\x80\x80",
    b"\xf0\x9f\x98\x80",
];

/// Two profiles, of which the second is often the first.
fn profiles() -> impl Strategy<Value = Vec<u8>> {
    let profile = joined(SEGMENTS, 10);
    (profile.clone(), prop::option::of(profile)).prop_map(|(left, right)| {
        let right = right.unwrap_or_else(|| {
            let mut fields: Vec<_> = left.split(|byte| *byte == 0xff).collect();
            fields.reverse();
            fields.join(&0xff)
        });
        [left.as_slice(), b"\xfd", &right].concat()
    })
}

/// Damage, a key with likely numbers, and a text.
fn cursors() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![any::<i64>(), -5_i64..5, Just(1_795_424_400_000)];
    let half = prop_oneof![any::<i32>(), 0_i32..5];
    let text = prop_oneof![
        ".{0,20}",
        "[0-9a-fA-F]{0,80}",
        (any::<i64>(), any::<i64>())
            .prop_map(|(n, m)| format!(r#"{{"run_number":{n},"segment_no":{m}}}"#)),
        any::<i64>().prop_map(|n| n.to_string()),
        (any::<i64>(), any::<u128>()).prop_map(|(n, id)| {
            format!(
                r#"{{"created_at":{n},"id":"{}"}}"#,
                uuid::Uuid::from_u128(id)
            )
        }),
    ];
    (any::<[u8; 3]>(), number, half.clone(), half, text).prop_map(
        |(damage, high, number, segment, text)| {
            [
                damage.as_slice(),
                &high.to_be_bytes(),
                &number.to_be_bytes(),
                &segment.to_be_bytes(),
                text.as_bytes(),
            ]
            .concat()
        },
    )
}

const TEMPLATES: &[&[u8]] = &[
    b"{{",
    b"{{ ",
    b"}}",
    b" }}",
    b"{{country",
    b"{{ first name ",
    b"{{ a|b",
    b"{{ long",
    b"{{ nothing",
    b"|upper",
    b"| lower ",
    b"|title",
    b"|trim",
    b"|escape",
    b" | escape",
    b"|urlencode",
    b"|default(\"x|\")",
    b"|default( ' y ' )",
    b"|default(",
    b"|reverse",
    b"(1)",
    b"\"",
    b"'",
    b"\\",
    b"|",
    b"{%",
    b"{#",
    b"{",
    b"}",
    b"\n",
    b"a b-c",
    b"\xc3\x9f",
    b"\xce\xa3",
    b"\xfe",
    b"\xfe<&'",
];

/// A template of which many tags are right, and values.
fn template() -> impl Strategy<Value = Vec<u8>> {
    let tag = select(vec![
        "{{country}}",
        "{{ first name | title | escape }}",
        "{{ nothing | default('it') | upper }}",
        "{{ a|b | urlencode }}",
        "{{ long | escape | trim }}",
        "{{ \"{{\" | upper }}",
        "text",
    ]);
    let tags = vec(tag, 0..6).prop_map(|tags| tags.concat().into_bytes());
    let values = joined(TEMPLATES, 4);
    (tags, joined(TEMPLATES, 8), values).prop_map(|(tags, odd, values)| {
        [
            tags.as_slice(),
            &odd,
            b"\xfea\xce\xa3 \xc3\x9f-x\xfe<b>\xfe",
            &values,
        ]
        .concat()
    })
}

/// How a campaign is brought to where it can be rerun.
const BEGINNING: &str = include_str!("../seeds/requests/story");

const FIELDS: &[&[u8]] = &[
    br#""campaign_id":"$4""#,
    br#""campaign_id":"$1""#,
    br#""campaign_id":"x""#,
    br#""new_customer_group_id":"$1""#,
    br#""customer_group_id":"$1""#,
    br#""customer_group_id":null"#,
    br#""name":"n""#,
    br#""name":" ""#,
    br#""segment_by":["country"]"#,
    br#""segment_by":["country","country"]"#,
    br#""template":{"subject":"{{country}}","body":"b"}"#,
    br#""template":{"subject":"{{","body":"{% x %}"}"#,
    br#""approval_stages":["a","b"]"#,
    br#""approval_stages":[]"#,
    br#""decision":"approve""#,
    br#""decision":"reject""#,
    br#""reason":"r""#,
    br#""all":true"#,
    br#""message_ids":["$8"]"#,
    br#""message_ids":["$8","$9","$9"]"#,
    br#""message_id":"$8""#,
    br#""content":{"subject":"s","body":"b"}"#,
    br#""run_number":1"#,
    br#""run_number":2"#,
    br#""run_number":-1"#,
    br#""from_run":1"#,
    br#""to_run":2"#,
    br#""format":"jsonl""#,
    br#""format":"csv""#,
    br#""include_archived":true"#,
    br#""reuse_from":"any_run""#,
    br#""status":"Published""#,
    br#""action":"rerun.initiated""#,
    br#""limit":1"#,
    br#""limit":10001"#,
    br#""cursor":"00""#,
];

/// An object of some of the fields, each with one of its values.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let some = subsequence(FIELDS, FIELDS.len() / 2..=FIELDS.len()).prop_shuffle();
    some.prop_map(|mut fields| {
        let name = |field: &[u8]| field.split(|byte| *byte == b':').next().map(<[u8]>::to_vec);
        let mut known = HashSet::new();
        fields.retain(|field| known.insert(name(field)));
        [b"{".as_slice(), &fields.join(&b','), b"}"].concat()
    })
}

/// A part of the story, then requests of which many make some sense.
fn story() -> impl Strategy<Value = Vec<u8>> {
    let paths: Vec<_> = rerun_wire::ENDPOINTS
        .iter()
        .filter_map(|endpoint| endpoint.path.strip_prefix("/v1/"))
        .collect();
    let call =
        (select(paths), body()).prop_map(|(path, body)| [path.as_bytes(), b" ", &body].concat());
    let import = select(vec![
        "customer-group/import $1 customer_ref,country|d,IT|",
        "customer-group/import $1 customer_ref|a|a|",
        "generate",
        "fail",
    ]);
    let line = prop_oneof![
        4 => call,
        1 => import.prop_map(|line| line.as_bytes().to_vec()),
    ];
    (0..12_usize, vec(line, 0..5)).prop_map(|(told, lines)| {
        let beginning = BEGINNING
            .lines()
            .take(told)
            .map(|line| line.as_bytes().to_vec());
        let lines: Vec<_> = beginning.chain(lines).collect();
        lines.join(&b'\n')
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_request_makes_the_server_fail(data in story()) {
        rerun_fuzz::requests(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_import_reads_what_is_in_the_file(data in file()) {
        rerun_fuzz::csv(&data);
    }

    #[test]
    fn a_template_is_filled_as_the_language_says(data in template()) {
        rerun_fuzz::templates(&data);
    }

    #[test]
    fn a_message_is_read_whatever_stands_around_it(data in joined(ANSWER, 12)) {
        rerun_fuzz::answers(&data);
    }

    #[test]
    fn the_guard_lets_in_whom_the_headers_prove(data in headers()) {
        rerun_fuzz::guard(&data);
    }

    #[test]
    fn keys_are_equal_exactly_when_segments_are(data in profiles()) {
        rerun_fuzz::segments(&data);
    }

    #[test]
    fn a_cursor_is_taken_as_given_out_only(data in cursors()) {
        rerun_fuzz::cursors(&data);
    }
}
