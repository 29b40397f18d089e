//! Bodies as they come in: encoded, marked, or not what they should be.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Api, MAX_IMPORT_BYTES, Raw, Server, on_both_stores};

on_both_stores!(
    a_body_may_be_gzip,
    gzip_that_is_not_whole_is_malformed,
    other_encodings_are_refused,
    the_limit_is_for_what_a_gzip_holds,
    one_byte_order_mark_before_json_is_skipped,
    json_in_another_encoding_is_named,
    an_upgrade_does_not_hide_a_body,
);

const CREATE: &str = "/v1/customer-group/create";
const IMPORT: &str = "/v1/customer-group/import?customer_group_id=";

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

async fn create(api: &Api, encoding: &str, body: impl Into<Vec<u8>>) -> Answer {
    let headers = api.headers().with("content-encoding", encoding);
    api.send(Method::POST, CREATE, &headers, body.into()).await
}

async fn import(api: &Api, group: &str, encoding: &str, body: impl Into<Vec<u8>>) -> Answer {
    let headers = api.headers().with("content-type", "text/csv");
    let headers = headers.with("content-encoding", encoding);
    let path = format!("{IMPORT}{group}");
    api.send(Method::POST, &path, &headers, body.into()).await
}

async fn a_body_may_be_gzip(server: &Server) {
    let api = server.account();
    let json = json!({ "name": "packed" }).to_string();
    let (start, end) = json.as_bytes().split_at(5);
    let members = [gzip(start), gzip(b""), gzip(end)].concat();
    for (encoding, body) in [
        ("gzip", gzip(json.as_bytes())),
        ("GZIP", gzip(json.as_bytes())),
        ("x-gzip", gzip(json.as_bytes())),
        ("identity, gzip", gzip(json.as_bytes())),
        ("gzip", members),
        ("identity", json.clone().into_bytes()),
        ("", json.clone().into_bytes()),
    ] {
        let made = create(&api, encoding, body).await.ok();
        assert_eq!(made["name"], "packed", "{encoding}");
    }
    let group = api.empty_group("g").await;
    let csv = "customer_ref,country\na,DE\nb,\"F\nR\"\n";
    let done = import(&api, &group, "gzip", gzip(csv.as_bytes())).await;
    assert_eq!(done.ok()["imported"], 2);
    // In chunks, however they cut it.
    let headers = api.headers().with("content-type", "text/csv");
    let headers = headers.with("content-encoding", "gzip");
    let headers = headers.with("transfer-encoding", "chunked");
    let mut raw = Raw::post(server.address, &format!("{IMPORT}{group}"), &headers);
    for piece in gzip(csv.as_bytes()).chunks(3) {
        raw.chunk(piece);
    }
    raw.chunk(b"");
    let (status, done) = raw.answer();
    assert_eq!((status, &done["total"]), (200, &json!(2)));
}

async fn gzip_that_is_not_whole_is_malformed(server: &Server) {
    let api = server.account();
    let group = api.empty_group("g").await;
    let json = json!({ "name": "packed" }).to_string();
    let (json, csv) = (gzip(json.as_bytes()), gzip(b"customer_ref\na\n"));
    let broken = |whole: &[u8]| {
        let mut sum = whole.to_vec();
        let place = sum.len() - 8;
        sum[place] ^= 1;
        [
            Vec::new(),
            whole[..5].to_vec(),
            whole[..whole.len() - 1].to_vec(),
            [whole, b"x"].concat(),
            [whole, b"\0"].concat(),
            [whole, b"this is no gzip"].concat(),
            sum,
            b"this is no gzip".to_vec(),
        ]
    };
    api.unchanged(async || {
        for body in broken(&json) {
            create(&api, "gzip", body)
                .await
                .is_invalid("the body cannot be decoded as gzip");
        }
        for body in broken(&csv) {
            import(&api, &group, "gzip", body)
                .await
                .is_invalid("the body cannot be decoded as gzip");
        }
        // Without the header it is said what it is.
        create(&api, "identity", json.clone())
            .await
            .is_invalid("this is gzip; send `content-encoding: gzip`");
        import(&api, &group, "identity", csv.clone())
            .await
            .is_invalid("gzip; send `content-encoding: gzip`");
    })
    .await;
}

async fn other_encodings_are_refused(server: &Server) {
    let api = server.account();
    let group = api.empty_group("g").await;
    let json = json!({ "name": "g" }).to_string();
    api.unchanged(async || {
        for encoding in [
            "br",
            "deflate",
            "zstd",
            "compress",
            "gzip, gzip",
            "gzip, br",
            "*",
        ] {
            let said = format!("not `{encoding}`");
            create(&api, encoding, json.clone())
                .await
                .says(415, "unsupported_media_type", &said);
            import(&api, &group, encoding, "customer_ref\na\n")
                .await
                .says(415, "unsupported_media_type", &said);
        }
    })
    .await;
    // Before anything of the body is read.
    let headers = api.headers().with("content-encoding", "br");
    let headers = headers.with("content-length", "100");
    assert_eq!(Raw::post(server.address, CREATE, &headers).answer().0, 415);
}

