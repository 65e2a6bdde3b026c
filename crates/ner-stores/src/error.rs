//! What goes wrong with stores: the URL, the cause and what to do.

use std::io;

/// Why an object cannot be found, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store says no, or does not answer.
    #[error("{url}: {what}")]
    Store {
        /// The object, the prefix or the bucket.
        url: String,
        /// The cause and what to do.
        what: String,
        /// What it would be for a file.
        kind: io::ErrorKind,
    },
    /// A file on this machine cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Store { kind, .. } => Self::new(kind, error),
        }
    }
}

impl Error {
    fn new(url: &str, kind: io::ErrorKind, what: impl Into<String>) -> Self {
        Self::Store { url: url.into(), what: what.into(), kind }
    }

    pub(crate) fn invalid(url: &str, what: String) -> Self {
        Self::new(url, io::ErrorKind::InvalidInput, what)
    }

    pub(crate) fn not_found(url: &str, what: &str) -> Self {
        Self::new(url, io::ErrorKind::NotFound, what)
    }

    pub(crate) fn changed(url: &str) -> Self {
        Self::new(url, io::ErrorKind::InvalidData, "it was replaced while it was read; start again")
    }

    pub(crate) fn stopped(url: &str) -> Self {
        Self::new(url, io::ErrorKind::Interrupted, "the upload was stopped; no object was written")
    }

    /// The same with something more to say.
    pub(crate) fn and(self, more: &str) -> Self {
        match self {
            Self::Store { url, what, kind } => Self::Store { url, what: what + more, kind },
            Self::Io(error) => Self::Io(io::Error::new(error.kind(), format!("{error}{more}"))),
        }
    }

    /// The environment's settings make no client.
    pub(crate) fn settings(url: &str, error: &object_store::Error) -> Self {
        let (answer, names) = (answer(&error.to_string()), Names::of(url));
        let credentials = names.credentials;
        Self::invalid(url, format!("settings in the environment are missing or wrong ({answer}): check {credentials}"))
    }

    /// What the crate reports. It tells most faults apart only in its words, which hold the answer of the store.
    pub(crate) fn of(url: &str, error: &object_store::Error) -> Self {
        let words = error.to_string();
        let names = Names::of(url);
        let has = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
        let answer = answer(&words);
        // A refused listing is a general error of the crate, whatever the status.
        let is_denied = matches!(error, object_store::Error::PermissionDenied { .. })
            || has(&["AccessDenied", "403 Forbidden", "AuthorizationPermissionMismatch"]);
        let (kind, what) = if matches!(error, object_store::Error::Precondition { .. }) {
            return Self::changed(url);
        } else if has(&METADATA) {
            let what = format!("there are no credentials: set {} ({answer})", names.credentials);
            (io::ErrorKind::PermissionDenied, what)
        } else if has(&["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"]) {
            let what = format!("there is no such {}; check its name and {}", names.bucket, names.endpoint);
            (io::ErrorKind::NotFound, what)
        } else if has(&["Received redirect", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocation"]) {
            (io::ErrorKind::InvalidInput, format!("the bucket is in another region ({answer}); set AWS_REGION to it"))
        } else if has(&[
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "AuthenticationFailed",
            "InvalidAuthenticationInfo",
            "Server failed to authenticate the request",
            "401 Unauthorized",
        ]) || matches!(error, object_store::Error::Unauthenticated { .. })
        {
            let what = format!("the store does not accept the credentials ({answer}): check {}", names.credentials);
            (io::ErrorKind::PermissionDenied, what)
        } else {
            match error {
                object_store::Error::NotFound { .. } => (io::ErrorKind::NotFound, "there is no such object".into()),
                _ if is_denied => {
                    let what = format!(
                        "access is denied ({answer}): the credentials need the permissions to list, read and write there; \
                         without that to list, stores say the same of a missing object"
                    );
                    (io::ErrorKind::PermissionDenied, what)
                }
                object_store::Error::InvalidPath { .. } => {
                    let what = "a key there has an empty part between two slashes, or control characters; rename it";
                    (io::ErrorKind::InvalidData, format!("{what} ({answer})"))
                }
                _ if has(&["error sending request", "Connect", "dns error"]) => {
                    let what =
                        format!("the store cannot be reached ({answer}): check the network and {}", names.endpoint);
                    (io::ErrorKind::NotConnected, what)
                }
                _ => (io::ErrorKind::Other, format!("the store failed ({answer})")),
            }
        };
        Self::new(url, kind, what)
    }
}

/// Paths of the services that give credentials to machines in the cloud. The crate asks them if it finds no others.
const METADATA: [&str; 4] =
    ["/latest/api/token", "/latest/meta-data", "/computeMetadata/", "/metadata/identity/oauth2/token"];

/// What a kind of store calls things.
pub(crate) struct Names {
    pub(crate) bucket: &'static str,
    credentials: &'static str,
    endpoint: &'static str,
}

impl Names {
    pub(crate) fn of(url: &str) -> Self {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("gs") => Self {
                bucket: "bucket",
                credentials: "GOOGLE_APPLICATION_CREDENTIALS, which names the key file of a service account",
                endpoint: "the project",
            },
            Some("az") => Self {
                bucket: "container",
                credentials: "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY",
                endpoint: "AZURE_STORAGE_ACCOUNT_NAME",
            },
            _ => Self {
                bucket: "bucket",
                credentials: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN for temporary ones; \
                              profiles in ~/.aws are not read",
                endpoint: "AWS_ENDPOINT_URL",
            },
        }
    }
}

