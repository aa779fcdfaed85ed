use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::certificate::Part;
use super::pack::{OpaqueDecoder, PackDecoder};
use crate::proto::pkt_line::{self, PktLine};
use crate::proto::{Capabilities, Certificate, Command, Complete, Config, Frame, Negotiated, ObjectFormat, ObjectId};
use crate::proto::{PackFrame, Payload};
use crate::{Error, ErrorKind};

/// The state machine that reads a push: bytes in, [`Frame`]s out.
///
/// ```text
///  state        reads                             gives                                then
///  Commands     "shallow <id>"                    Shallow                              Commands
///               "<old> <new> <name>\0<caps>"      Capabilities, Command                Commands
///               "<old> <new> <name>"              Command                              Commands
///               "push-cert\0<caps>"               Capabilities                         Certificate
///               "push-cert"                       -                                    Certificate
///               flush-pkt, no command yet         Flush, Complete                      Done
///               flush-pkt                         -, if push options were negotiated   Options
///               flush-pkt                         Flush                                Pack
///               flush-pkt, only deletions         Flush, Complete                      Done
///               end of stream before any byte     end of stream                        Done
///  Certificate  a line of the certificate         -                                    Certificate
///               "push-cert-end\n"                 Certificate, Command*                Commands
///               flush-pkt                         Certificate, Command*, and what      as from Commands
///                                                 Commands give at a flush-pkt
///  Options      "<option>"                        PushOption                           Options
///               flush-pkt                         Flush [, Complete]                   Pack or Done
///  Pack         the pack                          PackHeader, PackObject or PackData   Pack
///               the trailer                       Complete                             Done
///  Done         nothing more                      end of stream                        Done
///  any          what must not be there            an error                             Failed
///  Failed       nothing more                      the same error again                 Failed
/// ```
///
/// Delim- and response-end-pkts end a list as a flush-pkt does, because git reads them so; in a certificate they are an
/// error. A certificate is the only source of commands: one beside plain commands, or beside another, is an error, as
/// gitprotocol-pack has it (git itself takes both).
#[derive(Debug)]
pub struct Receive {
    config: Config,
    state: State,
    negotiated: Negotiated,
    /// Frames that the same bytes gave beside the last one.
    pending: VecDeque<Frame>,
    /// Bytes of the request that were taken from the source, the pack's aside.
    offset: u64,
    counts: Counts,
}

#[derive(Debug)]
enum State {
    Commands,
    /// With the text of the certificate so far.
    Certificate(BytesMut),
    Options,
    Objects(Box<PackDecoder>),
    Opaque(OpaqueDecoder),
    Done,
    Failed(Error),
}

