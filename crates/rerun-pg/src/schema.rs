//! The tables that statements of diesel's query builder read and write, as the migrations make them. A test compares them
//! with a migrated database. `runs` is not among them: it has more columns than diesel's tables have.

diesel::table! {
    audit_heads (account_id) {
        account_id -> Uuid,
        seq -> BigInt,
        hash -> Binary,
    }
}

diesel::table! {
    campaigns (account_id, id) {
        account_id -> Uuid,
        id -> Uuid,
        name -> Text,
        customer_group_id -> Uuid,
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
        created_by -> Uuid,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        value_rules -> Nullable<Text>,
        distinct_reviewers -> Bool,
        suggest_reruns -> Bool,
        suggested -> Nullable<Binary>,
    }
}

diesel::table! {
    contents (account_id, id) {
        account_id -> Uuid,
        id -> Uuid,
        run_number -> Integer,
        subject -> Text,
        body -> Text,
        created_by -> Nullable<Uuid>,
        created_at -> Timestamptz,
        placeholder -> Nullable<Text>,
        prompt_tokens -> Nullable<BigInt>,
        completion_tokens -> Nullable<BigInt>,
        model -> Nullable<Text>,
        campaign_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    customer_groups (account_id, id) {
        account_id -> Uuid,
        id -> Uuid,
        name -> Text,
        customer_count -> BigInt,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        fields -> Text,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    customers (account_id, group_id, customer_ref) {
        account_id -> Uuid,
        group_id -> Uuid,
        customer_ref -> Text,
        profile -> Jsonb,
    }
}

diesel::table! {
    deleted_campaigns (account_id, campaign_id) {
        account_id -> Uuid,
        campaign_id -> Uuid,
        run_number -> Integer,
        deleted_at -> Timestamptz,
    }
}

diesel::table! {
    generation_tasks (account_id, message_id) {
        account_id -> Uuid,
        message_id -> Uuid,
        campaign_id -> Uuid,
        run_number -> Integer,
        failed_attempts -> Integer,
        due_at -> Timestamptz,
        lease_id -> Nullable<Uuid>,
        put_off_ms -> BigInt,
        set_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    idempotency_keys (account_id, key) {
        account_id -> Uuid,
        endpoint -> Text,
        key -> Text,
        fingerprint -> Binary,
        response -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    messages (account_id, id) {
        account_id -> Uuid,
        id -> Uuid,
        campaign_id -> Uuid,
        run_number -> Integer,
        segment_no -> Integer,
        customer_count -> BigInt,
        content_id -> Nullable<Uuid>,
        review_status -> Text,
        approval_stage -> Nullable<SmallInt>,
        source -> Text,
        reused_from_message_id -> Nullable<Uuid>,
        reused_from_run_number -> Nullable<Integer>,
        approvals -> Text,
        edited_by -> Nullable<Uuid>,
        rejection_reason -> Nullable<Text>,
        error -> Nullable<Text>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        suggestion -> Nullable<Text>,
        attributes -> Nullable<Text>,
    }
}

diesel::table! {
    segmentations (account_id, id) {
        account_id -> Uuid,
        id -> Uuid,
        group_id -> Uuid,
        fields -> Text,
        group_version -> BigInt,
        customers_with_value -> Text,
    }
}

diesel::table! {
    segments (account_id, campaign_id, no) {
        account_id -> Uuid,
        campaign_id -> Uuid,
        no -> Integer,
        key -> Binary,
        attributes -> Text,
        shared_key -> Nullable<Binary>,
        conflicting -> Bool,
        value_types -> Nullable<Binary>,
    }
}
