use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use crate::proto::pkt_line;
use crate::proto::{Capabilities, Certificate, Command, Complete, Frame, Negotiated};
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
    /// Whether some command is not a deletion, so that a pack follows.
    needs_pack: bool,
    /// In a signed push, the commands of the certificate that are still to come as frames: they are on the wire already.
    signed: Option<VecDeque<Command>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Commands,
    Options,
    /// Behind the head: a pack, or none.
    Body,
    /// Behind the pack's header.
    Pack,
    /// The pack comes as objects.
    Objects,
    /// The pack comes as data.
    Opaque,
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
            needs_pack: false,
            signed: None,
        }
    }

    /// Appends the bytes of `frame` to `dst`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if a frame comes out of the order that [`Frame`] has or is too long for a pkt-line. Nothing
    /// is compared with what the pack's header declares: that is for who reads the pack.
    pub fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), Error> {
        match (self.state, frame) {
            (State::Commands, Frame::Shallow(id)) => pkt_line::encode(format!("shallow {id}").as_bytes(), dst),
            (State::Commands, Frame::Capabilities(capabilities)) => {
                self.negotiated.merge(&Negotiated::new(&self.advertised, &capabilities));
                self.capabilities = Some(capabilities);
                Ok(())
            }
            (State::Commands, Frame::Certificate(certificate)) if !self.has_command && self.signed.is_none() => {
                self.certificate(&certificate, dst)
            }
            (State::Commands, Frame::Command(command)) if self.next_signed() == Some(Some(&command)) => {
                self.signed.as_mut().and_then(VecDeque::pop_front);
                Ok(())
            }
            (State::Commands, Frame::Command(command)) if self.signed.is_none() => self.command(&command, dst),
            (State::Commands, Frame::PushOption(option)) if self.has_options() => {
                pkt_line::encode_flush(dst);
                self.state = State::Options;
                pkt_line::encode_parts(&[&option, b"\n"], dst)
            }
            (State::Options, Frame::PushOption(option)) => pkt_line::encode_parts(&[&option, b"\n"], dst),
            (State::Commands, Frame::Flush) if self.next_signed().flatten().is_none() => {
                pkt_line::encode_flush(dst);
                if self.has_options() {
                    pkt_line::encode_flush(dst);
                }
                self.state = State::Body;
                Ok(())
            }
            (State::Options, Frame::Flush) => {
                pkt_line::encode_flush(dst);
                self.state = State::Body;
                Ok(())
            }
            (State::Body, Frame::PackHeader(header)) if self.needs_pack => {
                dst.put_slice(&header.wire());
                self.state = State::Pack;
                Ok(())
            }
            (State::Pack | State::Objects, Frame::PackObject(object)) => {
                dst.put_slice(object.wire());
                self.state = State::Objects;
                Ok(())
            }
            (State::Pack | State::Opaque, Frame::PackData(data)) => {
                dst.put_slice(&data);
                self.state = State::Opaque;
                Ok(())
            }
            (state, Frame::Complete(complete)) if self.may_end(&complete) => {
                // The trailer; that of an opaque pack went out with its data.
                if let (false, Some(checksum)) = (state == State::Opaque, complete.checksum()) {
                    dst.put_slice(checksum.as_bytes());
                }
                self.state = State::Done;
                Ok(())
            }
            (_, frame) => Err(Error::new(ErrorKind::Protocol, format!("frame out of order: {frame:?}"))),
        }
    }

    fn has_options(&self) -> bool {
        self.has_command && self.negotiated.push_options && self.next_signed().flatten().is_none()
    }

    /// In a signed push, the command that must come next, if one must.
    fn next_signed(&self) -> Option<Option<&Command>> {
        self.signed.as_ref().map(VecDeque::front)
    }

    /// Whether this may come next: the end of a pack where one is due, or else of none.
    fn may_end(&self, complete: &Complete) -> bool {
        match self.state {
            State::Body => !self.needs_pack && complete.checksum().is_none(),
            State::Pack | State::Objects | State::Opaque => complete.checksum().is_some(),
            State::Commands | State::Options | State::Done => false,
        }
    }

    fn command(&mut self, command: &Command, dst: &mut BytesMut) -> Result<(), Error> {
        self.has_command = true;
        self.needs_pack |= !command.is_delete();
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

    /// Line by line, as git sends it.
    fn certificate(&mut self, certificate: &Certificate, dst: &mut BytesMut) -> Result<(), Error> {
        match self.capabilities.take() {
            None => pkt_line::encode(b"push-cert\n", dst)?,
            Some(list) => pkt_line::encode_parts(&[b"push-cert\0 ", list.as_bytes()], dst)?,
        }
        for line in certificate.raw().split_inclusive(|byte| *byte == b'\n') {
            for piece in line.chunks(pkt_line::MAX_DATA) {
                // In one pkt-line this would end the certificate.
                let whole = if piece == b"push-cert-end\n" { 1 } else { pkt_line::MAX_DATA };
                for part in piece.chunks(whole) {
                    pkt_line::encode(part, dst)?;
                }
            }
        }
        self.has_command = !certificate.commands().is_empty();
        self.needs_pack = certificate.commands().iter().any(|command| !command.is_delete());
        self.signed = Some(certificate.commands().iter().cloned().collect());
        pkt_line::encode(b"push-cert-end\n", dst)
    }
}
