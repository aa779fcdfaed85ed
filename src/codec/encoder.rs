use bytes::BytesMut;
use tokio_util::codec::Encoder;

use crate::Error;
use crate::codec::ReceivePackCodec;
use crate::proto::{Frame, Reply};

impl Encoder<Reply> for ReceivePackCodec {
    type Error = Error;

    fn encode(&mut self, reply: Reply, dst: &mut BytesMut) -> Result<(), Error> {
        reply.encode(self.negotiated(), dst)
    }
}

impl Encoder<Frame> for ReceivePackCodec {
    type Error = Error;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), Error> {
        self.send.encode(frame, dst)
    }
}
