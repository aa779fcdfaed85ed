use std::borrow::Cow;

use super::{BadLine, read, value};

/// The variables of a repository's configuration file.
///
/// Only what that file itself says: it is for others to follow an `include`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    // Keys are as `git config --list` prints them: section and name in lower case, the subsection as it stands.
    variables: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Config {
    /// Reads a configuration file.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, BadLine> {
        let mut config = Self::default();
        read(text, |variable| {
            let mut key = Vec::new();
            if let Some(section) = variable.section {
                key.extend_from_slice(section);
                key.push(b'.');
            }
            key.extend_from_slice(variable.name);
            config.variables.push((key, variable.value.map(<[u8]>::to_vec)));
        })?;
        Ok(config)
    }

    /// The last value of a variable. A variable without `=` has the value `true`.
    pub(crate) fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        let (_, value) = self.variables.iter().rev().find(|(name, _)| name == key.as_bytes())?;
        Some(value.as_deref().map_or(Cow::Borrowed(b"true"), Cow::Borrowed))
    }

    /// All values of some variables that make one list together, in the order of the file: `Err` with the name of one that
    /// stands there without `=`.
    pub(crate) fn all<'a>(&'a self, keys: &[&'a str]) -> Result<Vec<&'a [u8]>, &'a str> {
        let key = |name: &[u8]| keys.iter().find(|key| key.as_bytes() == name);
        let meant = self.variables.iter().filter_map(|(name, value)| Some((*key(name)?, value)));
        meant.map(|(key, value)| value.as_deref().ok_or(key)).collect()
    }

    /// A variable that is true or false: `Err` with the value if it is neither.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, Vec<u8>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value::boolean(&value).map(Some).ok_or_else(|| value.into_owned())
    }

    /// A variable that is a number: `Err` with the value if it is not.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i32>, Vec<u8>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value::integer(&value).map(Some).ok_or_else(|| value.into_owned())
    }

    /// A variable that is a number of 64 bits: `Err` with the value if it is not.
    pub(crate) fn long(&self, key: &str) -> Result<Option<i64>, Vec<u8>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value::long(&value).map(Some).ok_or_else(|| value.into_owned())
    }

    /// All that is said, in the order of the file: names with their section, and what stands behind `=`.
    pub(crate) fn into_variables(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.variables.into_iter()
    }

    /// Says one thing more.
    pub(crate) fn push(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.variables.push((key, value));
    }

    /// Reads another file behind this one: where both say something, that one counts.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.variables.append(&mut later.variables);
    }

    /// All variables of a section, in the order of the file: names without the section.
    pub(crate) fn section<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        self.variables.iter().filter_map(move |(key, value)| {
            let name = key.strip_prefix(section.as_bytes())?.strip_prefix(b".")?;
            Some((name, value.as_deref()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_types() {
        let config = Config::parse(b"[a]\nyes\nno=\nn=2k\nbad=maybe\nlist=1\nlist=\nmore\n").unwrap();
        assert_eq!(config.boolean("a.yes"), Ok(Some(true)));
        assert_eq!(config.boolean("a.no"), Ok(Some(false)));
        assert_eq!(config.boolean("a.none"), Ok(None));
        assert_eq!(config.boolean("a.bad"), Err(b"maybe".to_vec()));
        assert_eq!(config.integer("a.n"), Ok(Some(2048)));
        assert!(config.integer("a.bad").is_err() && config.integer("a.yes").is_err());
        assert_eq!((config.long("a.n"), config.long("a.none")), (Ok(Some(2048)), Ok(None)));
        assert_eq!(config.long("a.yes"), Err(b"true".to_vec()));
        assert_eq!(config.all(&["a.list", "a.none"]), Ok(vec![b"1".as_slice(), b""]));
        assert_eq!(config.all(&["a.list", "a.more"]), Err("a.more"));
    }
}
