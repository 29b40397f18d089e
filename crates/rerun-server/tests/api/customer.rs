//! `/v1/customer/*` and `/v1/customer-group/delete`.

use rerun_core::group::customer_digest;
use rerun_core::ids::AccountId;
use serde_json::{Value, json};

use crate::support::refusal::{
    CAMPAIGN_NOT_FOUND, CUSTOMER_GROUP_NOT_FOUND, CUSTOMER_NOT_FOUND, IN_USE,
};
use crate::support::{Api, SPRING, Server, body_of, ids, on_both_stores};

on_both_stores!(
    customers_are_listed,
    customers_are_deleted_and_counts_follow,
    a_customer_is_erased_from_every_group,
    nothing_names_an_erased_customer,
    a_deleted_group_is_gone,
    a_group_in_use_is_not_deleted,
    bad_references_are_refused,
);

const CSV: &str = "customer_ref,country,tier\nb,DE,gold\na,,\nB,FR,\n";

async fn customers_are_listed(server: &Server) {
    let api = server.account();
    let group = api.group("g", CSV).await;
    let all = json!([
        { "customer_ref": "B", "profile": { "country": "FR" } },
        { "customer_ref": "a", "profile": {} },
        { "customer_ref": "b", "profile": { "country": "DE", "tier": "gold" } },
    ]);
    api.unchanged(async || {
        let list = async |more: Value| {
            let mut body = json!({ "customer_group_id": group });
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            api.post("customer/list", body).await
        };
        let page = list(json!({})).await.ok();
        assert_eq!(page, json!({ "customers": all, "next_cursor": null }));
        let first = list(json!({ "limit": 2 })).await.ok();
        assert_eq!(body_of(&first, "customers"), all.as_array().unwrap()[..2]);
        let cursor = first["next_cursor"].clone();
        let rest = list(json!({ "limit": 2, "cursor": cursor })).await.ok();
        assert_eq!(rest, json!({ "customers": [all[2]], "next_cursor": null }));
        let some = list(json!({ "customer_refs": [" b ", "nobody", "B", "B"] })).await;
        assert_eq!(
            body_of(&some.ok(), "customers"),
            [all[0].clone(), all[2].clone()]
        );
        let none = list(json!({ "customer_refs": [] })).await.ok();
        assert_eq!(none, json!({ "customers": [], "next_cursor": null }));
        // A cursor belongs to its list: of this group, with these references.
        let other = list(json!({ "cursor": cursor, "customer_refs": ["b"] })).await;
        other.is_invalid("`cursor`");
        let many = vec!["x"; 1_001];
        let answer = list(json!({ "customer_refs": many })).await;
        answer.is_invalid("`customer_refs` may have at most 1000 items, not 1001");
    })
    .await;
}

async fn customers_are_deleted_and_counts_follow(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.group("Summer", SPRING).await;
    let preview = async || {
        let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
        let preview = api.ok("campaign/rerun/preview", body).await;
        preview["customer_count"].as_u64().unwrap()
    };
    // Counts are kept from here on.
    let before = preview().await;
    let listed = json!({ "customer_group_id": group });
    let listed = api.ok("customer/list", listed).await;
    let refs: Vec<String> = body_of(&listed, "customers")
        .iter()
        .map(|customer| customer["customer_ref"].as_str().unwrap().to_owned())
        .collect();
    let gone = json!({ "customer_group_id": group, "customer_refs": [refs[0], "nobody"] });
    let deleted = api.ok("customer/delete", gone.clone()).await;
    assert_eq!(
        deleted,
        json!({ "deleted_customers": 1, "total": before - 1 })
    );
    assert_eq!(preview().await, before - 1);
    let entry = &api.audit().await[0];
    assert_eq!(entry["action"], "customers.deleted");
    let details =
        json!({ "customer_group_id": group, "deleted_customers": 1, "total": before - 1 });
    assert_eq!(entry["details"], details);
    api.unchanged(async || {
        let again = api.ok("customer/delete", gone).await;
        assert_eq!(
            again,
            json!({ "deleted_customers": 0, "total": before - 1 })
        );
    })
    .await;
}

