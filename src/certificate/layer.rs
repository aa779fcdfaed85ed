use std::future::Future;

use bytes::Bytes;
use tower_layer::Layer;

use crate::Error;
use crate::certificate::{CertificateService, NonceSeed, Verdict};
use crate::proto::Certificate;

/// Has the certificate of each signed push looked at, before anything is read of the pack.
#[derive(Clone, Debug)]
pub struct CertificateLayer<V> {
    verify: V,
    settings: Settings,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) seed: Option<(NonceSeed, Bytes)>,
    pub(super) stateless: bool,
    pub(super) required: bool,
}

impl<V> CertificateLayer<V> {
    /// A layer that has signatures verified by this closure: from a [`Certificate`] to a future of a [`Verdict`]. An
    /// error of it refuses the push, or, being the server's own trouble, fails it.
    pub fn new<F>(verify: V) -> Self
    where
        V: Fn(Certificate) -> F,
        F: Future<Output = Result<Verdict, Error>>,
    {
        Self { verify, settings: Settings::default() }
    }

    /// Judges nonces by the seed that they are issued from, for this directory. Without it each nonce is
    /// [unsolicited](crate::certificate::NonceStatus::Unsolicited).
    #[must_use]
    pub fn nonce(mut self, seed: NonceSeed, directory: impl AsRef<[u8]>) -> Self {
        self.settings.seed = Some((seed, Bytes::copy_from_slice(directory.as_ref())));
        self
    }

    /// Whether the push comes in a request of its own, as over HTTP: then a nonce of an earlier advertisement is good
    /// within the [slop](NonceSeed::slop). Default no.
    #[must_use]
    pub fn stateless(mut self, stateless: bool) -> Self {
        self.settings.stateless = stateless;
        self
    }

    /// Whether each push must be signed, with a good signature over a good nonce: others are refused, by a reason that
    /// says which of the three it lacks. Default no: as with git, whoever is behind this layer decides.
    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.settings.required = required;
        self
    }
}

impl<S, V: Clone> Layer<S> for CertificateLayer<V> {
    type Service = CertificateService<S, V>;

    fn layer(&self, inner: S) -> CertificateService<S, V> {
        CertificateService { inner, verify: self.verify.clone(), settings: self.settings.clone() }
    }
}
