use std::borrow::Cow;

use bytes::Bytes;

use crate::proto::{Capabilities, Certificate, Command, Frame, Negotiated, ObjectFormat, ObjectId, Report, Rewritten};
use crate::push::Extensions;

/// One push: its head, what layers have learned about it, and its body, a stream of
/// [`PackFrame`](crate::proto::PackFrame)s.
#[derive(Debug)]
pub struct Push<B> {
    request: UpdateRequest,
    extensions: Extensions,
    body: B,
}

impl<B> Push<B> {
    /// A push with nothing in its extensions.
    pub fn new(request: UpdateRequest, body: B) -> Self {
        Self { request, extensions: Extensions::default(), body }
    }

    /// A push of these parts.
    pub fn from_parts(request: UpdateRequest, extensions: Extensions, body: B) -> Self {
        Self { request, extensions, body }
    }

    /// The parts.
    pub fn into_parts(self) -> (UpdateRequest, Extensions, B) {
        (self.request, self.extensions, self.body)
    }

    /// The head.
    pub fn request(&self) -> &UpdateRequest {
        &self.request
    }

    /// The head, to refuse some of its commands.
    pub fn request_mut(&mut self) -> &mut UpdateRequest {
        &mut self.request
    }

    /// What layers have learned about the push: who pushes, from where, to which repository.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The extensions, to add to them.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The body.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// The body, to read from it.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// The same push with another body.
    pub fn map<C>(self, body: impl FnOnce(B) -> C) -> Push<C> {
        Push { request: self.request, extensions: self.extensions, body: body(self.body) }
    }
}

/// The head of a push (gitprotocol-pack, "Reference Update Request"): everything before the pack, and what was decided
/// about each command so far.
///
/// A layer that refuses one ref of a push and lets the others through calls [`refuse`](Self::refuse) and passes the push
/// on: the store skips what is refused, and the [`Report`] says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRequest {
    format: ObjectFormat,
    capabilities: Capabilities,
    negotiated: Negotiated,
    shallow: Vec<ObjectId>,
    commands: Vec<Command>,
    push_options: Vec<Bytes>,
    certificate: Option<Certificate>,
    /// As many as there are commands.
    refusals: Vec<Option<Cow<'static, str>>>,
    /// As many as there are commands: what is done in place of one. Boxed, for there is nearly always nothing.
    rewrites: Vec<Option<Box<Rewrite>>>,
}

/// What is done in place of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rewrite {
    command: Command,
    told: Rewritten,
}

impl UpdateRequest {
    /// An empty head.
    pub fn new(format: ObjectFormat) -> Self {
        Self {
            format,
            capabilities: Capabilities::none(),
            negotiated: Negotiated::default(),
            shallow: Vec::new(),
            commands: Vec::new(),
            push_options: Vec::new(),
            certificate: None,
            refusals: Vec::new(),
            rewrites: Vec::new(),
        }
    }

    /// Adds a frame of the head; gives back a frame that does not belong to one.
    pub fn extend(&mut self, frame: Frame) -> Option<Frame> {
        match frame {
            Frame::Capabilities(more) => self.capabilities = self.capabilities.and(&more),
            Frame::Shallow(id) => self.shallow.push(id),
            Frame::Certificate(certificate) => self.certificate = Some(certificate),
            Frame::Command(command) => self.push_command(command),
            Frame::PushOption(option) => self.push_options.push(option),
            other => return Some(other),
        }
        None
    }

    /// Adds a command.
    pub fn push_command(&mut self, command: Command) {
        self.commands.push(command);
        self.refusals.push(None);
        self.rewrites.push(None);
    }

    /// Sets what was negotiated.
    pub fn set_negotiated(&mut self, negotiated: Negotiated) {
        self.negotiated = negotiated;
    }

    /// The object format that the ids are in.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// What the client asked for, its `agent` and `session-id` among it.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The program that pushes, as it calls itself: `git/2.47.3`.
    pub fn agent(&self) -> Option<&[u8]> {
        self.capabilities.value("agent")
    }

    /// What the client calls this push in its own logs (`session-id`); `None` unless the server had
    /// [told it](crate::proto::Advertisement::with_session_id) its own name for it.
    pub fn session_id(&self) -> Option<&[u8]> {
        self.capabilities.value("session-id").filter(|_| self.negotiated.session_id)
    }

    /// What was negotiated.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Where the history of the client's clone is cut off.
    pub fn shallow(&self) -> &[ObjectId] {
        &self.shallow
    }

    /// The commands, in the order of the client.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// The push options, in the order of the client.
    pub fn push_options(&self) -> &[Bytes] {
        &self.push_options
    }

    /// The certificate of a signed push. The commands are those that it lists; whether it is to be believed is for
    /// [`certificate`](crate::certificate) to find out.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// If the push options that were signed are not those that came, refuses all commands with git's
    /// `inconsistent push options`. [`read_head`](crate::push::read_head) has called this.
    pub fn judge_signed_options(&mut self) {
        let differ = |certificate: &Certificate| certificate.push_options() != self.push_options;
        if self.certificate.as_ref().is_some_and(differ) {
            self.refuse_where(|_| Some("inconsistent push options"));
        }
    }

