/// How severe a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The push is refused.
    Error,
    /// The pusher is told.
    Warning,
    /// Nothing happens.
    Ignore,
}

/// What git would do about it, before a configuration says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Default {
    /// An error, whatever the configuration says: what follows cannot be read.
    Fatal,
    Error,
    /// An error where checks are strict, as they are for pushes.
    Warning,
    /// A warning, also where checks are strict.
    Info,
    Ignore,
}

macro_rules! messages {
    ($($variant:ident $id:literal $default:ident $doc:literal;)*) => {
        /// A rule that an object may break, by git's name for it (git-fsck, "FSCK MESSAGES").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Message {
            $(#[doc = $doc] $variant,)*
        }

        impl Message {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Git's name for it, as in `receive.fsck.<name>`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            const fn default(self) -> Default {
                match self { $(Self::$variant => Default::$default,)* }
            }
        }
    };
}

messages! {
    NulInHeader "nulInHeader" Fatal "There is a NUL in the headers of a commit or tag.";
    UnterminatedHeader "unterminatedHeader" Fatal "The headers of a commit or tag have no end.";
    BadDate "badDate" Error "A person's line has no date.";
    BadDateOverflow "badDateOverflow" Error "A date does not fit 63 bits.";
    BadEmail "badEmail" Error "An e-mail address has no end, or another begins in it.";
    BadName "badName" Error "A name has a `>` in it.";
    BadObjectSha1 "badObjectSha1" Error "The line `object` of a tag has no id.";
    BadParentSha1 "badParentSha1" Error "A line `parent` has no id.";
    BadTimezone "badTimezone" Error "A time zone is not a sign and four digits.";
    BadTree "badTree" Error "A tree cannot be read.";
    BadTreeSha1 "badTreeSha1" Error "The line `tree` of a commit has no id.";
    BadType "badType" Error "A tag is of no kind of object.";
    DuplicateEntries "duplicateEntries" Error "A tree has two entries of one name.";
    MissingAuthor "missingAuthor" Error "A commit has no author.";
    MissingCommitter "missingCommitter" Error "A commit has no committer.";
    MissingEmail "missingEmail" Error "A person has no e-mail address.";
    MissingNameBeforeEmail "missingNameBeforeEmail" Error "A person has no name.";
    MissingObject "missingObject" Error "A tag has no line `object`.";
    MissingSpaceBeforeDate "missingSpaceBeforeDate" Error "No space stands before a date.";
    MissingSpaceBeforeEmail "missingSpaceBeforeEmail" Error "No space stands before an e-mail address.";
    MissingTag "missingTag" Error "The line `tag` has no end.";
    MissingTagEntry "missingTagEntry" Error "A tag has no line `tag`.";
    MissingTree "missingTree" Error "A commit has no line `tree`.";
    MissingType "missingType" Error "The line `type` has no end.";
    MissingTypeEntry "missingTypeEntry" Error "A tag has no line `type`.";
    MultipleAuthors "multipleAuthors" Error "A commit has more than one author.";
    TreeNotSorted "treeNotSorted" Error "The entries of a tree are not in order.";
    ZeroPaddedDate "zeroPaddedDate" Error "A date begins with a zero.";
    GitmodulesMissing "gitmodulesMissing" Error "A `.gitmodules` cannot be read.";
    GitmodulesBlob "gitmodulesBlob" Error "A `.gitmodules` is no blob.";
    GitmodulesLarge "gitmodulesLarge" Error "A `.gitmodules` is too large to be read.";
    GitmodulesName "gitmodulesName" Error "The name of a submodule leads out of its directory.";
    GitmodulesSymlink "gitmodulesSymlink" Error "`.gitmodules` is a symbolic link.";
    GitmodulesUrl "gitmodulesUrl" Error "The URL of a submodule could be taken for an option, or for another URL.";
    GitmodulesPath "gitmodulesPath" Error "The path of a submodule could be taken for an option.";
    GitmodulesUpdate "gitmodulesUpdate" Error "A submodule would have a command run.";
    GitattributesMissing "gitattributesMissing" Error "A `.gitattributes` cannot be read.";
    GitattributesLarge "gitattributesLarge" Error "A `.gitattributes` is too large to be read.";
    GitattributesLineLength "gitattributesLineLength" Error "A line of a `.gitattributes` is longer than 2,047 bytes.";
    GitattributesBlob "gitattributesBlob" Error "A `.gitattributes` is no blob.";
    EmptyName "emptyName" Warning "A tree has an entry without a name.";
    FullPathname "fullPathname" Warning "The name of an entry has a `/` in it.";
    HasDot "hasDot" Warning "A tree has an entry `.`.";
    HasDotdot "hasDotdot" Warning "A tree has an entry `..`.";
    HasDotgit "hasDotgit" Warning "A tree has an entry that some file system takes for `.git`.";
    LargePathname "largePathname" Warning "The name of an entry is longer than 4,096 bytes.";
    NullSha1 "nullSha1" Warning "An entry of a tree points at the zero id.";
    ZeroPaddedFilemode "zeroPaddedFilemode" Warning "The mode of an entry begins with a zero.";
    NulInCommit "nulInCommit" Warning "There is a NUL in the message of a commit.";
    BadFilemode "badFilemode" Info "The mode of an entry is none that git makes.";
    GitmodulesParse "gitmodulesParse" Info "A `.gitmodules` is no configuration file.";
    GitignoreSymlink "gitignoreSymlink" Info "`.gitignore` is a symbolic link.";
    GitattributesSymlink "gitattributesSymlink" Info "`.gitattributes` is a symbolic link.";
    MailmapSymlink "mailmapSymlink" Info "`.mailmap` is a symbolic link.";
    BadTagName "badTagName" Info "The name of a tag could not be a ref's.";
    MissingTaggerEntry "missingTaggerEntry" Info "A tag has no tagger.";
    ExtraHeaderEntry "extraHeaderEntry" Ignore "A tag has more headers.";
}

impl Message {
    /// The message of this name, in any case, as git-config reads them.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|message| message.id().eq_ignore_ascii_case(id))
    }

    /// Whether no configuration makes it anything but an error.
    pub fn is_fatal(self) -> bool {
        self.default() == Default::Fatal
    }

    /// How severe it is unless a configuration says otherwise. Strict checks, those of a push, take warnings for errors.
    pub fn severity(self, strict: bool) -> Severity {
        match self.default() {
            Default::Fatal | Default::Error => Severity::Error,
            Default::Warning if strict => Severity::Error,
            Default::Warning | Default::Info => Severity::Warning,
            Default::Ignore => Severity::Ignore,
        }
    }
}
