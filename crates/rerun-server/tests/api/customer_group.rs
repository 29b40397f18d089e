//! `/v1/customer-group/*`: create, list, get, import.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Api, MAX_IMPORT_BYTES, Raw, SPRING, Server, assert_shape, body_of, ids, on_both_stores,
    segment_of,
};

on_both_stores!(
    a_group_is_made_and_found,
    a_group_gets_another_name,
    an_import_counts_what_it_did,
    an_import_merges_columns,
    a_file_can_replace_what_the_group_has,
    files_are_read_however_they_are_written,
    values_are_compared_trimmed_and_composed,
    a_bad_file_leaves_the_group_as_it_was,
    an_import_is_csv_in_unicode,
    the_separator_is_found_or_named,
    another_column_can_hold_the_reference,
    files_that_are_no_csv_are_named,
    parameters_of_an_import_are_known_and_given_once,
    an_import_comes_in_chunks_of_any_size,
    an_import_has_a_largest_size,
    an_import_that_breaks_off_changes_nothing,
    an_import_does_not_change_runs_that_were_made,
    many_imports_at_once_add_up,
);

const IMPORT: &str = "/v1/customer-group/import?customer_group_id=";

async fn a_group_is_made_and_found(server: &Server) {
    let api = server.account();
    let made = api
        .ok("customer-group/create", json!({ "name": " Cafe\u{301} " }))
        .await;
    let mut rest = made.clone();
    let fields = rest.as_object_mut().unwrap().remove("fields");
    assert_eq!(fields, Some(json!([])));
    assert_shape(
        &rest,
        &json!({
            "id": "uuid", "name": "=Café", "customer_count": 0, "created_at": "time",
            "updated_at": "time",
        }),
    );
    let get = async |id: &str| {
        api.ok("customer-group/get", json!({ "customer_group_id": id }))
            .await
    };
    let id = made["id"].as_str().unwrap();
    assert_eq!(get(id).await, made);
    api.import(id, SPRING).await.ok();
    let filled = get(id).await;
    assert_eq!(
        (&filled["customer_count"], &filled["created_at"]),
        (&json!(4), &made["created_at"])
    );
    assert_eq!(filled["fields"], json!(["country", "tier"]));
    assert!(filled["updated_at"].as_str() >= made["updated_at"].as_str());
    // A name may be given twice.
    let second = api.empty_group("Café").await;
    let listed = api.ok("customer-group/list", json!({})).await;
    let groups = body_of(&listed, "customer_groups");
    assert_eq!(ids(&groups), [&*second, id]);
    assert_eq!(groups[1], filled);
}

async fn a_group_gets_another_name(server: &Server) {
    let api = server.account();
    let id = api.group("Spring", SPRING).await;
    let get = json!({ "customer_group_id": id });
    let mut group = api.ok("customer-group/get", get.clone()).await;
    group["name"] = json!("Café");
    let rename = json!({ "customer_group_id": id, "name": " Cafe\u{301} " });
    assert_eq!(api.ok("customer-group/update", rename.clone()).await, group);
    assert_eq!(api.ok("customer-group/get", get.clone()).await, group);
    let entry = &api.audit().await[0];
    assert_eq!(entry["action"], "customer_group.updated");
    assert_eq!(
        entry["details"],
        json!({ "customer_group_id": id, "name": "Café" })
    );
    api.unchanged(async || {
        assert_eq!(api.ok("customer-group/update", rename).await, group);
        for name in [" ", &"x".repeat(256), "a\0b"] {
            let body = json!({ "customer_group_id": id, "name": name });
            let refused = api.post("customer-group/update", body).await;
            assert_eq!(refused.status, 400, "{name:?}");
        }
    })
    .await;
    // The response to a repeated request is the first, also when customers came meanwhile.
    let call = async || {
        let body = json!({ "customer_group_id": id, "name": "Summer" });
        api.keyed("k", "customer-group/update", body).await
    };
    let first = call().await.ok();
    api.import(&id, "customer_ref,plan\nz,gold\n").await.ok();
    let again = call().await;
    assert!(again.replayed());
    assert_eq!(again.ok(), first);
}

