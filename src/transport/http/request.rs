use std::fmt;
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use super::Refusal;
use crate::transport::highest_version;

/// A request of smart HTTP, without its body: what a [`Resolve`](super::Resolve)r decides by, and what layers find in the
/// [extensions](crate::push::Push::extensions) of the push.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct HttpRequest {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    path: String,
    is_discovery: bool,
}

pub(super) const REQUEST_TYPE: &str = "application/x-git-receive-pack-request";

impl HttpRequest {
    /// Tells what is asked for.
    pub(super) fn new(parts: Parts) -> Result<Self, Refusal> {
        let path = parts.uri.path();
        let (path, is_discovery) = match (path.strip_suffix("/info/refs"), path.strip_suffix("/git-receive-pack")) {
            (Some(path), _) => (path, true),
            (None, Some(path)) => (path, false),
            (None, None) => return Err(Refusal::not_found()),
        };
        let path = decoded(path).filter(|path| is_safe(path)).ok_or_else(Refusal::not_found)?;
        if is_discovery {
            judge_discovery(&parts)?
        } else {
            judge_push(&parts)?
        }
        Ok(Self { inner: Arc::new(Inner { parts, path, is_discovery }) })
    }

    /// The path of the repository, percent-decoded, with its leading slash: `/team/demo.git`. No part of it is empty, `.` or
    /// `..`, and it has no NUL: what stands behind the slash, joined to a directory, lies below it (on Windows, unless it
    /// begins with a drive).
    ///
    /// ```
    /// # use receive_pack::transport::http::HttpRequest;
    /// # use std::path::{Path, PathBuf};
    /// fn repository(root: &Path, request: &HttpRequest) -> PathBuf {
    ///     root.join(request.path().trim_start_matches('/'))
    /// }
    /// ```
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Whether this is the request for the advertisement. If not it is a push, and of the [`Target`](super::Target)'s
    /// advertisement only object format and capabilities matter: its refs need not be listed.
    pub fn is_discovery(&self) -> bool {
        self.inner.is_discovery
    }

    /// The request itself: headers, extensions, the undecoded URI.
    pub fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// Whether the client asked for version 1 of the protocol. Version 2 is never used for a push.
    pub fn wants_version_1(&self) -> bool {
        let values = self.inner.parts.headers.get_all("git-protocol").into_iter();
        highest_version(values.flat_map(|value| value.as_bytes().split(|byte| *byte == b':'))) == 1
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { path, is_discovery, .. } = &*self.inner;
        f.debug_struct("HttpRequest").field("path", path).field("is_discovery", is_discovery).finish_non_exhaustive()
    }
}

fn judge_discovery(parts: &Parts) -> Result<(), Refusal> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(wrong_method("GET, HEAD"));
    }
    let query = parts.uri.query().unwrap_or_default();
    // Of two the last one counts, as to git.
    let service = query.split('&').filter_map(|pair| pair.strip_prefix("service=")).next_back();
    match service.map(|service| decoded(service).unwrap_or_default()).as_deref() {
        Some("git-receive-pack") => Ok(()),
        Some(_) => Err(Refusal::new(StatusCode::FORBIDDEN, "this service is not enabled")),
        None => Err(Refusal::new(StatusCode::FORBIDDEN, "dumb HTTP is not served")),
    }
}

fn judge_push(parts: &Parts) -> Result<(), Refusal> {
    if parts.method != Method::POST {
        return Err(wrong_method("POST"));
    }
    let found = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if found != REQUEST_TYPE {
        let text = format!("expected a request of type '{REQUEST_TYPE}', not '{found}'");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    match parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(()),
        Some(other) => {
            let text = format!("content encoding '{}' is not supported", other.escape_ascii());
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

fn wrong_method(allowed: &'static str) -> Refusal {
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    refusal.header(http::header::ALLOW, HeaderValue::from_static(allowed))
}

/// A path without its percent signs; `None` if that is no UTF-8.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)?.checked_mul(16)?.checked_add(hex(rest.next()?)?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16)?.try_into().ok()
}

/// A path that leads out of where it begins is nobody's repository. A resolver that joins paths need not think of it, nor
/// of what would be left when it takes the slash away from `//etc`.
fn is_safe(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    !path.contains('\0') && !path.split(['/', '\\']).any(|part| matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn get(uri: &str) -> Result<HttpRequest, Refusal> {
        HttpRequest::new(Request::get(uri).body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_path_is_what_stands_before_the_service() {
        let request = get("/team/a%20b%2ec.git/info/refs?x=1&service=git-receive-pack").unwrap();
        assert_eq!(request.path(), "/team/a b.c.git");
        assert!(request.is_discovery());
        let push = Request::post("http://host/demo.git/git-receive-pack").header(CONTENT_TYPE, REQUEST_TYPE);
        let request = HttpRequest::new(push.body(()).unwrap().into_parts().0).unwrap();
        assert_eq!((request.path(), request.is_discovery()), ("/demo.git", false));
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_not_found() {
        for path in [
            "/../x",
            "/a/%2e%2e/x",
            "/a/..%5cx",
            "/a%00b",
            "/%zz",
            "/%f",
            "/%ff",
            "",
            "/",
            "//x",
            "/%2fx",
            "/a//x",
            "/a/",
            "/%5cx",
        ] {
            let refusal = get(&format!("{path}/info/refs?service=git-receive-pack")).unwrap_err();
            assert_eq!(refusal.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn of_two_services_the_last_is_meant() {
        assert!(get("/x/info/refs?service=foo&service=git%2Dreceive%2Dpack").is_ok());
        let refusal = get("/x/info/refs?service=git-receive-pack&service=foo").unwrap_err();
        assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn version_1_is_one_word_of_several() {
        let wants = |value: &str| {
            let request = Request::get("/x/info/refs?service=git-receive-pack").header("Git-Protocol", value);
            HttpRequest::new(request.body(()).unwrap().into_parts().0).unwrap().wants_version_1()
        };
        assert!(wants("version=1") && wants("object-format=sha1:version=1"));
        assert!(!wants("version=2") && !wants("version=11"));
        assert!(!wants("version=2:version=1") && !wants("version=1:version=2") && wants("version=3:version=1"));
    }
}
