use std::borrow::Cow;
use std::sync::Arc;

use super::pattern::Pattern;
use crate::Error;
use crate::proto::Command;
use crate::push::UpdateRequest;
use crate::receive::{PreReceive, Received};
use crate::store::ancestry::{Ancestry, MAX_COMMIT, Step, Verdict};
use crate::yield_now::yield_now;

/// Which refs may be pushed, and how. Each refusal has git's own reason where git has the rule. Cheap to clone.
///
/// A rule is given patterns of full names; see [the module](crate::rules#patterns).
#[derive(Clone, Debug)]
pub struct RefRules {
    allow: Option<Arc<[Pattern]>>,
    deny: Vec<(Arc<[Pattern]>, Cow<'static, str>)>,
    deny_deletes: Vec<Pattern>,
    deny_non_fast_forwards: Vec<Pattern>,
    max_commits: usize,
}

impl Default for RefRules {
    fn default() -> Self {
        Self::new()
    }
}

impl RefRules {
    /// No rules.
    pub fn new() -> Self {
        Self {
            allow: None,
            deny: Vec::new(),
            deny_deletes: Vec::new(),
            deny_non_fast_forwards: Vec::new(),
            max_commits: 100_000,
        }
    }

    /// Only these refs may be pushed to; any other is refused: `not an allowed ref`. Called again, it adds to them.
    #[must_use]
    pub fn allow<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let before = self.allow.iter().flat_map(|before| before.iter().cloned());
        self.allow = Some(before.chain(patterns.into_iter().map(Pattern::new)).collect());
        self
    }

    /// These refs may not be pushed to, for this reason of one line.
    #[must_use]
    pub fn deny<'a>(
        mut self,
        patterns: impl IntoIterator<Item = &'a str>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.deny.push((patterns.into_iter().map(Pattern::new).collect(), reason.into()));
        self
    }

    /// These refs may not be deleted: `deletion prohibited`. Git's `receive.denyDeletes` is this for `refs/heads/`.
    #[must_use]
    pub fn deny_deletes<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.deny_deletes.extend(patterns.into_iter().map(Pattern::new));
        self
    }

    /// The new value of these refs must have the old one in its history: `non-fast-forward`. A value that is no commit
    /// is a `bad ref`. Git's `receive.denyNonFastForwards` is this for `refs/heads/`.
    ///
    /// Judged when the pack is in; as a layer alone, the rules do not say it.
    #[must_use]
    pub fn deny_non_fast_forwards<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.deny_non_fast_forwards.extend(patterns.into_iter().map(Pattern::new));
        self
    }

    /// These refs may neither be deleted nor lose any of their history.
    #[must_use]
    pub fn protect<'a>(self, patterns: impl IntoIterator<Item = &'a str> + Clone) -> Self {
        self.deny_deletes(patterns.clone()).deny_non_fast_forwards(patterns)
    }

    /// How many commits are read to find out whether the updates of a push are fast-forwards; an update that needs more is
    /// refused: `history too long to tell a fast-forward`. Default 100,000, of about 150 bytes each. Those are read that
    /// only one of both values reaches, each once. All updates of a push together may look at each commit 16 times on the
    /// average, and read of four parents; after that only updates of few commits are judged.
    #[must_use]
    pub fn max_commits(mut self, commits: usize) -> Self {
        self.max_commits = commits;
        self
    }

    /// Refuses what the commands alone give away: all but non-fast-forwards.
    pub fn judge_head(&self, request: &mut UpdateRequest) {
        request.refuse_where(|command| self.judge(command));
    }

    fn judge(&self, command: &Command) -> Option<Cow<'static, str>> {
        let is_any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&command.name));
        if self.allow.as_deref().is_some_and(|allowed| !is_any(allowed)) {
            return Some("not an allowed ref".into());
        }
        if let Some((_, reason)) = self.deny.iter().find(|(patterns, _)| is_any(patterns)) {
            return Some(reason.clone());
        }
        (command.is_delete() && is_any(&self.deny_deletes)).then_some("deletion prohibited".into())
    }

    fn must_fast_forward(&self, command: &Command) -> bool {
        command.is_update() && self.deny_non_fast_forwards.iter().any(|pattern| pattern.matches(&command.name))
    }
}

impl PreReceive for RefRules {
    async fn pre_receive(&self, push: &mut Received<'_>) -> Result<(), Error> {
        self.judge_head(push.request_mut());
        let updates = push.request().open().filter(|(_, command)| self.must_fast_forward(command));
        let updates: Vec<_> = updates.map(|(place, command)| (place, command.old, command.new)).collect();
        let mut ancestry = Ancestry::new(push.request().format(), self.max_commits);
        for (place, old, new) in updates {
            ancestry.ask(old, new);
            let verdict = loop {
                match ancestry.step() {
                    Step::Done(verdict) => break verdict,
                    Step::Pause => yield_now().await,
                    Step::Read(id) => {
                        let object = push.object(&id, MAX_COMMIT).await?;
                        ancestry.give(id, object.as_ref().map(|(kind, data)| (*kind, &data[..])));
                    }
                }
            };
            let reason = match verdict {
                Verdict::Ancestor => continue,
                Verdict::Stranger => "non-fast-forward",
                Verdict::NoCommit => "bad ref",
                Verdict::TooLong => "history too long to tell a fast-forward",
            };
            push.request_mut().refuse(place, reason);
        }
        Ok(())
    }
}