async fn an_import_counts_what_it_did(server: &Server) {
    let api = server.account();
    let group = api.empty_group("g").await;
    let counts = async |csv: &str| {
        let body = api.import(&group, csv).await.ok();
        let lines = csv.lines().count() - 1;
        assert_eq!(
            (&body["rows"], &body["removed"]),
            (&json!(lines), &json!(0))
        );
        let columns: Vec<&str> = csv.lines().next().unwrap().split(',').skip(1).collect();
        assert_eq!(body["fields"], json!(columns));
        ["imported", "updated", "total"].map(|name| body[name].as_u64().unwrap())
    };
    assert_eq!(counts(SPRING).await, [4, 0, 4]);
    assert_eq!(counts(SPRING).await, [0, 0, 4]);
    assert_eq!(
        counts("customer_ref,country\na,DE\nb,AT\ne,ES\n").await,
        [1, 1, 5]
    );
    // The last row of a customer wins, and counts once.
    assert_eq!(
        counts("customer_ref,country\nf,X\nf,Y\na,FR\na,DE\n").await,
        [1, 0, 6]
    );
    // What changes nothing leaves no trace.
    api.unchanged(async || {
        assert_eq!(counts("customer_ref\n").await, [0, 0, 6]);
        assert_eq!(counts("customer_ref\n a \n").await, [0, 0, 6]);
        assert_eq!(counts("customer_ref,country\nf,Y\n").await, [0, 0, 6]);
    })
    .await;
    assert_eq!(counts("customer_ref,country\nb,\n").await, [0, 1, 6]);
}

/// The segments of a group by country and tier, as a launch would make them.
async fn segments(api: &Api, group: &str) -> Vec<String> {
    // Some files have neither.
    let campaign = json!({
        "name": "Hello", "customer_group_id": group, "segment_by": ["country", "tier"],
        "template": { "subject": "Hello", "body": "Dear customer" }, "allow_missing_fields": true,
    });
    let campaign = api.ok("campaign/create", campaign).await["id"].clone();
    let launch = json!({ "campaign_id": campaign, "allow_missing_fields": true });
    api.ok("campaign/launch", launch).await;
    let campaign = campaign.as_str().unwrap();
    let mut segments: Vec<String> = api
        .messages(campaign)
        .await
        .iter()
        .map(|m| format!("{} {}", segment_of(m), m["segment"]["customer_count"]))
        .collect();
    segments.sort();
    segments
}

async fn an_import_merges_columns(server: &Server) {
    let api = server.account();
    let group = api
        .group("g", "customer_ref,country,tier\na,DE,gold\nb,FR,gold\n")
        .await;
    // Columns of the file replace, others stay.
    api.import(&group, "customer_ref,tier\na,silver\nc,\n")
        .await
        .ok();
    assert_eq!(
        segments(&api, &group).await,
        ["/ 1", "DE/silver 1", "FR/gold 1"]
    );
    // An empty value replaces, too.
    api.import(&group, "tier,customer_ref,other\n,b,1\n \u{2003},a,2\n")
        .await
        .ok();
    assert_eq!(segments(&api, &group).await, ["/ 1", "DE/ 1", "FR/ 1"]);
}

