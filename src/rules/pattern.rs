/// A pattern for names of refs: see the table in the documentation of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// `*`
    WithinLevel,
    /// `**`, and what follows a `/` at the end.
    Anything,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        for byte in text.bytes() {
            match (byte, parts.last_mut()) {
                (b'*', Some(last @ (Part::WithinLevel | Part::Anything))) => *last = Part::Anything,
                (b'*', _) => parts.push(Part::WithinLevel),
                (byte, _) => parts.push(Part::Byte(byte)),
            }
        }
        if text.ends_with('/') {
            parts.push(Part::Anything);
        }
        Self { parts }
    }

    /// Whether all of the name matches. Takes the product of both lengths, whatever stars there are.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        // `open[n]`: the first `n` parts match what was read of the name.
        let mut open = vec![false; self.parts.len().saturating_add(1)];
        if let Some(first) = open.first_mut() {
            *first = true;
        }
        self.skip_stars(&mut open);
        for byte in name {
            let mut next = vec![false; open.len()];
            for (n, part) in self.parts.iter().enumerate().filter(|(n, _)| open.get(*n) == Some(&true)) {
                // A star takes the byte and stays; a byte is taken and gone.
                let reached = match part {
                    Part::Byte(wanted) => (wanted == byte).then_some(n.saturating_add(1)),
                    Part::WithinLevel => (*byte != b'/').then_some(n),
                    Part::Anything => Some(n),
                };
                if let Some(slot) = reached.and_then(|reached| next.get_mut(reached)) {
                    *slot = true;
                }
            }
            self.skip_stars(&mut next);
            open = next;
        }
        open.last() == Some(&true)
    }

    /// A star may stand for nothing.
    fn skip_stars(&self, open: &mut [bool]) {
        for (n, part) in self.parts.iter().enumerate() {
            if open.get(n) == Some(&true)
                && !matches!(part, Part::Byte(_))
                && let Some(slot) = open.get_mut(n.saturating_add(1))
            {
                *slot = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn names_match_patterns_whole() {
        for (pattern, yes, no) in [
            (
                "refs/heads/main",
                &["refs/heads/main"][..],
                &["refs/heads/main2", "refs/heads/mai", "", "xrefs/heads/main"][..],
            ),
            ("refs/heads/", &["refs/heads/a", "refs/heads/a/b"], &["refs/heads", "refs/headsx/a", "refs/tags/a"]),
            ("refs/heads/*", &["refs/heads/a", "refs/heads/"], &["refs/heads/a/b", "refs/tags/a"]),
            ("refs/*/wip", &["refs/heads/wip", "refs//wip"], &["refs/heads/a/wip", "refs/wip"]),
            ("refs/**/wip", &["refs/heads/a/wip", "refs/heads/wip"], &["refs/heads/wip/a", "refs/wip"]),
            (
                "refs/heads/a*b*c",
                &["refs/heads/abc", "refs/heads/aXbYc", "refs/heads/abcbc"],
                &["refs/heads/ab", "refs/heads/aX/bc"],
            ),
            ("**", &["", "refs/heads/a"], &[]),
            ("", &[""], &["a"]),
        ] {
            for name in yes {
                assert!(Pattern::new(pattern).matches(name.as_bytes()), "{pattern} should match {name}");
            }
            for name in no {
                assert!(!Pattern::new(pattern).matches(name.as_bytes()), "{pattern} should not match {name}");
            }
        }
    }
}
