use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use super::ReplyBody;
use super::service::no_cache;
use crate::{Error, ErrorKind};

/// An answer that is no conversation: a status, and a text that git shows as `remote: <text>` when it came in answer to
/// the request for the advertisement.
///
/// ```
/// use receive_pack::transport::http::Refusal;
///
/// let refusal = Refusal::new(http::StatusCode::FORBIDDEN, "the repository is archived");
/// assert_eq!(refusal.status(), 403);
/// ```
#[derive(Clone)]
pub struct Refusal {
    // Boxed: it is the error of functions whose values are small.
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    status: StatusCode,
    text: Cow<'static, str>,
    headers: HeaderMap,
    cause: Option<Error>,
}

impl Refusal {
    /// A refusal with this status and text.
    pub fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { inner: Box::new(Inner { status, text: text.into(), headers: HeaderMap::new(), cause: None }) }
    }

    /// 404: no such repository, or none that this client may know of.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "repository not found")
    }

    /// 401: makes git ask its user, or a credential helper, for a name and a password. `realm` is what the user is asked
    /// for; characters that a header cannot carry are left out of it.
    pub fn unauthorized(realm: &str) -> Self {
        let realm: String = realm.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\')).collect();
        let refusal = Self::new(StatusCode::UNAUTHORIZED, "authentication required");
        match HeaderValue::try_from(format!("Basic realm=\"{realm}\"")) {
            Ok(challenge) => refusal.header(WWW_AUTHENTICATE, challenge),
            Err(_) => refusal,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.inner.headers.append(name, value);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    pub(super) fn into_response(self) -> Response<ReplyBody> {
        let Inner { status, text, headers, cause } = *self.inner;
        let mut response = Response::new(ReplyBody::full(Bytes::from(format!("{text}\n"))));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        no_cache(response.headers_mut());
        if let Some(cause) = cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

/// A repository that is not there is [not found](Refusal::not_found), any other local error is status 500 with the text
/// `internal error`, a remote one status 403 with its own. The error is in the extensions of the response, where a layer
/// for logs finds it.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let mut refusal = match error.kind() {
            ErrorKind::NotFound => Self::not_found(),
            _ if error.is_local() => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.reason()),
            _ => Self::new(StatusCode::FORBIDDEN, error.reason()),
        };
        refusal.inner.cause = Some(error);
        refusal
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("status", &self.status()).field("text", &self.text()).finish_non_exhaustive()
    }
}