async fn a_file_can_replace_what_the_group_has(server: &Server) {
    let api = server.account();
    let group = api.group("g", SPRING).await;
    let import = async |mode: &str, csv: &'static str| {
        let headers = api.headers().with("content-type", "text/csv");
        let path = format!("{IMPORT}{group}&mode={mode}");
        api.send(Method::POST, &path, &headers, csv).await
    };
    api.unchanged(async || {
        import("replace", "customer_ref,country\n")
            .await
            .is_invalid("no rows");
        import("Replace", "customer_ref\na\n")
            .await
            .is_invalid("`mode`: `Replace` is none of: merge, replace");
    })
    .await;
    let merged = import("merge", "customer_ref,note\na,x\na,y\n").await.ok();
    assert_eq!(
        merged,
        json!({
            "rows": 2, "imported": 0, "updated": 1, "removed": 0, "duplicates": 1, "total": 4,
            "fields": ["note"],
        })
    );
    let replaced = import("replace", "tier,customer_ref\ngold,new\n,a\n")
        .await
        .ok();
    assert_eq!(
        replaced,
        json!({
            "rows": 2, "imported": 1, "updated": 1, "removed": 3, "duplicates": 0, "total": 2,
            "fields": ["tier"],
        })
    );
    let found = api
        .ok("customer-group/get", json!({ "customer_group_id": group }))
        .await;
    assert_eq!(
        (&found["customer_count"], &found["fields"]),
        (&json!(2), &json!(["tier"]))
    );
    let entries = api.ok("audit/list", json!({ "limit": 1 })).await;
    let details = &entries["entries"][0]["details"];
    for (name, value) in [
        ("mode", json!("replace")),
        ("rows", json!(2)),
        ("removed", json!(3)),
        ("duplicates", json!(0)),
    ] {
        assert_eq!(details[name], value, "{name}");
    }
}

async fn files_are_read_however_they_are_written(server: &Server) {
    let api = server.account();
    for csv in [
        "customer_ref,country,tier\na,DE,gold\nb,FR,\n",
        "customer_ref,country,tier\r\na,DE,gold\r\nb,FR,\r\n",
        "customer_ref,country,tier\na,DE,gold\nb,FR,",
        "\u{feff}customer_ref,country,tier\na,DE,gold\nb,FR,\n",
        "\u{feff}\"customer_ref\",country,tier\na,DE,gold\nb,FR,\n",
        "\n\r\n\ncustomer_ref,country,tier\n\n\na,DE,gold\n\r\n\nb,FR,\n\n\n",
        "\"customer_ref\",\"country\",\"tier\"\n\"a\",\"DE\",\"gold\"\n\"b\",\"FR\",\"\"\n",
        " customer_ref , country , tier \n a , DE , gold \n b , FR , \n",
        "customer_ref, \"country\" ,tier\na, \"DE\" ,gold\nb,\"FR\", \n",
        "customer_ref,country,tier\ra,DE,gold\rb,FR,\r",
        "customer_ref,country,tier,\na,DE,gold,\nb,FR,,\n",
        "customer_ref,country,tier\n,,\na,DE,gold\n \n , , \nb,FR,\n,,\n",
        "tier,country,customer_ref\ngold,DE,a\n,FR,b\n",
    ] {
        let group = api.group("g", csv).await;
        assert_eq!(
            segments(&api, &group).await,
            ["DE/gold 1", "FR/ 1"],
            "{csv:?}"
        );
    }
    let quoted = "customer_ref,country,tier\n\"x,\n\"\"1\"\"\",\"D\"\"E\",\"a,\r\nb\"\n";
    let group = api.group("g", quoted).await;
    assert_eq!(segments(&api, &group).await, ["D\"E/a,\r\nb 1"]);
}

async fn values_are_compared_trimmed_and_composed(server: &Server) {
    let api = server.account();
    let csv = "customer_ref,country,tier\n1,caf\u{e9},\n2,cafe\u{301},\n3,\u{2003}caf\u{e9}\t,\n\
        4,Caf\u{e9},\n5,\u{fb01},\n6,fi,\n";
    let group = api.group("g", csv).await;
    assert_eq!(
        segments(&api, &group).await,
        ["Caf\u{e9}/ 1", "caf\u{e9}/ 3", "fi/ 1", "\u{fb01}/ 1"]
    );
    // References are the same when they are composed the same.
    let twice = "customer_ref,country\nr\u{e9}f,A\nre\u{301}f,B\n";
    let group = api.group("g", twice).await;
    assert_eq!(segments(&api, &group).await, ["B/ 1"]);
}

