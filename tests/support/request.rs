//! Requests and replies of receive-pack, written and read without the crate's own codec.

use bytes::Bytes;

use super::format::format;

/// What ends a list of pkt-lines.
pub const FLUSH: &[u8] = b"0000";

/// The capabilities that git 2.47 asks for when a server offers all of them.
pub fn capabilities(object_format: &str) -> String {
    format!(" report-status-v2 side-band-64k object-format={object_format} agent=git/2.47.3")
}

/// A pkt-line.
pub fn pkt(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let mut line = format!("{:04x}", data.len() + 4).into_bytes();
    line.extend_from_slice(data);
    line
}

/// A request in the making: everything that a client sends after the advertisement.
#[derive(Clone, Debug, Default)]
pub struct Request {
    capabilities: String,
    shallow: Vec<String>,
    commands: Vec<String>,
    certificate: Option<(String, String)>,
    options: Option<Vec<String>>,
    pack: Bytes,
}

impl Request {
    /// A request with the [`capabilities`] of git and no command.
    pub fn new() -> Self {
        Self::new_in(format().name())
    }

    /// The same for a repository of another object format.
    pub fn new_in(object_format: &str) -> Self {
        Self { capabilities: capabilities(object_format), ..Self::default() }
    }

    /// Other capabilities; the leading space that git sends is up to the caller.
    pub fn capabilities(mut self, capabilities: &str) -> Self {
        self.capabilities = capabilities.to_owned();
        self
    }

    /// One more capability.
    pub fn capability(mut self, capability: &str) -> Self {
        self.capabilities.push(' ');
        self.capabilities.push_str(capability);
        self
    }

    /// A line `shallow`.
    pub fn shallow(mut self, id: impl ToString) -> Self {
        self.shallow.push(id.to_string());
        self
    }

    /// A command that moves a ref.
    pub fn update(mut self, name: &str, old: impl ToString, new: impl ToString) -> Self {
        self.commands.push(format!("{} {} {name}", old.to_string(), new.to_string()));
        self
    }

    /// A command that makes a ref.
    pub fn create(self, name: &str, new: impl ToString) -> Self {
        let new = new.to_string();
        self.update(name, "0".repeat(new.len()), new)
    }

    /// A command that removes a ref.
    pub fn delete(self, name: &str, old: impl ToString) -> Self {
        let old = old.to_string();
        let zero = "0".repeat(old.len());
        self.update(name, old, zero)
    }

    /// Push options, also none; adds the capability.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options = Some(options.iter().map(|option| (*option).to_owned()).collect());
        self.capability("push-options")
    }

    /// Sends the commands in a push certificate, with these headers and this signature: whole lines, each.
    pub fn signed(mut self, headers: &str, signature: &str) -> Self {
        self.certificate = Some((headers.to_owned(), signature.to_owned()));
        self
    }

    /// What follows the head: a pack, a piece of one, or anything else.
    pub fn pack(mut self, pack: impl Into<Bytes>) -> Self {
        self.pack = pack.into();
        self
    }

    /// The head: the pkt-lines before the pack, as git writes them.
    pub fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        for id in &self.shallow {
            head.extend_from_slice(&pkt(format!("shallow {id}")));
        }
        if let Some((headers, signature)) = &self.certificate {
            head.extend_from_slice(&pkt(format!("push-cert\0{}", self.capabilities)));
            let commands = self.commands.iter().map(|command| format!("{command}\n")).collect::<String>();
            for line in format!("{headers}\n{commands}{signature}push-cert-end\n").split_inclusive('\n') {
                head.extend_from_slice(&pkt(line));
            }
        }
        for (index, command) in self.commands.iter().enumerate().filter(|_| self.certificate.is_none()) {
            head.extend_from_slice(&match index {
                0 => pkt(format!("{command}\0{}", self.capabilities)),
                _ => pkt(command),
            });
        }
        head.extend_from_slice(FLUSH);
        if let Some(options) = &self.options {
            for option in options {
                head.extend_from_slice(&pkt(option));
            }
            head.extend_from_slice(FLUSH);
        }
        head
    }

    /// The whole request.
    pub fn bytes(&self) -> Bytes {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.pack);
        bytes.into()
    }
}

