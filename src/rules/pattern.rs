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

    /// Whether all of the name matches. Takes the product of both lengths at most, whatever stars there are.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        // How many of the first parts match what was read of the name: in order, and mostly there is one such number.
        let (mut open, mut next) = (Vec::new(), Vec::new());
        self.open(&mut open, 0);
        for byte in name {
            let matches_whatever_comes = self.parts.last() == Some(&Part::Anything) && self.is_end(&open);
            if matches_whatever_comes || open.is_empty() {
                return matches_whatever_comes;
            }
            for &n in &open {
                // A star takes the byte and stays; a byte is taken and gone.
                match self.parts.get(n) {
                    Some(Part::Byte(wanted)) if wanted == byte => self.open(&mut next, n.saturating_add(1)),
                    Some(Part::WithinLevel) if *byte != b'/' => self.open(&mut next, n),
                    Some(Part::Anything) => self.open(&mut next, n),
                    _ => {}
                }
            }
            std::mem::swap(&mut open, &mut next);
            next.clear();
        }
        self.is_end(&open)
    }

    /// Notes that the first `n` parts match. No two stars follow each other, so that the numbers come in order.
    fn open(&self, open: &mut Vec<usize>, n: usize) {
        let is_star = matches!(self.parts.get(n), Some(Part::WithinLevel | Part::Anything));
        // A star may stand for nothing.
        for n in [Some(n), is_star.then(|| n.saturating_add(1))].into_iter().flatten() {
            if open.last().is_none_or(|last| *last < n) {
                open.push(n);
            }
        }
    }

    fn is_end(&self, open: &[usize]) -> bool {
        open.last() == Some(&self.parts.len())
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
