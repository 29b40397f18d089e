//! The tables that statements of diesel's query builder read and write, as the migrations make them. A test compares them
//! with a migrated database. `runs` is not among them: it has more columns than diesel's tables have.
//!
//! `Moment` is the type `Time`: for types of that name, diesel makes arithmetic that this one does not have.

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    audit_entries (account_id, seq) {
        account_id -> Id,
        seq -> BigInt,
        id -> Id,
        action -> Text,
        campaign_id -> Nullable<Id>,
        run_number -> Nullable<Integer>,
        user_id -> Nullable<Id>,
        role_code -> Nullable<Text>,
        ip -> Nullable<Text>,
        request_id -> Nullable<Text>,
        details -> Text,
        created_at -> Moment,
        hash -> Binary,
        user_name -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    audit_heads (account_id) {
        account_id -> Id,
        seq -> BigInt,
        hash -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    campaigns (account_id, id) {
        account_id -> Id,
        id -> Id,
        name -> Text,
        customer_group_id -> Id,
        segment_by -> Text,
        approval_stages -> Text,
        template_subject -> Text,
        template_body -> Text,
        brief -> Nullable<Text>,
        status -> Text,
        current_run_number -> Nullable<Integer>,
        last_run_number -> Nullable<Integer>,
        last_segment_no -> Integer,
        version -> BigInt,
        created_by -> Id,
        created_at -> Moment,
        updated_at -> Moment,
        value_rules -> Nullable<Text>,
        distinct_reviewers -> Bool,
        suggest_reruns -> Bool,
        suggested -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    contents (account_id, id) {
        account_id -> Id,
        id -> Id,
        run_number -> Integer,
        subject -> Text,
        body -> Text,
        created_by -> Nullable<Id>,
        created_at -> Moment,
        placeholder -> Nullable<Text>,
        prompt_tokens -> Nullable<BigInt>,
        completion_tokens -> Nullable<BigInt>,
        model -> Nullable<Text>,
        campaign_id -> Nullable<Id>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    customer_editions (account_id, group_id, edition) {
        account_id -> Id,
        group_id -> Id,
        edition -> BigInt,
        building -> Bool,
        touched_at -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    customer_groups (account_id, id) {
        account_id -> Id,
        id -> Id,
        name -> Text,
        customer_count -> BigInt,
        version -> BigInt,
        created_at -> Moment,
        updated_at -> Moment,
        fields -> Text,
        edition -> BigInt,
        deleted_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    customers (account_id, group_id, edition, customer_ref) {
        account_id -> Id,
        group_id -> Id,
        edition -> BigInt,
        customer_ref -> Text,
        profile -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    deleted_campaigns (account_id, campaign_id) {
        account_id -> Id,
        campaign_id -> Id,
        run_number -> Integer,
        deleted_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    generation_tasks (account_id, message_id) {
        account_id -> Id,
        message_id -> Id,
        campaign_id -> Id,
        run_number -> Integer,
        failed_attempts -> Integer,
        due_at -> Moment,
        lease_id -> Nullable<Id>,
        put_off_ms -> BigInt,
        set_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    group_segments (account_id, segmentation_id, key) {
        account_id -> Id,
        segmentation_id -> Id,
        key -> Binary,
        attributes -> Text,
        customer_count -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    idempotency_keys (account_id, key) {
        account_id -> Id,
        endpoint -> Text,
        key -> Text,
        fingerprint -> Binary,
        response -> Text,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    messages (account_id, id) {
        account_id -> Id,
        id -> Id,
        campaign_id -> Id,
        run_number -> Integer,
        segment_no -> Integer,
        customer_count -> BigInt,
        content_id -> Nullable<Id>,
        review_status -> Text,
        approval_stage -> Nullable<SmallInt>,
        source -> Text,
        reused_from_message_id -> Nullable<Id>,
        reused_from_run_number -> Nullable<Integer>,
        approvals -> Text,
        edited_by -> Nullable<Id>,
        rejection_reason -> Nullable<Text>,
        error -> Nullable<Text>,
        created_at -> Moment,
        updated_at -> Moment,
        suggestion -> Nullable<Text>,
        attributes -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    segmentations (account_id, id) {
        account_id -> Id,
        id -> Id,
        group_id -> Id,
        fields -> Text,
        group_version -> BigInt,
        customers_with_value -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
    use rerun_diesel::types::{Id, Time as Moment};

    segments (account_id, campaign_id, no) {
        account_id -> Id,
        campaign_id -> Id,
        no -> Integer,
        key -> Binary,
        attributes -> Text,
        shared_key -> Nullable<Binary>,
        conflicting -> Bool,
        value_types -> Nullable<Binary>,
    }
}
