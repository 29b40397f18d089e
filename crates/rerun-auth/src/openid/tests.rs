use std::sync::Mutex;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::time::advance;

use super::*;

/// A provider that has these keys, or is away, and counts how often it is asked for them.
#[derive(Default)]
struct Keys {
    kids: Mutex<Option<Vec<&'static str>>>,
    asked: Mutex<usize>,
}

impl Keys {
    fn set(&self, kids: Option<&[&'static str]>) {
        *self.kids.lock().unwrap() = kids.map(<[_]>::to_vec);
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

fn jwk(kid: &str) -> Value {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid,
        "x": part(&point[1..33]), "y": part(&point[33..]),
    })
}

#[async_trait]
impl OpenIdProvider for Keys {
    async fn authorization_url(&self, _: &AuthorizationRequest) -> Result<String, ProviderError> {
        unreachable!()
    }

    async fn id_token(&self, _: Grant<'_>) -> Result<SecretString, ProviderError> {
        unreachable!()
    }

    async fn key_set(&self) -> Result<Vec<u8>, ProviderError> {
        *self.asked.lock().unwrap() += 1;
        let kids = self.kids.lock().unwrap().clone();
        let kids = kids.ok_or_else(|| ProviderError::Away("it is away".to_owned()))?;
        let keys: Vec<Value> = kids.into_iter().map(jwk).collect();
        Ok(json!({ "keys": keys }).to_string().into_bytes())
    }
}

/// Looks for a key, as the check of a token does; returns whether there is one.
async fn knows(
    keys: &Arc<ProviderKeys>,
    provider: &Keys,
    kid: &str,
) -> Result<bool, ProviderError> {
    use super::super::KeySource as _;
    let kid = Some(kid);
    keys.refresh(Algorithm::ES256, kid, provider).await?;
    let source = ProviderKeys::source(keys, Asymmetric::Es256);
    Ok(!source.keys(kid).is_empty())
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_when_they_are_old_or_one_is_missing() {
    let (keys, provider) = (Arc::default(), Keys::default());
    provider.set(Some(&["a"]));
    for _ in 0..3 {
        assert!(knows(&keys, &provider, "a").await.unwrap());
    }
    assert_eq!(provider.asked(), 1);
    // Whoever names keys that there are not has them fetched once in ten seconds.
    provider.set(Some(&["b"]));
    for _ in 0..3 {
        assert!(!knows(&keys, &provider, "b").await.unwrap());
    }
    assert_eq!(provider.asked(), 1);
    advance(Duration::from_secs(10)).await;
    assert!(knows(&keys, &provider, "b").await.unwrap());
    assert!(!knows(&keys, &provider, "a").await.unwrap());
    assert_eq!(provider.asked(), 2);
    // What the provider withdraws counts for an hour at most.
    provider.set(Some(&["c"]));
    advance(Duration::from_secs(3_599)).await;
    assert!(knows(&keys, &provider, "b").await.unwrap());
    advance(Duration::from_secs(1)).await;
    assert!(!knows(&keys, &provider, "b").await.unwrap());
    assert_eq!(provider.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_stay_while_the_provider_is_away() {
    let (keys, provider) = (Arc::default(), Keys::default());
    for _ in 0..3 {
        let away = knows(&keys, &provider, "a").await;
        assert!(matches!(away, Err(ProviderError::Away(_))), "{away:?}");
    }
    assert_eq!(provider.asked(), 1);
    provider.set(Some(&["a"]));
    advance(Duration::from_secs(10)).await;
    assert!(knows(&keys, &provider, "a").await.unwrap());
    provider.set(None);
    advance(Duration::from_hours(2)).await;
    for _ in 0..3 {
        assert!(knows(&keys, &provider, "a").await.unwrap());
        assert!(!knows(&keys, &provider, "b").await.unwrap());
    }
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn a_set_of_countless_keys_is_refused() {
    for (count, taken) in [(64, true), (65, false)] {
        let (keys, provider) = (Arc::default(), Keys::default());
        let kids: Vec<&'static str> = (0..count)
            .map(|kid: usize| &*kid.to_string().leak())
            .collect();
        provider.set(Some(&kids));
        assert_eq!(knows(&keys, &provider, "0").await.is_ok(), taken, "{count}");
    }
}