#[expect(clippy::too_many_lines, reason = "a table")]
async fn a_bad_file_leaves_the_group_as_it_was(server: &Server) {
    let api = server.account();
    let group = api.group("g", SPRING).await;
    let head = "customer_ref,country\na,XX\nnew,YY\n";
    let long = format!("{head}{},ZZ\n", "r".repeat(1_001));
    let files: Vec<(Vec<u8>, &str)> = vec![
        (
            format!("{head}b\n").into(),
            "line 4: 1 values where the header has 2",
        ),
        (
            format!("{head}b,1,2\n").into(),
            "line 4: 3 values where the header has 2",
        ),
        (
            format!("{head},ZZ\n").into(),
            "line 4: `customer_ref` is blank",
        ),
        (
            format!("{head}\u{2003},ZZ\n").into(),
            "line 4: `customer_ref` is blank",
        ),
        (
            format!("{head}b,\"open\nc,d\n").into(),
            "line 4: a quote is never closed",
        ),
        (
            format!("{head}b,Z\0Z\n").into(),
            "line 4: column 2 holds a NUL",
        ),
        (
            format!("{head}\0,ZZ\n").into(),
            "line 4: column 1 holds a NUL",
        ),
        ([head.as_bytes(), b"b,\xff\n"].concat(), "line 4: not UTF-8"),
        ([head.as_bytes(), b"b,\xc3"].concat(), "line 4: not UTF-8"),
        (format!("{head}\n\r\nb\n").into(), "line 6: 1 values"),
        (long.into(), "1000 bytes"),
        (
            b"".to_vec(),
            "line 1: the header has no column `customer_ref`",
        ),
        (
            b"country\nDE\n".to_vec(),
            "line 1: the header has no column `customer_ref`",
        ),
        (
            b"Customer_Ref\nx\n".to_vec(),
            "line 1: the header has no column `customer_ref`",
        ),
        (
            b"customer_ref,a,a\nx,1,2\n".to_vec(),
            "line 1: the header names `a` twice",
        ),
        (
            b"customer_ref,a, a \nx,1,2\n".to_vec(),
            "line 1: the header names `a` twice",
        ),
        ("customer_ref,\u{e9},e\u{301}\nx,1,2\n".into(), "twice"),
        (
            b"customer_ref,customer_ref\nx,1\n".to_vec(),
            "line 1: the header names `customer_ref` twice",
        ),
        (
            b"customer_ref,,a\nx,1,2\n".to_vec(),
            "line 1: column 2 of the header has no name",
        ),
        (
            b"customer_ref,\nx,1\n".to_vec(),
            "line 2: column 2 has a value, but the header has no name for it",
        ),
        (
            format!("{head}b,12\" monitor\n").into(),
            "line 4: a quote inside an unquoted field",
        ),
        (
            format!("{head}b,\"12\" monitor\"\n").into(),
            "line 4: text after a closing quote",
        ),
        (
            format!("{head}b\n").replace('\n', "\r").into(),
            "line 4: 1 values where the header has 2",
        ),
        (b"customer_ref,a\0b\nx,1\n".to_vec(), "NUL"),
        (
            b"customer_ref,\"a\nx,1\n".to_vec(),
            "line 1: a quote is never closed",
        ),
        (
            b"\xff\xfec\0u\0s\0".to_vec(),
            "line 1: the header has no column",
        ),
    ];
    api.unchanged(async || {
        for (file, said) in files {
            api.import(&group, file).await.is_invalid(said);
        }
    })
    .await;
    assert_eq!(
        segments(&api, &group).await,
        ["DE/gold 2", "FR/ 1", "FR/silver 1"]
    );
}