async fn the_limit_is_for_what_a_gzip_holds(server: &Server) {
    let api = server.account();
    let group = api.empty_group("g").await;
    let most = 2 << 20;
    // A thousand times of what is sent. It takes seconds to make: the connection would be closed
    // meanwhile, perhaps just when the next request is sent.
    let bomb = gzip(&vec![b' '; 6 << 20]);
    assert!(bomb.len() < 10_000);
    let json = |length: usize| {
        let mut json = json!({ "name": "g" }).to_string();
        json.push_str(&" ".repeat(length - json.len()));
        json
    };
    create(&api, "gzip", gzip(json(most).as_bytes())).await.ok();
    create(&api, "gzip", gzip(json(most + 1).as_bytes()))
        .await
        .says(413, "payload_too_large", "at most 2097152 bytes");
    let largest = usize::try_from(MAX_IMPORT_BYTES).unwrap();
    let csv = |length: usize| format!("customer_ref\na{}", "\n".repeat(length - 14));
    import(&api, &group, "gzip", gzip(csv(largest).as_bytes()))
        .await
        .ok();
    import(&api, &group, "gzip", gzip(csv(largest + 1).as_bytes()))
        .await
        .says(413, "payload_too_large", "at most 100000 bytes");
    create(&api, "gzip", bomb.clone()).await.says(
        413,
        "payload_too_large",
        "at most 2097152 bytes",
    );
    import(&api, &group, "gzip", bomb)
        .await
        .says(413, "payload_too_large", "at most 100000 bytes");
    // What decodes to nothing has an end, too, announced or not.
    let headers = api.headers().with("content-type", "text/csv");
    let headers = headers.with("content-encoding", "gzip");
    let path = format!("{IMPORT}{group}");
    let announced = headers.clone().with("content-length", "165634");
    let (status, _) = Raw::post(server.address, &path, &announced).answer();
    assert_eq!(status, 413);
    let refused = create(&api, "identity", json(most + 1)).await;
    refused.says(413, "payload_too_large", "at most 2097152 bytes");
    assert_eq!(refused.headers["connection"], "close");
    let chunked = headers.with("transfer-encoding", "chunked");
    let mut raw = Raw::post(server.address, &path, &chunked);
    raw.chunk(&gzip(b"").repeat(8_282));
    assert_eq!(raw.answer().0, 413);
}

async fn one_byte_order_mark_before_json_is_skipped(server: &Server) {
    let api = server.account();
    let json = json!({ "name": "\u{feff}g" }).to_string();
    let made = create(&api, "identity", format!("\u{feff}{json}"))
        .await
        .ok();
    assert_eq!(made["name"], "\u{feff}g");
    let packed = gzip(format!("\u{feff}{json}").as_bytes());
    create(&api, "gzip", packed).await.ok();
    api.unchanged(async || {
        for text in [
            format!("\u{feff}\u{feff}{json}"),
            format!(" \u{feff}{json}"),
        ] {
            create(&api, "identity", text)
                .await
                .is_invalid("malformed JSON");
        }
    })
    .await;
}

async fn json_in_another_encoding_is_named(server: &Server) {
    let api = server.account();
    let json = json!({ "name": "g" }).to_string();
    let units = || json.encode_utf16();
    let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    let widest: Vec<u8> = json
        .chars()
        .flat_map(|c| u32::from(c).to_be_bytes())
        .collect();
    api.unchanged(async || {
        for (body, said) in [
            (
                little.clone(),
                "the body must be JSON in UTF-8; this is UTF-16",
            ),
            (big.clone(), "this is UTF-16"),
            ([b"\xff\xfe", &little[..]].concat(), "this is UTF-16"),
            ([b"\xfe\xff", &big[..]].concat(), "this is UTF-16"),
            (widest.clone(), "this is UTF-32"),
        ] {
            create(&api, "identity", body).await.is_invalid(said);
        }
    })
    .await;
}

async fn an_upgrade_does_not_hide_a_body(server: &Server) {
    let api = server.account();
    let json = json!({ "name": "g" }).to_string();
    let length = json.len().to_string();
    let with = |upgrade: &str| {
        let headers = api.headers().with("content-length", &length);
        let headers = headers.with("connection", "upgrade, close");
        let mut raw = Raw::post(server.address, CREATE, &headers.with("upgrade", upgrade));
        raw.send(json.as_bytes());
        raw
    };
    for upgrade in ["h2c", "TLS/1.0", "x"] {
        let (status, made) = with(upgrade).answer();
        assert_eq!((status, &made["name"]), (200, &json!("g")), "{upgrade}");
    }
    api.unchanged(async || {
        for upgrade in ["websocket", "WebSocket", "h2c, websocket"] {
            let (status, body) = with(upgrade).answer();
            assert_eq!((status, &body["code"]), (400, &json!("invalid_request")));
            let said = body["message"].as_str().unwrap();
            assert!(
                said.contains("`upgrade: websocket` is not supported"),
                "{said}"
            );
            with(upgrade).closed();
        }
    })
    .await;
}