async fn a_customer_is_erased_from_every_group(server: &Server) {
    let (api, stranger) = (server.account(), server.account());
    for name in ["one", "two"] {
        api.group(name, CSV).await;
    }
    let other = api.group("three", "customer_ref\nz\n").await;
    let theirs = stranger.group("theirs", CSV).await;
    let erase = json!({ "customer_ref": " b" });
    let erased = api.ok("customer/erase", erase.clone()).await;
    assert_eq!(erased, json!({ "erased_groups": 2 }));
    let account = AccountId::parse(&api.account).unwrap();
    let entry = &api.audit().await[0];
    assert_eq!(entry["action"], "customer.erased");
    let digest = hex::encode(customer_digest(account, "b"));
    let details = json!({ "customer_sha256": digest, "erased_groups": 2 });
    assert_eq!(entry["details"], details, "never the reference");
    let groups = api.ok("customer-group/list", json!({})).await;
    for group in body_of(&groups, "customer_groups") {
        let listed = json!({ "customer_group_id": group["id"] });
        let customers = body_of(&api.ok("customer/list", listed).await, "customers");
        let left = if group["id"] == other { 1 } else { 2 };
        assert_eq!(
            (customers.len(), &group["customer_count"]),
            (left, &json!(left))
        );
        assert!(customers.iter().all(|it| it["customer_ref"] != "b"));
    }
    let count = json!({ "customer_group_id": theirs });
    let group = stranger.ok("customer-group/get", count).await;
    assert_eq!(group["customer_count"], 3);
    api.unchanged(async || {
        for nobody in ["b", "nobody", " ", &"x".repeat(1_001)] {
            let body = json!({ "customer_ref": nobody });
            api.refused("customer/erase", body, &CUSTOMER_NOT_FOUND)
                .await;
        }
    })
    .await;
}

/// Not a table, an entry of the audit log or a kept response. The other customers are all there.
async fn nothing_names_an_erased_customer(server: &Server) {
    let api = server.account();
    let reference = "Erika-M\u{fc}ller-4711";
    let csv = format!("customer_ref,country,tier\n{reference},DE,gold\nkept-4712,DE,gold\n");
    let group = api.group("Spring", &csv).await;
    let deleted = api.group("Gone", &csv).await;
    let campaign = api.draft(&group).await;
    let this = json!({ "campaign_id": campaign });
    api.keyed("launch", "campaign/launch", this).await.ok();
    server.finish(&api, &campaign).await;
    let csv = format!("customer_ref,country\n{reference},FR\n");
    api.import(&group, csv).await.ok();
    let these = json!({ "customer_group_id": deleted, "customer_refs": [reference] });
    api.keyed("delete", "customer/delete", these).await.ok();
    let back = format!("customer_ref\n{reference}\n");
    api.import(&deleted, back).await.ok();
    let this = json!({ "customer_group_id": deleted });
    api.keyed("group", "customer-group/delete", this).await.ok();
    assert!(server.database.holds(reference), "the search finds it");
    let body = json!({ "customer_ref": reference });
    let erased = api.keyed("erase", "customer/erase", body).await.ok();
    assert_eq!(erased, json!({ "erased_groups": 1 }));
    assert!(!server.database.holds(reference));
    assert!(server.database.holds("kept-4712"));
}

async fn swept(server: &Server) {
    server.engine.campaigns.sweep_deleted().await.unwrap();
}

