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

/// Gives `$macro` the table of endpoints: the name of each, its method and path, and the module that has
/// its request and response here, and its handler in `rerun-http`.
#[doc(hidden)]
#[macro_export]
macro_rules! each_endpoint {
    ($macro:ident) => {
        $macro! {
            RERUN_HISTORY = post "/v1/campaign/rerun/history", in rerun::history;
            RERUN_MESSAGES = post "/v1/campaign/rerun/messages", in rerun::messages;
            RERUN_INITIATE = post "/v1/campaign/rerun/initiate", in rerun::initiate;
            RERUN_PREVIEW = post "/v1/campaign/rerun/preview", in rerun::preview;
            RERUN_ARCHIVE = post "/v1/campaign/rerun/archive", in rerun::archive;
            RERUN_CANCEL = post "/v1/campaign/rerun/cancel", in rerun::cancel;
            RERUN_RETRY = post "/v1/campaign/rerun/retry", in rerun::retry;
            RERUN_DIFF = post "/v1/campaign/rerun/diff", in rerun::diff;
            CAMPAIGN_CREATE = post "/v1/campaign/create", in campaign::create;
            CAMPAIGN_UPDATE = post "/v1/campaign/update", in campaign::update;
            SEGMENTATION_UPDATE = post "/v1/campaign/segmentation/update", in campaign::segmentation;
            CAMPAIGN_DELETE = post "/v1/campaign/delete", in campaign::delete;
            TEMPLATE_PREVIEW = post "/v1/campaign/template/preview", in campaign::template_preview;
            CAMPAIGN_LIST = post "/v1/campaign/list", in campaign::list;
            CAMPAIGN_GET = post "/v1/campaign/get", in campaign::get;
            CAMPAIGN_LAUNCH = post "/v1/campaign/launch", in campaign::launch;
            CAMPAIGN_PUBLISH = post "/v1/campaign/publish", in campaign::publish;
            MESSAGES_REVIEW = post "/v1/campaign/messages/review", in messages::review;
            MESSAGES_EDIT = post "/v1/campaign/messages/edit", in messages::edit;
            MESSAGES_ADOPT = post "/v1/campaign/messages/adopt", in messages::adopt;
            MESSAGES_REGENERATE = post "/v1/campaign/messages/regenerate", in messages::regenerate;
            MESSAGES_EXPORT = post "/v1/campaign/messages/export", in messages::export;
            RECIPIENTS_EXPORT = post "/v1/campaign/recipients/export", in messages::recipients;
            RECIPIENTS_GET = post "/v1/campaign/recipients/get", in messages::recipient;
            GROUP_CREATE = post "/v1/customer-group/create", in customer_group::create;
            GROUP_UPDATE = post "/v1/customer-group/update", in customer_group::update;
            GROUP_DELETE = post "/v1/customer-group/delete", in customer_group::delete;
            GROUP_IMPORT = post "/v1/customer-group/import", in customer_group::import;
            GROUP_LIST = post "/v1/customer-group/list", in customer_group::list;
            GROUP_GET = post "/v1/customer-group/get", in customer_group::get;
            CUSTOMER_LIST = post "/v1/customer/list", in customer::list;
            CUSTOMER_DELETE = post "/v1/customer/delete", in customer::delete;
            CUSTOMER_ERASE = post "/v1/customer/erase", in customer::erase;
            SCHEDULE_CREATE = post "/v1/schedule/create", in schedule::create;
            SCHEDULE_LIST = post "/v1/schedule/list", in schedule::list;
            SCHEDULE_GET = post "/v1/schedule/get", in schedule::get;
            SCHEDULE_UPDATE = post "/v1/schedule/update", in schedule::update;
            SCHEDULE_DELETE = post "/v1/schedule/delete", in schedule::delete;
            SCHEDULE_PAUSE = post "/v1/schedule/pause", in schedule::pause;
            SCHEDULE_RESUME = post "/v1/schedule/resume", in schedule::resume;
            SCHEDULE_PREVIEW = post "/v1/schedule/preview", in schedule::preview;
            SCHEDULE_TRIGGER = post "/v1/schedule/trigger", in schedule::trigger;
            SCHEDULE_FIRINGS = post "/v1/schedule/firings", in schedule::firings;
            AUDIT_LIST = post "/v1/audit/list", in audit::list;
            EVENT_LIST = post "/v1/event/list", in event::list;
            WEBHOOK_CREATE = post "/v1/webhook/create", in webhook::create;
            WEBHOOK_LIST = post "/v1/webhook/list", in webhook::list;
            WEBHOOK_GET = post "/v1/webhook/get", in webhook::get;
            WEBHOOK_UPDATE = post "/v1/webhook/update", in webhook::update;
            WEBHOOK_DELETE = post "/v1/webhook/delete", in webhook::delete;
            WEBHOOK_ROTATE_SECRET = post "/v1/webhook/rotate-secret", in webhook::rotate_secret;
            WEBHOOK_TEST = post "/v1/webhook/test", in webhook::test;
            WEBHOOK_DELIVERIES = post "/v1/webhook/deliveries", in webhook::deliveries;
            WEBHOOK_REPLAY = post "/v1/webhook/replay", in webhook::replay;
            HEALTH_LIVE = get "/health/live", in health::live;
            HEALTH_READY = get "/health/ready", in health::ready;
            ROOT = get "/", in openapi::root;
            OPENAPI_JSON = get "/openapi.json", in openapi::document;
            DOCS = get "/docs", in openapi::page;
            DOCS_SLASH = get "/docs/", in openapi::slash;
            DOCS_FILE = get "/docs/{file}", in openapi::file;
            METRICS = get "/metrics", in metrics;
        }
    };
}

macro_rules! constants {
    ($($name:ident = $method:ident $path:literal, in $($module:ident)::+;)+) => {
        $(#[doc = $path] pub const $name: Endpoint = Endpoint::$method($path);)+

        /// Every endpoint that there is.
        pub const ENDPOINTS: &[Endpoint] = &[$($name),+];
    };
}

each_endpoint!(constants);