/// Takes the first pkt-line off `input`: `Some(data)`, or `None` for a flush-pkt.
#[track_caller]
pub fn take_pkt<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let digits = input.get(..4).unwrap_or_else(|| panic!("no pkt-line: {:?}", String::from_utf8_lossy(input)));
    let digits = std::str::from_utf8(digits).expect("four digits");
    let len = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no pkt-line length: {digits:?}"));
    let end = len.max(4);
    assert!(end <= input.len(), "a pkt-line of {len} bytes is cut short at {}", input.len());
    let (line, rest) = input.split_at(end);
    *input = rest;
    match len {
        0 => None,
        1..=3 => panic!("pkt-line {len} is not of protocol version 0"),
        _ => Some(&line[4..]),
    }
}

/// The first thing that a server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Name and id, in the order in which they came; without the `capabilities^{}` of an empty repository.
    pub refs: Vec<(String, String)>,
    /// The words after the NUL.
    pub capabilities: Vec<String>,
}

impl Advertised {
    /// Takes an advertisement off `input`.
    #[track_caller]
    pub fn take(input: &mut &[u8]) -> Self {
        let mut advertised = Self::default();
        while let Some(line) = take_pkt(input) {
            let line = String::from_utf8(line.to_vec()).expect("an advertisement of text");
            let line = line.strip_suffix('\n').unwrap_or(&line);
            let (line, capabilities) = line.split_once('\0').unwrap_or((line, ""));
            advertised.capabilities.extend(capabilities.split_whitespace().map(str::to_owned));
            let (id, name) = line.split_once(' ').expect("an id, a space, a name");
            if name != "capabilities^{}" && id != "shallow" {
                advertised.refs.push((name.to_owned(), id.to_owned()));
            }
        }
        advertised
    }
}

/// What a server says after a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Band 2: what `git push` shows as `remote: …`.
    pub progress: String,
    /// Band 3: what makes `git push` give up.
    pub fatal: String,
    /// The line `unpack`, without that word.
    pub unpack: String,
    /// Each ref with `Ok`, or with the reason of its refusal.
    pub refs: Vec<(String, Result<(), String>)>,
    /// The lines `option` of report-status-v2, each after the name of its ref.
    pub options: Vec<(String, String)>,
}

impl Reply {
    /// Reads a whole reply multiplexed by side-band-64k, which nothing may follow.
    #[track_caller]
    pub fn side_band(mut input: &[u8]) -> Self {
        let (mut report, mut progress, mut fatal) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(packet) = take_pkt(&mut input) {
            let (band, data) = packet.split_first().expect("a band");
            match band {
                1 => report.extend_from_slice(data),
                2 => progress.extend_from_slice(data),
                3 => fatal.extend_from_slice(data),
                _ => panic!("no band has the number {band}"),
            }
        }
        assert!(input.is_empty(), "after the last flush-pkt: {:?}", String::from_utf8_lossy(input));
        let mut reply = if report.is_empty() { Self::default() } else { Self::plain(&report) };
        reply.progress = String::from_utf8_lossy(&progress).into_owned();
        reply.fatal = String::from_utf8_lossy(&fatal).into_owned();
        reply
    }

    /// Reads a report that is not multiplexed, which nothing may follow.
    #[track_caller]
    pub fn plain(mut input: &[u8]) -> Self {
        let mut reply = Self::default();
        while let Some(line) = take_pkt(&mut input) {
            let line = String::from_utf8(line.to_vec()).expect("a report of text");
            let line = line.strip_suffix('\n').unwrap_or(&line);
            let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no line of a report: {line:?}"));
            match word {
                "unpack" => reply.unpack = rest.to_owned(),
                "ok" => reply.refs.push((rest.to_owned(), Ok(()))),
                "ng" => {
                    let (name, reason) = rest.split_once(' ').expect("a name, a space, a reason");
                    reply.refs.push((name.to_owned(), Err(reason.to_owned())));
                }
                "option" => {
                    let (name, _) = reply.refs.last().expect("an option follows its ref");
                    reply.options.push((name.clone(), rest.to_owned()));
                }
                _ => panic!("no line of a report: {line:?}"),
            }
        }
        assert!(input.is_empty(), "after the flush-pkt: {:?}", String::from_utf8_lossy(input));
        reply
    }

    /// The push was taken whole.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert_eq!(self.unpack, "ok", "{self:#?}");
        assert!(self.refs.iter().all(|(_, result)| result.is_ok()), "{self:#?}");
    }
}