async fn an_import_is_csv_in_unicode(server: &Server) {
    let api = server.account();
    let group = api.empty_group("g").await;
    let path = format!("{IMPORT}{group}");
    for (content_type, accepted) in [
        ("text/csv", true),
        ("Text/CSV; charset=UTF-8; header=present", true),
        ("text/csv; charset=\"utf-8\"", true),
        ("text/csv; charset=utf8", true),
        ("text/csv; charset=UTF-16", true),
        ("text/csv; charset=\"utf-16le\"", true),
        ("text/csv; charset=latin1", false),
        ("text/csv; charset=utf-32", false),
        ("application/json", false),
        ("text/plain", false),
        ("", false),
    ] {
        let headers = api.headers().with("content-type", content_type);
        let answer = api
            .send(Method::POST, &path, &headers, "customer_ref\nx\n")
            .await;
        if accepted {
            answer.ok();
        } else {
            answer.says(415, "unsupported_media_type", "`text/csv`");
        }
    }
    let latin = api
        .headers()
        .with("content-type", "text/csv; charset=latin1");
    let answer = api.send(Method::POST, &path, &latin, "customer_ref\nx\n");
    answer.await.says(
        415,
        "unsupported_media_type",
        "`text/csv` in UTF-8 or UTF-16, not in `latin1`",
    );
}

/// Imports with more parameters.
async fn import_with(api: &Api, group: &str, more: &str, csv: impl Into<Vec<u8>>) -> Answer {
    let headers = api.headers().with("content-type", "text/csv");
    let path = format!("{IMPORT}{group}{more}");
    api.send(Method::POST, &path, &headers, csv.into()).await
}

async fn the_separator_is_found_or_named(server: &Server) {
    let api = server.account();
    let semicolons = "customer_ref;country;tier\na;DE;\"1;2\"\nb;\"D\nE\";3,4\n";
    let tabs = "customer_ref\tcountry\ttier\na\tDE\t1;2\nb\t\"D\nE\"\t3,4\n";
    let expected = ["D\nE/3,4 1", "DE/1;2 1"];
    for (more, csv) in [
        ("", semicolons.to_owned()),
        ("&delimiter=;", semicolons.to_owned()),
        ("&delimiter=%3B", semicolons.to_owned()),
        ("", format!("\u{feff}sep=;\r\n{semicolons}")),
        ("&delimiter=;", format!("sep=;\n{semicolons}")),
        ("", tabs.to_owned()),
        ("&delimiter=%09", format!("sep=\t\n{tabs}")),
    ] {
        let group = api.empty_group("g").await;
        import_with(&api, &group, more, csv).await.ok();
        assert_eq!(segments(&api, &group).await, expected, "{more}");
    }
    for big in [false, true] {
        let units = format!("\u{feff}{semicolons}");
        let units = units.encode_utf16();
        let bytes = units.flat_map(|unit| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        });
        let group = api.empty_group("g").await;
        api.import(&group, bytes.collect::<Vec<u8>>()).await.ok();
        assert_eq!(segments(&api, &group).await, expected);
    }
    let group = api.group("g", SPRING).await;
    api.unchanged(async || {
        for (more, csv, said) in [
            ("", "id;country\n", "`customer_ref`; it has: id, country"),
            ("&delimiter=,", "customer_ref;a\n", "it has: customer_ref;a"),
            (
                "&delimiter=,",
                "sep=;\ncustomer_ref;a\n",
                "`delimiter` names a comma, but line 1 of the file names a semicolon",
            ),
            ("", "sep=;\ncustomer_ref;a\nx\n", "line 3: 1 values"),
            ("", "sep=|\ncustomer_ref|a\n", "line 1: `sep=` must name"),
            ("&delimiter=|", "customer_ref|a\n", "`delimiter` must be"),
        ] {
            import_with(&api, &group, more, csv).await.is_invalid(said);
        }
    })
    .await;
}

