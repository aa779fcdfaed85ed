use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_service::Service;

use super::layer::Settings;
use crate::certificate::NonceStatus;
use crate::proto::{Certificate, Report};
use crate::push::{Push, UpdateRequest};
use crate::{BoxError, Error};

/// The service of [`CertificateLayer`](crate::certificate::CertificateLayer).
#[derive(Clone, Debug)]
pub struct CertificateService<S, V> {
    pub(super) inner: S,
    pub(super) verify: V,
    pub(super) settings: Settings,
}

/// What a signature turned out to be: git's `GIT_PUSH_CERT_STATUS`, with the signer and the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Good, by a key that is trusted for this signer.
    Good {
        /// Who signed, by the name under which the server knows the key.
        signer: String,
        /// The key, for instance its fingerprint.
        key: String,
    },
    /// Good, by a key that is expired, revoked, or trusted for nobody.
    Untrusted {
        /// The key, for instance its fingerprint.
        key: String,
    },
    /// Not a signature over this text.
    Bad,
    /// It could not be said: an unknown key, or an unknown kind of signature.
    Unknown,
}

/// What was found out about a signed push; in the [extensions](Push::extensions) of each push that has a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signed {
    /// What the nonce is.
    pub nonce: NonceStatus,
    /// What the signature is.
    pub signature: Verdict,
}

impl Signed {
    /// Whether the signature is good and over a good nonce.
    pub fn is_good(&self) -> bool {
        self.refusal().is_none()
    }

    fn refusal(&self) -> Option<&'static str> {
        match (&self.signature, self.nonce) {
            (Verdict::Good { .. }, NonceStatus::Ok) => None,
            (Verdict::Good { .. }, _) => Some("bad nonce in push certificate"),
            (Verdict::Untrusted { .. }, _) => Some("push certificate signed by an untrusted key"),
            (Verdict::Bad | Verdict::Unknown, _) => Some("bad signature on push certificate"),
        }
    }
}

impl Settings {
    fn nonce(&self, request: &UpdateRequest, certificate: &Certificate) -> NonceStatus {
        let nonce = certificate.nonce().map(str::as_bytes);
        match (&self.seed, nonce) {
            (None, None) => NonceStatus::Missing,
            (None, Some(_)) => NonceStatus::Unsolicited,
            (Some((seed, directory)), nonce) => {
                let issued = request.negotiated().nonce.as_deref();
                seed.check(directory, request.format(), issued, nonce, self.stateless)
            }
        }
    }
}

impl<S, V, F, B> Service<Push<B>> for CertificateService<S, V>
where
    S: Service<Push<B>, Response = Report> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    V: Fn(Certificate) -> F,
    F: Future<Output = Result<Verdict, Error>> + Send + 'static,
    B: Send + 'static,
{
    type Response = Report;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Report, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(named)
    }

    fn call(&mut self, mut push: Push<B>) -> Self::Future {
        let required = self.settings.required;
        let found = push
            .request()
            .certificate()
            .map(|certificate| (self.settings.nonce(push.request(), certificate), (self.verify)(certificate.clone())));
        // The one that was found to be ready goes into the future.
        let fresh = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            let refusal = match found {
                None => required.then_some("push must be signed"),
                Some((nonce, verify)) => {
                    let signature = match verify.await.map_err(Error::of_the_server) {
                        Ok(signature) => signature,
                        Err(error) if error.is_remote() => {
                            return Ok(Report::refused(error.to_string(), push.request().commands()));
                        }
                        Err(error) => return Err(error),
                    };
                    let signed = Signed { nonce, signature };
                    let refusal = signed.refusal().filter(|_| required);
                    push.extensions_mut().insert(signed);
                    refusal
                }
            };
            match refusal {
                Some(reason) => Ok(Report::refused(reason, push.request().commands())),
                None => inner.call(push).await.map_err(named),
            }
        })
    }
}

/// The inner service may be one of tower's, whose errors are boxed.
fn named(error: impl Into<BoxError>) -> Error {
    error.into().into()
}
