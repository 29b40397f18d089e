#![doc = include_str!("../README.md")]

mod admitted;
mod client;
mod guard;
mod head;
mod keys;
mod openid;
mod roles;
mod sessions;
mod token;
mod weak;

pub use admitted::{Admitted, Denied};
pub use client::TrustedProxies;
pub use guard::Guard;
pub use head::Head;
pub use keys::{Asymmetric, KeyFile, KeyFileError, KeyFormat, KeySource, StaticKey, UnfitKeys};
pub use openid::{
    Attempt, AuthorizationRequest, Grant, OpenId, OpenIdProvider, ProviderError, SignInError,
};
pub use roles::RoleRules;
pub use sessions::{Sessions, same_origin};
pub use token::{Identity, TokenRules, TokenVerifier, Trusted, Untrusted};
pub use weak::WeakSetting;