/// The answer of the store in one line: code and message of its XML, else the crate's own words. The queries of URLs
/// are cut off: they may hold signatures.
fn answer(words: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = words.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
    };
    if let Some(code) = element("Code") {
        let message = element("Message").and_then(|message| message.lines().next());
        return message.map_or_else(|| code.into(), |message| format!("{code}: {message}"));
    }
    let words = words.lines().next().unwrap_or_default().split(' ');
    let plain = words.map(|word| match word.split_once('?') {
        Some((before, _)) if before.contains("://") => before,
        _ => word,
    });
    plain.collect::<Vec<_>>().join(" ").trim_end_matches([' ', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::Error as Cause;

    #[test]
    fn messages_name_the_cause_and_what_to_do_and_no_secret() {
        let xml = |code: &str| {
            format!(
                "Server returned non-2xx status code: 400 : <Error><Code>{code}</Code><Message>Words.</Message>\
                     <StringToSign>secret</StringToSign></Error>"
            )
        };
        let path = || "notes".to_owned();
        let generic = |words: String| Cause::Generic { store: "S3", source: words.into() };
        let missing = |words: String| Cause::NotFound { path: path(), source: words.into() };
        let denied = |words: String| Cause::PermissionDenied { path: path(), source: words.into() };
        let connect =
            "Error performing GET https://host/bucket/notes?sig=secret in 1s - HTTP error: error sending request";
        let token =
            "Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error: error sending request";
        for (url, cause, says) in [
            ("s3://b/k", missing(xml("NoSuchKey")), "s3://b/k: there is no such object"),
            ("s3://b/k", missing(xml("NoSuchBucket")), "no such bucket; check its name and AWS_ENDPOINT_URL"),
            ("az://b/k", missing(xml("ContainerNotFound")), "no such container"),
            ("s3://b/k", denied(xml("AccessDenied")), "access is denied (AccessDenied: Words.)"),
            ("s3://b/k", generic(xml("AccessDenied")), "access is denied (AccessDenied: Words.)"),
            ("s3://b/k", denied(xml("SignatureDoesNotMatch")), "check AWS_ACCESS_KEY_ID"),
            ("s3://b/k", generic(xml("ExpiredToken")), "AWS_SESSION_TOKEN"),
            ("s3://b/k", generic(xml("AuthorizationHeaderMalformed")), "set AWS_REGION"),
            ("s3://b/k", generic(token.into()), "there are no credentials: set AWS_ACCESS_KEY_ID"),
            (
                "gs://b/k",
                generic(token.replace("latest/api/token", "computeMetadata/v1")),
                "GOOGLE_APPLICATION_CREDENTIALS",
            ),
            ("gs://b/k", generic("status code: 401 Unauthorized: ".into()), "check GOOGLE_APPLICATION_CREDENTIALS"),
            ("az://b/k", denied(xml("AuthenticationFailed")), "check AZURE_STORAGE_ACCOUNT_NAME"),
            ("s3://b/k", generic(connect.into()), "cannot be reached"),
            ("az://b/k", generic("500".into()), "the store failed (Generic S3 error: 500)"),
        ] {
            let error = Error::of(url, &cause).to_string();
            assert!(error.starts_with(url) && error.contains(says) && !error.contains("secret"), "{error}");
        }
    }
}