    /// Whether a pack follows: unless every command is a deletion.
    pub fn has_pack(&self) -> bool {
        self.commands.iter().any(|command| !command.is_delete())
    }

    /// Refuses the command at `index`, for a reason of one line that the pusher reads. The first reason stays.
    pub fn refuse(&mut self, index: usize, reason: impl Into<Cow<'static, str>>) {
        if let Some(slot @ None) = self.refusals.get_mut(index) {
            *slot = Some(reason.into());
        }
    }

    /// Refuses each command that `reason` gives a reason for. It does not see those that are refused already, and of one
    /// that was [rewritten](Self::rewrite) what will be done.
    pub fn refuse_where<T: Into<Cow<'static, str>>>(&mut self, mut reason: impl FnMut(&Command) -> Option<T>) {
        for ((command, rewrite), slot) in self.commands.iter().zip(&self.rewrites).zip(&mut self.refusals) {
            if slot.is_none() {
                *slot = reason(planned(command, rewrite)).map(Into::into);
            }
        }
    }

    /// Does something else than the command at `index` asks for: moves another ref, `refs/changes/7` for `refs/for/main`;
    /// from another old id; to another new one. A client that reads `report-status-v2` is told of it, and `git push` shows
    /// what was done.
    ///
    /// [`commands`](Self::commands) are still those of the client; [`open`](Self::open), and so the store, has the other.
    /// Its name is judged by git's rules, and so is whether it is the only update of its ref; from a policy that is asked
    /// when the pack is in it may also be a ref that is hidden from pushers. Such a policy names a new id whose history
    /// it knows to be there, as that of any ref is: only what the client named is looked at when the pack comes in.
    /// Whether the update is [forced](Rewritten::forced) is the policy's to say.
    ///
    /// ```
    /// use receive_pack::proto::{ObjectId, Rewritten};
    /// use receive_pack::push::UpdateRequest;
    ///
    /// /// Whatever is pushed for review becomes the first version of a new change.
    /// fn open_changes(request: &mut UpdateRequest, mut next: u32) {
    ///     for (index, command) in request.commands().to_vec().iter().enumerate() {
    ///         if command.name.starts_with(b"refs/for/") {
    ///             // Zero: the ref is to be created.
    ///             let old = ObjectId::zero(command.new.format());
    ///             request.rewrite(index, Rewritten::of(format!("refs/changes/{next}"), old));
    ///             next += 1;
    ///         }
    ///     }
    /// }
    /// ```
    pub fn rewrite(&mut self, index: usize, to: Rewritten) {
        if let (Some(command), Some(slot)) = (self.commands.get(index), self.rewrites.get_mut(index)) {
            *slot = Some(Box::new(Rewrite { command: to.command(command), told: to.beside(command) }));
        }
    }

    /// Why the command at `index` is refused, if it is.
    pub fn refusal(&self, index: usize) -> Option<&str> {
        self.refusals.get(index)?.as_deref()
    }

    /// What is left to be done: the commands that are not refused, with their places in [`commands`](Self::commands). In
    /// place of one that was [rewritten](Self::rewrite) stands the other.
    pub fn open(&self) -> impl Iterator<Item = (usize, &Command)> {
        let open = self.planned().zip(&self.refusals).enumerate().filter(|(_, (_, refusal))| refusal.is_none());
        open.map(|(index, (command, _))| (index, command))
    }

    /// What each command comes to, refused or not.
    pub(crate) fn planned(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().zip(&self.rewrites).map(|(command, rewrite)| planned(command, rewrite))
    }

    /// Whether no command is left to carry out.
    pub fn is_refused(&self) -> bool {
        self.open().next().is_none()
    }

    /// If the push is atomic and some command is refused, refuses all others with git's `atomic push failure`.
    pub fn settle_atomic(&mut self) {
        if self.negotiated.atomic && self.refusals.iter().any(Option::is_some) {
            self.refuse_where(|_| Some("atomic push failure"));
        }
    }

    /// The report: `ok` for each command that is not refused, and what was done in place of it.
    pub fn report(&self) -> Report {
        let mut report = Report::unpacked();
        for ((command, rewrite), refusal) in self.commands.iter().zip(&self.rewrites).zip(&self.refusals) {
            match (refusal, rewrite) {
                (Some(reason), _) => report.refuse(command, reason.clone()),
                (None, None) => report.accept(command),
                (None, Some(to)) => report.accept_rewritten(command, vec![to.told.clone()]),
            }
        }
        report
    }
}

/// What a command comes to.
fn planned<'a>(command: &'a Command, rewrite: &'a Option<Box<Rewrite>>) -> &'a Command {
    rewrite.as_ref().map_or(command, |rewrite| &rewrite.command)
}