async fn another_column_can_hold_the_reference(server: &Server) {
    let api = server.account();
    let group = api.empty_group("g").await;
    let csv = "customer_ref,Id,country,tier\nold-1,1,DE,\nold-2,2,DE,\nold-1,1,FR,\n";
    let done = import_with(&api, &group, "&ref_column=Id", csv).await.ok();
    assert_eq!((&done["imported"], &done["total"]), (&json!(2), &json!(2)));
    assert_eq!(segments(&api, &group).await, ["DE/ 1", "FR/ 1"]);
    // The same customers by another name of the column.
    let again = import_with(
        &api,
        &group,
        "&ref_column=r%C3%A9f",
        "r\u{e9}f,country\n1,DE\n",
    )
    .await;
    assert_eq!(again.ok()["updated"], 1);
    assert_eq!(segments(&api, &group).await, ["DE/ 2"]);
    api.unchanged(async || {
        for (more, csv, said) in [
            (
                "&ref_column=id",
                csv,
                "no column `id`; it has: customer_ref, Id, country, tier",
            ),
            ("&ref_column=", csv, "`ref_column` must not be blank"),
            ("&ref_column=Id", "Id,a\n,x\n", "line 2: `Id` is blank"),
            (
                "",
                csv.trim_start_matches("customer_ref,"),
                "no column `customer_ref`",
            ),
        ] {
            import_with(&api, &group, more, csv).await.is_invalid(said);
        }
    })
    .await;
}

async fn files_that_are_no_csv_are_named(server: &Server) {
    let api = server.account();
    let group = api.group("g", SPRING).await;
    api.unchanged(async || {
        for (file, said) in [
            (
                &b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml"[..],
                "this is a spreadsheet workbook (xlsx); save it as CSV",
            ),
            (b"\x1f\x8b\x08\0", "gzip; send `content-encoding: gzip`"),
            (b"%PDF-1.7", "this is a PDF"),
            (b"{\"customer_ref\":\"x\"}", "this is JSON"),
            (b"<!doctype html>", "this is an HTML page"),
            (
                b"c\0u\0s\0t\0\n\0",
                "this is UTF-16 without a byte order mark",
            ),
            (b"customer_ref,a\nx,\xff\n", "line 2: not UTF-8"),
        ] {
            api.import(&group, file).await.is_invalid(said);
        }
    })
    .await;
}

async fn parameters_of_an_import_are_known_and_given_once(server: &Server) {
    let api = server.account();
    let group = api.group("g", SPRING).await;
    let csv = "customer_ref;country\na;XX\n";
    api.unchanged(async || {
        for (more, said) in [
            (
                "&deliminator=;",
                "no parameter `deliminator`; the parameters are",
            ),
            ("&delimiter=;&delimiter=;", "`delimiter` is given twice"),
            (
                &format!("&customer_group_id={group}"),
                "`customer_group_id` is given twice",
            ),
        ] {
            import_with(&api, &group, more, csv).await.is_invalid(said);
        }
    })
    .await;
}

fn chunked(server: &Server, api: &Api, group: &str) -> Raw {
    let headers = api.headers().with("content-type", "text/csv");
    let headers = headers.with("transfer-encoding", "chunked");
    Raw::post(server.address, &format!("{IMPORT}{group}"), &headers)
}

async fn an_import_comes_in_chunks_of_any_size(server: &Server) {
    let api = server.account();
    for size in [1, 2, 7, 1_000] {
        let group = api.empty_group("g").await;
        let mut raw = chunked(server, &api, &group);
        let csv = "\u{feff}customer_ref,country,tier\r\n\"\u{e9}\n1\",\"D\"\"E\",\r\nb,FR,gold";
        for piece in csv.as_bytes().chunks(size) {
            raw.chunk(piece);
        }
        raw.chunk(b"");
        let counts = json!({
            "rows": 2, "imported": 2, "updated": 0, "removed": 0, "duplicates": 0, "total": 2,
            "fields": ["country", "tier"],
        });
        assert_eq!(raw.answer(), (200, counts));
        assert_eq!(segments(&api, &group).await, ["D\"E/ 1", "FR/gold 1"]);
    }
}

