use bytes::{BufMut, BytesMut};

use crate::proto::pkt_line;
use crate::proto::{Capabilities, Command, Complete, Frame, Negotiated};
use crate::{Error, ErrorKind};

/// The other side of [`Receive`](crate::proto::Receive): frames in, the bytes of a request out, as a client or a proxy
/// sends them.
///
/// ```
/// use bytes::BytesMut;
/// use receive_pack::proto::{Config, Frame, Receive, Send};
///
/// let mut push = BytesMut::from(&b"0000"[..]);
/// let (mut receive, mut send) = (Receive::new(Config::default()), Send::new(&Config::default()));
/// let mut wire = BytesMut::new();
/// while let Some(frame) = receive.decode_eof(&mut push)? {
///     send.encode(frame, &mut wire)?;
/// }
/// assert_eq!(&wire[..], b"0000");
/// # Ok::<(), receive_pack::Error>(())
/// ```
#[derive(Debug)]
pub struct Send {
    advertised: Capabilities,
    state: State,
    negotiated: Negotiated,
    /// The capabilities that wait for the command that they stand behind.
    capabilities: Option<Capabilities>,
    has_command: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Commands,
    Options,
    Body { opaque: bool },
    Done,
}

impl Send {
    /// At the first byte of a request, to a server that advertised the capabilities of `config`.
    pub fn new(config: &crate::proto::Config) -> Self {
        Self {
            advertised: config.advertised.clone(),
            state: State::Commands,
            negotiated: Negotiated::default(),
            capabilities: None,
            has_command: false,
        }
    }

    /// Appends the bytes of `frame` to `dst`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if a frame comes out of order or is too long for a pkt-line.
    pub fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), Error> {
        match (self.state, frame) {
            (State::Commands, Frame::Shallow(id)) => pkt_line::encode(format!("shallow {id}").as_bytes(), dst),
            (State::Commands, Frame::Capabilities(capabilities)) => {
                self.negotiated.merge(&Negotiated::new(&self.advertised, &capabilities));
                self.capabilities = Some(capabilities);
                Ok(())
            }
            (State::Commands, Frame::Command(command)) => self.command(&command, dst),
            (State::Commands, Frame::PushOption(option)) if self.has_options() => {
                pkt_line::encode_flush(dst);
                self.state = State::Options;
                pkt_line::encode_parts(&[&option, b"\n"], dst)
            }
            (State::Options, Frame::PushOption(option)) => pkt_line::encode_parts(&[&option, b"\n"], dst),
            (State::Commands, Frame::Flush) => {
                pkt_line::encode_flush(dst);
                if self.has_options() {
                    pkt_line::encode_flush(dst);
                }
                self.state = State::Body { opaque: false };
                Ok(())
            }
            (State::Options, Frame::Flush) => {
                pkt_line::encode_flush(dst);
                self.state = State::Body { opaque: false };
                Ok(())
            }
            (State::Body { .. }, Frame::PackHeader(header)) => {
                dst.put_slice(&header.wire());
                Ok(())
            }
            (State::Body { .. }, Frame::PackObject(object)) => {
                dst.put_slice(object.wire());
                Ok(())
            }
            (State::Body { .. }, Frame::PackData(data)) => {
                self.state = State::Body { opaque: true };
                dst.put_slice(&data);
                Ok(())
            }
            (State::Body { opaque }, Frame::Complete(complete)) => {
                self.complete(opaque, &complete, dst);
                Ok(())
            }
            (_, frame) => Err(Error::new(ErrorKind::Protocol, format!("frame out of order: {frame:?}"))),
        }
    }

    fn has_options(&self) -> bool {
        self.has_command && self.negotiated.push_options
    }

    fn command(&mut self, command: &Command, dst: &mut BytesMut) -> Result<(), Error> {
        self.has_command = true;
        let ids = format!("{} {} ", command.old, command.new);
        match self.capabilities.take() {
            // The reader takes one LF off the end; a name that ends in one must not lose it.
            None if command.name.ends_with(b"\n") => {
                pkt_line::encode_parts(&[ids.as_bytes(), &command.name, b"\n"], dst)
            }
            None => pkt_line::encode_parts(&[ids.as_bytes(), &command.name], dst),
            Some(list) => pkt_line::encode_parts(&[ids.as_bytes(), &command.name, b"\0 ", list.as_bytes()], dst),
        }
    }

    /// The trailer; that of an opaque pack went out with its data.
    fn complete(&mut self, opaque: bool, complete: &Complete, dst: &mut BytesMut) {
        if let (false, Some(checksum)) = (opaque, complete.checksum()) {
            dst.put_slice(checksum.as_bytes());
        }
        self.state = State::Done;
    }
}
