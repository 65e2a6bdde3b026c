//! The pages at `/`: three embedded files each, which load nothing from elsewhere. They share a style.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};

/// Only our own scripts and styles, nothing from elsewhere, and no framing.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, media type and contents of each file.
pub const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("../page/index.html")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("../page/page.js")),
    ("/page.css", "text/css; charset=utf-8", include_str!("../page/page.css")),
];

/// The files of the correction page.
pub const CORRECT_FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("../page/correct.html")),
    ("/correct.js", "text/javascript; charset=utf-8", include_str!("../page/correct.js")),
    ("/correct.css", "text/css; charset=utf-8", include_str!("../page/correct.css")),
    FILES[2],
];

/// Response with a file of a page.
pub fn file(media_type: &'static str, contents: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(contents));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // Each program version has its own page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