async fn an_import_has_a_largest_size(server: &Server) {
    let api = server.account();
    let group = api.group("g", SPRING).await;
    let largest = usize::try_from(MAX_IMPORT_BYTES).unwrap();
    let mut file = "customer_ref,country\n".to_owned();
    for number in 0..5_000 {
        writeln!(file, "{number:05},C1").unwrap();
    }
    let file = file + &"\n".repeat(largest);
    let too_large = |(status, body): (u16, Value)| {
        let said = format!("the body may have at most {largest} bytes");
        assert_eq!(
            (status, &body["code"], &body["message"]),
            (413, &json!("payload_too_large"), &json!(said))
        );
    };
    api.unchanged(async || {
        let headers = api.headers().with("content-type", "text/csv");
        let headers = headers.with("content-length", (largest + 1).to_string());
        too_large(Raw::post(server.address, &format!("{IMPORT}{group}"), &headers).answer());
        let mut raw = chunked(server, &api, &group);
        raw.chunk(&file.as_bytes()[..largest]);
        raw.chunk(b"\n");
        too_large(raw.answer());
    })
    .await;
    let done = api.import(&group, &file.as_bytes()[..largest]).await.ok();
    assert_eq!(
        done,
        json!({
            "rows": 5_000, "imported": 5_000, "updated": 0, "removed": 0, "duplicates": 0,
            "total": 5_004, "fields": ["country"],
        })
    );
}

async fn an_import_that_breaks_off_changes_nothing(server: &Server) {
    let api = server.account();
    let group = api.group("g", SPRING).await;
    api.unchanged(async || {
        for _ in 0..5 {
            let mut raw = chunked(server, &api, &group);
            raw.chunk(b"customer_ref,country\nnew,XX\n");
            raw.hang_up();
        }
        let headers = api.headers().with("content-type", "text/csv");
        let headers = headers.with("content-length", "1000");
        let mut raw = Raw::post(server.address, &format!("{IMPORT}{group}"), &headers);
        raw.send(b"customer_ref,country\nnew,XX\n");
        raw.hang_up();
        // A chunk that is none.
        let mut raw = chunked(server, &api, &group);
        raw.chunk(b"customer_ref,country\nnew,XX\n");
        raw.send(b"what?\r\n");
        raw.closed();
    })
    .await;
}

async fn an_import_does_not_change_runs_that_were_made(server: &Server) {
    let api = server.account();
    let group = api.group("g", SPRING).await;
    let campaign = api.draft(&group).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.finish(&api, &campaign).await;
    let (run, messages) = (api.runs(&campaign).await, api.messages(&campaign).await);
    api.import(&group, "customer_ref,country\na,IT\nnew,IT\n")
        .await
        .ok();
    assert_eq!(
        (api.runs(&campaign).await, api.messages(&campaign).await),
        (run, messages)
    );
    let started = api.initiate(&campaign, &group).await.ok();
    assert_eq!(started["customer_count"], 5);
    assert_eq!(
        started["segments"],
        json!({ "total": 5, "matched": 3, "new": 2 })
    );
}

async fn many_imports_at_once_add_up(server: &Server) {
    let api = server.account();
    let group = api.empty_group("g").await;
    let files: Vec<String> = (0..8)
        .map(|file| {
            let mut csv = "customer_ref,country\nshared,DE\n".to_owned();
            for row in 0..50 {
                writeln!(csv, "{file}-{row},DE").unwrap();
            }
            csv
        })
        .collect();
    let calls = files.iter().map(|file| api.import(&group, file.as_bytes()));
    let mut imported = 0;
    for answer in futures_util::future::join_all(calls).await {
        imported += answer.ok()["imported"].as_u64().unwrap();
    }
    assert_eq!(imported, 401);
    let found = api
        .ok("customer-group/get", json!({ "customer_group_id": group }))
        .await;
    assert_eq!(found["customer_count"], 401);
}
