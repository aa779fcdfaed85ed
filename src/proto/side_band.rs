//! Multiplexed replies (gitprotocol-pack, "Packfile Data"): pkt-lines whose first byte names a band.
//!
//! ```
//! use receive_pack::proto::side_band::{self, Band};
//!
//! let mut wire = bytes::BytesMut::new();
//! side_band::encode(Band::Progress, b"deploying\n", &mut wire);
//! assert_eq!(&wire[..], b"000f\x02deploying\n");
//! ```

use bytes::{BufMut, BytesMut};

use super::pkt_line::{MAX_DATA, encode_parts};

/// What a packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Band {
    /// The reply proper: the report.
    Data = 1,
    /// Text for the user's eyes.
    Progress = 2,
    /// The last words of a server that gives up.
    Fatal = 3,
}

/// The most payload of one packet: 65,515 bytes.
pub const MAX_PAYLOAD: usize = MAX_DATA - 1;

/// Appends `payload` in as many packets as it takes; no payload, no packet.
pub fn encode(band: Band, payload: &[u8], dst: &mut BytesMut) {
    for piece in payload.chunks(MAX_PAYLOAD) {
        // A piece fits one pkt-line by its length.
        let _ = encode_parts(&[&[band as u8], piece], dst);
    }
}

/// Appends the empty packet that keeps a silent line alive.
pub fn encode_keep_alive(dst: &mut BytesMut) {
    dst.put_slice(b"0005\x01");
}
