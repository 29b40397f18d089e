//! The keys that an OpenID provider signs with.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{OpenIdProvider, ProviderError};
use crate::keys::{Asymmetric, KeyFormat, KeySet, KeySource};

/// How long keys count without another look. A key that the provider withdraws counts no longer than
/// that, as long as the provider can be asked.
const FRESH: Duration = Duration::from_hours(1);
/// The shortest time between two looks: anybody can name a key that there is not.
const PAUSE: Duration = Duration::from_secs(10);
/// The most keys of a provider. To make a key ready takes time.
const MAX_KEYS: usize = 64;

type Sets = Vec<(Algorithm, KeySet)>;

/// The keys of a provider, as they were last fetched.
#[derive(Default)]
pub(super) struct ProviderKeys {
    sets: RwLock<Arc<Sets>>,
    looked: Mutex<Looked>,
}

/// When the provider was asked for its keys.
#[derive(Default)]
struct Looked {
    /// The last time.
    at: Option<Instant>,
    /// The last time that keys came.
    found: Option<Instant>,
}

/// Those of a provider's keys that are for one algorithm.
pub(super) struct OfAlgorithm {
    keys: Arc<ProviderKeys>,
    algorithm: Algorithm,
}

impl KeySource for OfAlgorithm {
    fn keys(&self, kid: Option<&str>) -> Arc<[DecodingKey]> {
        self.keys.candidates(self.algorithm, kid)
    }
}

impl ProviderKeys {
    pub(super) fn source(keys: &Arc<Self>, algorithm: Asymmetric) -> OfAlgorithm {
        OfAlgorithm {
            keys: Arc::clone(keys),
            algorithm: algorithm.into(),
        }
    }

    fn candidates(&self, algorithm: Algorithm, kid: Option<&str>) -> Arc<[DecodingKey]> {
        let sets = Arc::clone(&self.sets.read().unwrap_or_else(PoisonError::into_inner));
        let set = sets.iter().find(|(name, _)| *name == algorithm);
        set.map(|(_, set)| set.candidates(kid)).unwrap_or_default()
    }

    /// Fetches the keys if the ones that are there are old, or none of them can have signed a token
    /// with this header.
    ///
    /// # Errors
    /// [`ProviderError`], when no keys were ever fetched. Afterwards the old ones stay.
    pub(super) async fn refresh(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        provider: &dyn OpenIdProvider,
    ) -> Result<(), ProviderError> {
        let known = || !self.candidates(algorithm, kid).is_empty();
        let mut looked = match self.looked.try_lock() {
            Ok(looked) => looked,
            // Somebody else is at it.
            Err(_) if known() => return Ok(()),
            Err(_) => self.looked.lock().await,
        };
        let within = |at: Option<Instant>, time| at.is_some_and(|at| at.elapsed() < time);
        if within(looked.found, FRESH) && known() {
            return Ok(());
        }
        if !within(looked.at, PAUSE) {
            looked.at = Some(Instant::now());
            let found = provider.key_set().await;
            match found.and_then(|text| read(&text).map_err(ProviderError::Away)) {
                Ok(sets) => {
                    *self.sets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sets);
                    looked.found = Some(Instant::now());
                }
                Err(error) if looked.found.is_none() => return Err(error),
                Err(error) => tracing::warn!(%error, "the keys that were fetched before stay"),
            }
        }
        if looked.found.is_none() {
            let reason = "it was asked for its keys a moment ago, and gave none";
            return Err(ProviderError::Away(reason.to_owned()));
        }
        Ok(())
    }
}

/// The keys of a key set, by algorithm.
fn read(text: &[u8]) -> Result<Sets, String> {
    let all: Option<Value> = serde_json::from_slice(text).ok();
    let all = all.ok_or("its keys are no JSON")?;
    let count = all["keys"].as_array().map_or(0, Vec::len);
    if count > MAX_KEYS {
        return Err(format!("it has {count} keys, more than {MAX_KEYS}"));
    }
    let (mut sets, mut reasons) = (Vec::new(), Vec::new());
    for algorithm in Asymmetric::ALL {
        match KeySet::read(text, KeyFormat::Jwks, algorithm) {
            Ok(set) => sets.push((algorithm.into(), set)),
            Err(unfit) => reasons.push(unfit.to_string()),
        }
    }
    if sets.is_empty() {
        return Err(reasons.join("; "));
    }
    Ok(sets)
}
