use bytes::{Bytes, BytesMut};

use crate::Error;
use crate::proto::pkt_line::{self, MAX_DATA};
use crate::proto::side_band::{self, Band};
use crate::proto::{Advertisement, Negotiated, Report};

/// One piece of what the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The refs and the capabilities.
    Advertisement(Advertisement),
    /// In place of the advertisement: a refusal, which the client shows as `fatal: remote error: <text>`.
    Error(Bytes),
    /// Text for the pusher's eyes, on band 2. Left out if the client has no side-band.
    Progress(Bytes),
    /// An empty packet that keeps a silent line alive. Left out if the client has no side-band.
    KeepAlive,
    /// What became of the push. Left out if the client reads no report.
    Report(Report),
    /// Last words, on band 3, where no report can be made. Left out if the client has no side-band.
    Fatal(Bytes),
    /// The flush-pkt that ends a multiplexed reply. Left out if the client has no side-band.
    Flush,
}

impl Reply {
    /// Appends the bytes of the reply, in the form that the client negotiated.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if a ref's name in an advertisement does not fit a pkt-line.
    pub fn encode(&self, negotiated: &Negotiated, dst: &mut BytesMut) -> Result<(), Error> {
        match self {
            Self::Advertisement(advertisement) => advertisement.encode(dst)?,
            Self::Error(text) => {
                let text = text.get(..MAX_DATA.saturating_sub(16)).unwrap_or(text);
                pkt_line::encode_parts(&[b"ERR ", text], dst)?;
            }
            Self::Report(report) => {
                let Some(version) = negotiated.report else { return Ok(()) };
                if !negotiated.side_band_64k {
                    report.encode(version, dst);
                    return Ok(());
                }
                let mut inner = BytesMut::new();
                report.encode(version, &mut inner);
                side_band::encode(Band::Data, &inner, dst);
            }
            Self::Progress(_) | Self::KeepAlive | Self::Fatal(_) | Self::Flush if !negotiated.side_band_64k => {}
            Self::Progress(text) => side_band::encode(Band::Progress, text, dst),
            Self::KeepAlive => side_band::encode_keep_alive(dst),
            Self::Fatal(text) => side_band::encode(Band::Fatal, text, dst),
            Self::Flush => pkt_line::encode_flush(dst),
        }
        Ok(())
    }
}
