use crate::url::{Location, Scheme};
use crate::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// The client of a bucket.
pub type Client = Arc<dyn ObjectStore>;

/// Seconds that a request may take. The crate's own limit of 30 fails for [`PART`](crate::upload::PART) on a slow line.
const TIMEOUT: &str = "300 seconds";

/// A request is repeated for half a minute, however often. The crate's own limit of ten times is reached within seconds, while a
/// store that asks for patience means longer.
fn patience() -> RetryConfig {
    RetryConfig { max_retries: usize::MAX, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() }
}

/// The client of the location's bucket: one for the whole process, so that connections and credentials are shared.
pub fn client(location: &Location) -> Result<Client> {
    static CLIENTS: Mutex<BTreeMap<String, Client>> = Mutex::new(BTreeMap::new());
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let root = location.url_of(&object_store::path::Path::default());
    if let Some(client) = clients.get(&root) {
        return Ok(Arc::clone(client));
    }
    let client = connect(location)?;
    clients.insert(root, Arc::clone(&client));
    Ok(client)
}

/// Only prepares: the first request connects.
fn connect(location: &Location) -> Result<Client> {
    let fault = |error| Error::settings(&location.to_string(), &error);
    let bucket = location.bucket.as_str();
    let timeout = ClientConfigKey::Timeout;
    Ok(match location.scheme {
        Scheme::S3 => {
            let key = AmazonS3ConfigKey::Client;
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
            // The crate does not know this name of the SDKs: without it, requests meant for another store would go to AWS.
            if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL_S3") {
                builder = builder.with_endpoint(endpoint);
            }
            let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
            let allows_http = builder.get_config_value(&key(ClientConfigKey::AllowHttp));
            refuse_http(location, ("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", allows_http))?;
            if builder.get_config_value(&key(timeout)).is_none() {
                builder = builder.with_config(key(timeout), TIMEOUT);
            }
            Arc::new(builder.with_retry(patience()).build().map_err(fault)?)
        }
        Scheme::Google => {
            let key = GoogleConfigKey::Client;
            let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            if builder.get_config_value(&key(timeout)).is_none() {
                builder = builder.with_config(key(timeout), TIMEOUT);
            }
            Arc::new(builder.with_retry(patience()).build().map_err(fault)?)
        }
        Scheme::Azure => {
            let key = AzureConfigKey::Client;
            let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
            let allows_http = builder.get_config_value(&key(ClientConfigKey::AllowHttp));
            refuse_http(location, ("AZURE_STORAGE_ENDPOINT", endpoint), ("AZURE_ALLOW_HTTP", allows_http))?;
            if builder.get_config_value(&key(timeout)).is_none() {
                builder = builder.with_config(key(timeout), TIMEOUT);
            }
            Arc::new(builder.with_retry(patience()).build().map_err(fault)?)
        }
    })
}

/// Refuses plain HTTP that is not allowed; each setting is the name of its variable and its value. The crate would try
/// for a minute, or say `builder error`.
fn refuse_http(location: &Location, endpoint: (&str, Option<String>), allows: (&str, Option<String>)) -> Result<()> {
    let is_plain = endpoint.1.is_some_and(|url| url.starts_with("http://"));
    if is_plain && allows.1.is_none_or(|value| value == "false") {
        let what = format!("{} names plain HTTP: name https://, or set {}=true", endpoint.0, allows.0);
        return Err(Error::invalid(&location.to_string(), what));
    }
    Ok(())
}

/// Waits for a future, on any thread that is not one of the runtime's.
pub fn wait<T>(future: impl Future<Output = T>) -> io::Result<T> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = match RUNTIME.get() {
        Some(runtime) => runtime,
        None => {
            // With a thread of its own: connections are served while nobody waits.
            let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("stores").enable_all().build()?;
            RUNTIME.get_or_init(|| runtime)
        }
    };
    Ok(runtime.block_on(future))
}
