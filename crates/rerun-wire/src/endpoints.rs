//! The table of endpoints.

/// Where everything of the console is.
pub const CONSOLE: &str = "/console";
/// Where a sign-in at an OpenID provider begins and ends.
pub const OPENID: &str = "/console/openid";
/// What comes after [`OPENID`] in the address to which the provider sends a browser back.
pub const OPENID_CALLBACK: &str = "/callback";

/// An endpoint of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The method that it is called with. `GET` stands for `HEAD`, too.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
}

impl Endpoint {
    const fn post(path: &'static str) -> Self {
        let method = "POST";
        Self { method, path }
    }

    const fn get(path: &'static str) -> Self {
        let method = "GET";
        Self { method, path }
    }

    /// The name that role rules have for it: its path without `/v1/`, `campaign/` and `rerun/`,
    /// with `_` for what else separates words. `None` for an endpoint that is open to all.
    #[must_use]
    pub fn action(&self) -> Option<String> {
        let path = self.path.strip_prefix("/v1/")?;
        let path = path.strip_prefix("campaign/").unwrap_or(path);
        let path = path.strip_prefix("rerun/").unwrap_or(path);
        Some(path.replace(['/', '-'], "_"))
    }
}

macro_rules! endpoints {
    ($($name:ident = $method:ident $path:literal;)+) => {
        $(#[doc = $path] pub const $name: Endpoint = Endpoint::$method($path);)+

        /// Every endpoint that there is.
        pub const ENDPOINTS: &[Endpoint] = &[$($name),+];
    };
}

endpoints! {
    RERUN_HISTORY = post "/v1/campaign/rerun/history";
    RERUN_MESSAGES = post "/v1/campaign/rerun/messages";
    RERUN_INITIATE = post "/v1/campaign/rerun/initiate";
    RERUN_PREVIEW = post "/v1/campaign/rerun/preview";
    RERUN_ARCHIVE = post "/v1/campaign/rerun/archive";
    RERUN_CANCEL = post "/v1/campaign/rerun/cancel";
    RERUN_RETRY = post "/v1/campaign/rerun/retry";
    RERUN_DIFF = post "/v1/campaign/rerun/diff";
    CAMPAIGN_CREATE = post "/v1/campaign/create";
    CAMPAIGN_UPDATE = post "/v1/campaign/update";
    SEGMENTATION_UPDATE = post "/v1/campaign/segmentation/update";
    CAMPAIGN_DELETE = post "/v1/campaign/delete";
    TEMPLATE_PREVIEW = post "/v1/campaign/template/preview";
    CAMPAIGN_LIST = post "/v1/campaign/list";
    CAMPAIGN_GET = post "/v1/campaign/get";
    CAMPAIGN_LAUNCH = post "/v1/campaign/launch";
    CAMPAIGN_PUBLISH = post "/v1/campaign/publish";
    MESSAGES_REVIEW = post "/v1/campaign/messages/review";
    MESSAGES_EDIT = post "/v1/campaign/messages/edit";
    MESSAGES_ADOPT = post "/v1/campaign/messages/adopt";
    MESSAGES_REGENERATE = post "/v1/campaign/messages/regenerate";
    MESSAGES_EXPORT = post "/v1/campaign/messages/export";
    RECIPIENTS_EXPORT = post "/v1/campaign/recipients/export";
    GROUP_CREATE = post "/v1/customer-group/create";
    GROUP_UPDATE = post "/v1/customer-group/update";
    GROUP_DELETE = post "/v1/customer-group/delete";
    GROUP_IMPORT = post "/v1/customer-group/import";
    GROUP_LIST = post "/v1/customer-group/list";
    GROUP_GET = post "/v1/customer-group/get";
    CUSTOMER_LIST = post "/v1/customer/list";
    CUSTOMER_DELETE = post "/v1/customer/delete";
    CUSTOMER_ERASE = post "/v1/customer/erase";
    SCHEDULE_CREATE = post "/v1/schedule/create";
    SCHEDULE_LIST = post "/v1/schedule/list";
    SCHEDULE_GET = post "/v1/schedule/get";
    SCHEDULE_UPDATE = post "/v1/schedule/update";
    SCHEDULE_DELETE = post "/v1/schedule/delete";
    SCHEDULE_PAUSE = post "/v1/schedule/pause";
    SCHEDULE_RESUME = post "/v1/schedule/resume";
    SCHEDULE_PREVIEW = post "/v1/schedule/preview";
    SCHEDULE_TRIGGER = post "/v1/schedule/trigger";
    SCHEDULE_FIRINGS = post "/v1/schedule/firings";
    AUDIT_LIST = post "/v1/audit/list";
    EVENT_LIST = post "/v1/event/list";
    WEBHOOK_CREATE = post "/v1/webhook/create";
    WEBHOOK_LIST = post "/v1/webhook/list";
    WEBHOOK_GET = post "/v1/webhook/get";
    WEBHOOK_UPDATE = post "/v1/webhook/update";
    WEBHOOK_DELETE = post "/v1/webhook/delete";
    WEBHOOK_ROTATE_SECRET = post "/v1/webhook/rotate-secret";
    WEBHOOK_TEST = post "/v1/webhook/test";
    WEBHOOK_DELIVERIES = post "/v1/webhook/deliveries";
    WEBHOOK_REPLAY = post "/v1/webhook/replay";
    HEALTH_LIVE = get "/health/live";
    HEALTH_READY = get "/health/ready";
    ROOT = get "/";
    OPENAPI_JSON = get "/openapi.json";
    DOCS = get "/docs";
    DOCS_SLASH = get "/docs/";
    DOCS_FILE = get "/docs/{file}";
    METRICS = get "/metrics";
}