#[derive(Debug, Default)]
struct Counts {
    commands: usize,
    shallow: usize,
    options: OptionCounts,
    capability_bytes: usize,
    /// Whether some command is not a deletion, so that a pack follows.
    needs_pack: bool,
    /// Whether the commands came in a certificate.
    signed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct OptionCounts {
    options: usize,
    bytes: usize,
}

impl Receive {
    /// A machine at the first byte of a request.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Commands,
            negotiated: Negotiated::default(),
            pending: VecDeque::new(),
            offset: 0,
            counts: Counts::default(),
        }
    }

    /// What was negotiated; complete once [`Frame::Flush`] was given.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// The object format that ids are read in.
    pub fn object_format(&self) -> ObjectFormat {
        self.config.format
    }

    /// Takes bytes from the beginning of `src` and gives the next frame; `None` if it needs more bytes, or if the push
    /// has ended. What follows the push is left in `src`.
    ///
    /// # Errors
    ///
    /// The first error is final: it is given again for each further call.
    #[inline]
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, Error> {
        // Nearly every frame is an object, and nothing else is to be done about it.
        if let (true, State::Objects(pack)) = (self.pending.is_empty(), &mut self.state) {
            return match pack.decode(src) {
                Ok(Some(PackFrame::Object(object))) => Ok(Some(Frame::PackObject(object))),
                Ok(None) => Ok(None),
                rare => self.pack_frame(rare),
            };
        }
        self.decode_other(src)
    }

    fn decode_other(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if let Some(frame) = self.pending.pop_front() {
            return Ok(Some(frame));
        }
        let result = self.advance(src);
        self.latch(result)
    }

    fn pack_frame(&mut self, frame: Result<Option<PackFrame>, Error>) -> Result<Option<Frame>, Error> {
        if let Ok(Some(PackFrame::Complete(_))) = frame {
            self.state = State::Done;
        }
        self.latch(frame.map(|frame| frame.map(Frame::from)))
    }

    /// As [`decode`](Self::decode), when no byte will follow those in `src`: the end of the stream is flush.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnexpectedEof`] if the stream ended inside the head, [`ErrorKind::IncompletePack`] if it ended
    /// behind the head and before the end of the pack.
    pub fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if let Some(frame) = self.decode(src)? {
            return Ok(Some(frame));
        }
        let result = self.end_of_stream(src);
        self.latch(result)
    }

    /// Whether the push has ended, well or not: no call gives another frame.
    pub fn is_done(&self) -> bool {
        self.pending.is_empty() && matches!(self.state, State::Done | State::Failed(_))
    }

    /// Whether it is in the middle of a pack of which it does not know the end.
    pub(crate) fn is_opaque(&self) -> bool {
        matches!(self.state, State::Opaque(_))
    }

    fn latch(&mut self, result: Result<Option<Frame>, Error>) -> Result<Option<Frame>, Error> {
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
            // What the same bytes gave before the error is not to come after it.
            self.pending.clear();
        }
        result
    }

    fn advance(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, Error> {
        loop {
            return match &mut self.state {
                State::Commands | State::Certificate(_) | State::Options => {
                    if !self.head(src)? {
                        return Ok(None);
                    }
                    match self.pending.pop_front() {
                        Some(frame) => Ok(Some(frame)),
                        None => continue,
                    }
                }
                State::Objects(pack) => {
                    let frame = pack.decode(src);
                    self.pack_frame(frame)
                }
                State::Opaque(pack) => {
                    let frame = pack.decode(src);
                    self.pack_frame(frame)
                }
                State::Done => Ok(None),
                State::Failed(error) => Err(error.clone()),
            };
        }
    }

    /// Reads one pkt-line of the head, and puts the frames that it gives into `pending`; false if it is not all there.
    fn head(&mut self, src: &mut BytesMut) -> Result<bool, Error> {
        let peeked = pkt_line::peek(src).map_err(|error| error.with_offset(self.offset))?;
        let Some((line, len)) = peeked else { return Ok(false) };
        let data = match line {
            PktLine::Data(data) => Some(Bytes::copy_from_slice(data)),
            PktLine::Delim | PktLine::ResponseEnd if matches!(self.state, State::Certificate(_)) => {
                return Err(self.protocol("protocol error: got an unexpected packet".to_owned()));
            }
            PktLine::Flush | PktLine::Delim | PktLine::ResponseEnd => None,
        };
        match (&self.state, data) {
            (State::Certificate(_), Some(line)) if &line[..] != b"push-cert-end\n" => self.certificate_line(&line)?,
            (State::Certificate(_), line) => {
                self.end_of_certificate()?;
                if line.is_none() {
                    self.end_of_commands();
                }
            }
            (State::Options, Some(line)) => self.push_option(&line)?,
            (State::Options, None) => self.end_of_head(),
            (_, Some(line)) => self.command_line(&line)?,
            (_, None) => self.end_of_commands(),
        }
        src.advance(len);
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        if self.offset > self.config.limits.head_bytes {
            return Err(self.limit("bytes before the pack", self.config.limits.head_bytes));
        }
        Ok(true)
    }

    fn command_line(&mut self, line: &[u8]) -> Result<(), Error> {
        let line = pkt_line::chomp(line);
        let (line, capabilities) = match line.iter().position(|byte| *byte == 0) {
            Some(nul) => (line.get(..nul).unwrap_or(line), line.get(nul.saturating_add(1)..)),
            None => (line, None),
        };
        if let Some(text) = line.strip_prefix(b"ERR ") {
            return Err(self.protocol(format!("remote error: {}", text.escape_ascii())));
        }
        if let Some(id) = line.strip_prefix(b"shallow ") {
            return self.shallow(id);
        }
        let is_certificate = line == b"push-cert";
        if self.counts.signed || (is_certificate && self.counts.commands > 0) {
            let text = "protocol error: got both push certificate and unsigned commands";
            return Err(self.protocol(text.to_owned()));
        }
        // Each list is work, an empty one as well.
        let len = capabilities.map_or(0, |list| list.len().saturating_add(1));
        self.counts.capability_bytes = self.counts.capability_bytes.saturating_add(len);
        if self.counts.capability_bytes > self.config.limits.capability_bytes {
            return Err(self.limit("bytes of capabilities", self.config.limits.capability_bytes));
        }
        let requested = capabilities.map(Capabilities::parse);
        if let Some(requested) = &requested {
            // First of all: an error in what stands before them is answered in the form that they ask for.
            self.negotiate(requested)?;
        }
        let command = if is_certificate {
            self.counts.signed = true;
            self.state = State::Certificate(BytesMut::new());
            None
        } else {
            let command = Command::parse(line, self.config.format).ok_or_else(|| {
                self.protocol(format!("protocol error: expected old/new/ref, got '{}'", excerpt(line)))
            })?;
            self.count(&command)?;
            Some(command)
        };
        self.pending.extend(requested.map(Frame::Capabilities));
        self.pending.extend(command.map(Frame::Command));
        Ok(())
    }

    fn count(&mut self, command: &Command) -> Result<(), Error> {
        let limits = &self.config.limits;
        if command.name.len() > limits.ref_name_bytes {
            return Err(self.limit("bytes in a ref name", limits.ref_name_bytes));
        }
        if self.counts.commands >= limits.commands {
            return Err(self.limit("commands", limits.commands));
        }
        self.counts.commands = self.counts.commands.saturating_add(1);
        self.counts.needs_pack |= !command.is_delete();
        Ok(())
    }

    fn certificate_line(&mut self, line: &[u8]) -> Result<(), Error> {
        let limit = self.config.limits.certificate_bytes;
        let State::Certificate(text) = &mut self.state else { return Ok(()) };
        if text.len().saturating_add(line.len()) > limit {
            return Err(self.limit("bytes of a push certificate", limit));
        }
        text.extend_from_slice(line);
        Ok(())
    }

    fn end_of_certificate(&mut self) -> Result<(), Error> {
        let State::Certificate(text) = &mut self.state else { return Ok(()) };
        let text = text.split().freeze();
        // The options that follow the commands are these again.
        let mut options = OptionCounts::default();
        let parsed = Certificate::parse_counted(text, self.config.format, |part| match part {
            Part::PushOption(option) => self.count_option(&mut options, option),
            Part::Command(command) => self.count(command),
        })?;
        let certificate = parsed.map_err(|error| self.protocol(error.to_string()))?;
        let commands = certificate.commands().to_vec();
        self.pending.push_back(Frame::Certificate(certificate));
        self.pending.extend(commands.into_iter().map(Frame::Command));
        self.state = State::Commands;
        Ok(())
    }

    /// Capabilities behind a later command count too, as with git.
    fn negotiate(&mut self, requested: &Capabilities) -> Result<(), Error> {
        self.negotiated.merge(&Negotiated::new(&self.config.advertised, requested));
        let wanted = match requested.value("object-format") {
            Some(name) => name,
            None if requested.contains("object-format") => b"",
            // Who does not know of object formats has but the one.
            None => ObjectFormat::Sha1.name().as_bytes(),
        };
        if wanted != self.config.format.name().as_bytes() {
            return Err(self.protocol(format!("error: unsupported object format '{}'", wanted.escape_ascii())));
        }
        Ok(())
    }

    fn shallow(&mut self, id: &[u8]) -> Result<(), Error> {
        let limit = self.config.limits.shallow;
        if self.counts.shallow >= limit {
            return Err(self.limit("shallow lines", limit));
        }
        self.counts.shallow = self.counts.shallow.saturating_add(1);
        let id = ObjectId::from_hex(self.config.format, id)
            .ok_or_else(|| self.protocol(format!("protocol error: expected shallow sha, got '{}'", excerpt(id))))?;
        self.pending.push_back(Frame::Shallow(id));
        Ok(())
    }

    fn push_option(&mut self, line: &[u8]) -> Result<(), Error> {
        let option = pkt_line::chomp(line);
        let mut counts = self.counts.options;
        self.count_option(&mut counts, option)?;
        self.counts.options = counts;
        self.pending.push_back(Frame::PushOption(Bytes::copy_from_slice(option)));
        Ok(())
    }

    fn count_option(&self, counts: &mut OptionCounts, option: &[u8]) -> Result<(), Error> {
        let limits = &self.config.limits;
        counts.options = counts.options.saturating_add(1);
        counts.bytes = counts.bytes.saturating_add(option.len());
        if counts.options > limits.push_options {
            return Err(self.limit("push options", limits.push_options));
        }
        if counts.bytes > limits.push_option_bytes {
            return Err(self.limit("bytes of push options", limits.push_option_bytes));
        }
        Ok(())
    }

    fn end_of_commands(&mut self) {
        if self.counts.commands > 0 && self.negotiated.push_options {
            self.state = State::Options;
        } else {
            self.end_of_head();
        }
    }

    fn end_of_head(&mut self) {
        self.pending.push_back(Frame::Flush);
        if self.counts.needs_pack {
            self.state = match self.config.payload {
                Payload::Objects => {
                    let Config { format, chunk_size, ref limits, .. } = self.config;
                    State::Objects(Box::new(PackDecoder::new(format, chunk_size, limits)))
                }
                Payload::Opaque => State::Opaque(OpaqueDecoder::new(self.config.format, &self.config.limits)),
            };
        } else {
            self.state = State::Done;
            self.pending.push_back(Frame::Complete(Complete { checksum: None, pack_len: 0, verified: true }));
        }
    }

    fn end_of_stream(&mut self, src: &BytesMut) -> Result<Option<Frame>, Error> {
        let len = u64::try_from(src.len()).unwrap_or(u64::MAX);
        let (offset, kind, text) = match &self.state {
            State::Done => return Ok(None),
            State::Failed(error) => return Err(error.clone()),
            State::Commands if self.offset == 0 && src.is_empty() => {
                self.state = State::Done;
                return Ok(None);
            }
            State::Commands | State::Certificate(_) | State::Options => {
                (self.offset, ErrorKind::UnexpectedEof, "the remote end hung up inside the command list")
            }
            State::Objects(pack) => (pack.offset(), ErrorKind::IncompletePack, "the pack is incomplete: early EOF"),
            State::Opaque(pack) => match pack.decode_eof() {
                Some(complete) => {
                    self.state = State::Done;
                    return Ok(Some(Frame::Complete(complete)));
                }
                None => (pack.offset(), ErrorKind::IncompletePack, "the pack is incomplete: early EOF"),
            },
        };
        Err(Error::new(kind, text).with_offset(offset.saturating_add(len)))
    }

    fn protocol(&self, text: String) -> Error {
        Error::new(ErrorKind::Protocol, text).with_offset(self.offset)
    }

    fn limit(&self, what: &str, limit: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::LimitExceeded, format!("more than {limit} {what}")).with_offset(self.offset)
    }
}

/// The beginning of a line, fit to be printed.
fn excerpt(line: &[u8]) -> impl std::fmt::Display + '_ {
    line.get(..200).unwrap_or(line).escape_ascii()
}
