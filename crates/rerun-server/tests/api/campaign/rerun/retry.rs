use serde_json::{Value, json};

use crate::support::{SPRING, SUMMER, Server, on_both_stores};

on_both_stores!(a_retry_queues_what_failed, a_rerun_that_fails_is_retried);

async fn a_retry_queues_what_failed(server: &Server) {
    let api = server.account();
    let campaign = api.draft(&api.group("Spring", SPRING).await).await;
    api.ok("campaign/launch", json!({ "campaign_id": campaign }))
        .await;
    server.fail_for(&["FR"]);
    assert_eq!(server.generate(&api, &campaign).await, "Generation failed");
    let run = api.runs(&campaign).await.remove(0);
    assert_eq!(run["status"], "Failed");
    assert_eq!(
        run["error"],
        "2 messages could not be generated; the last error: no words for FR"
    );
    assert!(run["completed_at"].is_string());
    let german = api.message(&campaign, "DE/gold").await;
    assert_eq!(
        (&german["review_status"], &german["error"]),
        (&json!("Pending review"), &Value::Null)
    );
    for segment in ["FR/", "FR/silver"] {
        let failed = api.message(&campaign, segment).await;
        assert_eq!(
            (&failed["review_status"], &failed["error"]),
            (&json!("Generation failed"), &json!("no words for FR"))
        );
    }

    // It fails again, and then it does not.
    let this = json!({ "campaign_id": campaign });
    for (failing, status) in [
        (&["FR"][..], "Generation failed"),
        (&[], "Ready for review"),
    ] {
        assert_eq!(
            api.ok("campaign/rerun/retry", this.clone()).await,
            json!({
                "campaign_id": campaign, "run_number": 1, "campaign_status": "Processing",
                "queued_messages": 2,
            }),
        );
        let run = api.runs(&campaign).await.remove(0);
        assert_eq!(
            (&run["status"], &run["completed_at"], &run["error"]),
            (&json!("Processing"), &Value::Null, &Value::Null)
        );
        let queued = api.message(&campaign, "FR/").await;
        assert_eq!(
            (&queued["review_status"], &queued["error"]),
            (&json!("Generating"), &Value::Null)
        );
        server.fail_for(failing);
        assert_eq!(server.generate(&api, &campaign).await, status);
    }
    assert_eq!(api.runs(&campaign).await[0]["status"], "Completed");
    // What had been made was left alone.
    assert_eq!(api.message(&campaign, "DE/gold").await, german);
}

async fn a_rerun_that_fails_is_retried(server: &Server) {
    let api = server.account();
    let campaign = server.published(&api).await;
    let summer = api.group("Summer", SUMMER).await;
    api.initiate(&campaign, &summer).await.ok();
    server.fail_for(&["ES", ""]);
    assert_eq!(server.generate(&api, &campaign).await, "Generation failed");
    let reused = api.message(&campaign, "DE/gold").await;
    assert_eq!(reused["review_status"], "Approved");
    server.fail_for(&[]);
    let this = json!({ "campaign_id": campaign });
    let retried = api.ok("campaign/rerun/retry", this).await;
    assert_eq!(
        (&retried["run_number"], &retried["queued_messages"]),
        (&json!(2), &json!(2))
    );
    server.finish(&api, &campaign).await;
}
