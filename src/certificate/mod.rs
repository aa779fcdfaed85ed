//! Signed pushes: nonces to be signed, and [`CertificateLayer`], which has the certificates looked at.
//!
//! A client that is offered a nonce (`push-cert`, gitprotocol-capabilities) and told to sign (`git push --signed`) sends
//! its commands in a [`Certificate`](crate::proto::Certificate). Three questions are left then, and each has its place:
//!
//! | question | answered by |
//! |---|---|
//! | Do the commands belong to the certificate? | nobody: they are taken from it, and from nowhere else |
//! | Is the nonce ours, and fresh? | [`NonceSeed::check`] |
//! | Is the signature good, and whose is it? | you, in the closure of [`CertificateLayer::new`]: gpg, ssh, a key server |
//!
//! What was found stands in the push's [extensions](crate::push::Push::extensions) as [`Signed`], for the layers and the
//! service behind. As with git nothing is refused for it, unless the layer is told that pushes
//! [must be signed](CertificateLayer::required).
//!
//! ```
//! use receive_pack::certificate::{CertificateLayer, NonceSeed, Verdict};
//! use receive_pack::proto::{Advertisement, Certificate, ObjectFormat};
//!
//! let seed = NonceSeed::new("a secret of the server's own");
//! let now = 1_700_000_000;
//!
//! let nonce = seed.issue("/demo.git", now, ObjectFormat::Sha1);
//! let advertisement = Advertisement::new(ObjectFormat::Sha1).with_nonce(nonce);
//!
//! let layer = CertificateLayer::new(|certificate: Certificate| async move {
//!     // Run `ssh-keygen -Y verify` here, with the payload on its standard input.
//!     let _ = (certificate.payload(), certificate.signature());
//!     Ok(Verdict::Good { signer: "ada".to_owned(), key: "SHA256:...".to_owned() })
//! });
//! # drop((advertisement, layer));
//! ```

mod layer;
mod nonce;
mod service;

pub use layer::CertificateLayer;
pub use nonce::{NonceSeed, NonceStatus};
pub use service::{CertificateService, Signed, Verdict};