async fn a_deleted_group_is_gone(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let group = api.campaign(&campaign).await["customer_group_id"].clone();
    let next = api.group("Summer", SPRING).await;
    api.initiate(&campaign, &next).await.ok();
    let this = json!({ "customer_group_id": group });
    let (runs, messages) = (api.runs(&campaign).await, api.messages(&campaign).await);
    let customers = api.ok("customer-group/get", this.clone()).await["customer_count"].clone();
    let deleted = api.ok("customer-group/delete", this.clone()).await;
    assert_eq!(deleted, json!({ "deleted_customers": customers }));
    let entry = &api.audit().await[0];
    assert_eq!(entry["action"], "customer_group.deleted");
    assert_eq!(entry["details"]["deleted_customers"], customers);
    for _ in 0..2 {
        for path in [
            "customer-group/get",
            "customer-group/delete",
            "customer/list",
        ] {
            api.refused(path, this.clone(), &CUSTOMER_GROUP_NOT_FOUND)
                .await;
        }
        let groups = api.ok("customer-group/list", json!({})).await;
        assert_eq!(ids(&body_of(&groups, "customer_groups")), [&*next]);
        let import = api.import(group.as_str().unwrap(), CSV).await;
        import.is(&CUSTOMER_GROUP_NOT_FOUND);
        let body = json!({ "campaign_id": campaign, "new_customer_group_id": group });
        api.refused("campaign/rerun/preview", body, &CUSTOMER_GROUP_NOT_FOUND)
            .await;
        let export = json!({ "campaign_id": campaign, "format": "csv", "run_number": 1 });
        api.refused(
            "campaign/recipients/export",
            export,
            &CUSTOMER_GROUP_NOT_FOUND,
        )
        .await;
        // The history keeps its id and name.
        assert_eq!(api.runs(&campaign).await, runs);
        assert_eq!(runs[1]["customer_group"]["id"], group);
        assert_eq!(api.messages(&campaign).await, messages);
        swept(server).await;
    }
    let account = AccountId::parse(&api.account).unwrap();
    let whole = server.engine.audit.verify(account).await.unwrap();
    assert!(whole.is_ok(), "{whole:?}");
}

async fn a_group_in_use_is_not_deleted(server: &Server) {
    let api = server.account();
    let group = api.group("Spring", SPRING).await;
    let this = json!({ "customer_group_id": group });
    let in_use = async |api: &Api| {
        api.unchanged(async || {
            api.refused("customer-group/delete", this.clone(), &IN_USE)
                .await;
        })
        .await;
    };
    let campaign = api.draft(&group).await;
    in_use(&api).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    in_use(&api).await;
    server.finish(&api, &campaign).await;
    in_use(&api).await;
    let stranger = server.account();
    stranger
        .refused(
            "customer-group/delete",
            this.clone(),
            &CUSTOMER_GROUP_NOT_FOUND,
        )
        .await;
    let next = api.group("Summer", SPRING).await;
    api.initiate(&campaign, &next).await.ok();
    api.ok("customer-group/delete", this.clone()).await;
    let gone = json!({ "campaign_id": campaign });
    api.ok("campaign/delete", gone.clone()).await;
    api.refused("campaign/get", gone, &CAMPAIGN_NOT_FOUND).await;
    api.ok(
        "customer-group/delete",
        json!({ "customer_group_id": next }),
    )
    .await;
}

async fn bad_references_are_refused(server: &Server) {
    let api = server.account();
    let group = api.group("g", CSV).await;
    api.unchanged(async || {
        for path in ["customer/list", "customer/delete"] {
            let body = json!({ "customer_group_id": group, "customer_refs": ["a\0b"] });
            api.post(path, body)
                .await
                .is_invalid("`customer_refs` holds a NUL character");
        }
        let body = json!({ "customer_ref": "a\0b" });
        api.post("customer/erase", body)
            .await
            .is_invalid("`customer_ref` holds a NUL character");
        let many = json!({ "customer_group_id": group, "customer_refs": vec!["x"; 10_001] });
        api.post("customer/delete", many)
            .await
            .is_invalid("`customer_refs` may have at most 10000 items, not 10001");
        let most = json!({ "customer_group_id": group, "customer_refs": vec!["x"; 10_000] });
        let none = api.ok("customer/delete", most).await;
        assert_eq!(none, json!({ "deleted_customers": 0, "total": 3 }));
    })
    .await;
}
