//! Contents of special files, those that break rules and those that do not.

use super::support::rng::Rng;

/// How many URLs are made by chance.
const RANDOM: usize = 300;

const START: [&str; 8] = ["", "./", "git://", "http://", "http://h", "https://h/", "http::file://", "http::file://h/"];
const PARTS: [&str; 24] = [
    "/", "/", "/", "..", "/..", ".", "%2e", "a", "b", ":", ":", "@", "80", "%0a", "%0A", "\\n", "?", "#", "%", "[",
    "]", " ", "%00", "%25",
];

fn with_url(url: &str) -> Vec<u8> {
    format!("[submodule \"a\"]\n\turl = \"{url}\"\n").into_bytes()
}

/// Contents of a `.gitmodules`.
pub(super) fn modules() -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for name in ["a", "", "..", "a/..", "../a", "a/../b", "a\\\\..\\\\b", "..a", "a..", "a/..b", "a.b"] {
        files.push(format!("[submodule \"{name}\"]\n\tpath = x\n\turl = https://example.org/x\n").into_bytes());
    }
    for url in [
        "https://example.org/x",
        "http://example.org/x",
        "-x",
        "--upload-pack=x",
        "./x",
        "../x",
        "../../x",
        "..\\\\x",
        "../:x",
        "..//x",
        ".././:x",
        ".//x",
        "./:x",
        "../x%0ay",
        "x%0Ay",
        "git://x/%0a",
        "git://x/",
        "git:///../:x",
        "https://x/%0ay",
        "http::https://x/%0a",
        "https::x",
        "https:://x",
        "https:///x",
        "https://:80/x",
        "ftp://x",
        "ftps://x:21/",
        "https://x:0/",
        "https://x:65535/",
        "https://x:65536/",
        "https://x:8a/",
        "https://x:/",
        "https://x:000443/",
        "https://x:080/",
        "https://u:p@x/",
        "https://u%0ap@x/",
        "https://x/..",
        "https://x/a/..",
        "https://x/a/../..",
        "https://x/%2e%2E/",
        "https://x/./a",
        "https://x?..",
        "https://x/a?b#c",
        "https://x/%zz",
        "https://x/%4",
        "https://x y/",
        "https://[::1]/",
        "https://[::1]:8/",
        "https://x/a//..",
        "https://x//../..",
        "https://",
        "https://?x",
        "ssh://x/%0a",
        "file:///%0a",
        "user@host:%0a",
        "/x",
        "x",
        "ext::sh -c x",
        "https://x/\\n",
        "./\\n",
        "http::file://:80/x",
        "http::file://:/x",
        "http::file://:x:/x",
        "http::file://:8]/x",
        "http::file:///x",
        "http::FILE:///x",
        "http::file://u@:80/x",
        "http::file://u@/x",
        "http::file://x:80/x",
        "http::file://",
        "./x%0a:y",
        "./x\\n:y",
        "./x:%0ay",
        ":./x%0a",
        "git:%0a//x",
        "http://h/a%0a/../b",
        "http://h/a%0a/b/..",
        "http://h/a%0a/./../b",
        "http://h/a//%0A/..",
        "http://h/a\\n/../b",
        "http://h/../a%0a",
        "http://h/..?%0a",
        "http://h/a?%0a/../b",
        "http://h?b#%0a",
        "http://%0a/..",
        "http://u%0a@h/../b",
        "http://h/%0a/%2e./b",
    ] {
        files.push(with_url(url));
    }
    // And whatever else can be made of the parts of a URL.
    let mut rng = Rng::new(7);
    for _ in 0..RANDOM {
        let url = START[rng.below(START.len() as u64) as usize].to_owned();
        let url = (0..rng.below(9)).fold(url, |url, _| url + PARTS[rng.below(PARTS.len() as u64) as usize]);
        files.push(with_url(&url));
    }
    for rest in [
        "path = -x",
        "path = x",
        "path",
        "url",
        "update = !x",
        "update = none",
        "update",
        "update = \"! x\"",
        "URL = -x",
    ] {
        files.push(format!("[submodule \"a\"]\n\t{rest}\n").into_bytes());
    }
    for text in [
        // git takes a carriage return in a header for white space, and the end of the file for that of a line.
        "[a\r\"b\"]\nx = 1\n[submodule \"../evil\"]\npath = -x\nurl = -u./p\n",
        "[submodule \r\"../evil2\"]\npath = -y\n",
        "[submodule\r\"../evil2\"]\npath = -y\n",
        "[submodule\r\n\"../evil2\"]\npath = -y\n",
        "[submodule \"a\"]\npath = a\nurl = -u./payload\\",
        "[submodule \"a\"]\npath = \"a\nurl = \"-u./payload\\",
        "[]\nx = 1\n[submodule \"a\"]\nurl = -x\n",
        "[ \"\"]\nx = 1\n[submodule \"a\"]\nurl = -x\n",
        "\x0c[submodule \"a\"]\nurl = -x\n",
        "\r[submodule \"a\"]\nurl = -x\n",
        "[submodule \"a\"]\nurl =\x0c-x\n",
        "[submodule \"a\"]\nurl =\x0b-x\n",
        "[submodule \"a\"]\nurl =\r-x\n",
        // For git a text ends at a NUL.
        "[submodule \"a.url\0\"]\nx = -x\n",
        "[submodule \"a.b\0\"]\nurl = -x\n",
        "[submodule \"a/..\0\"]\nurl = -x\n",
        "[submodule \"../a.x\0\"]\nx = 1\n",
        "[submodule \"\0a\"]\nurl = -x\n",
        "[submodule \"a\"]\nurl = http://x/\0%0a\n",
        "[submodule \"a\"]\nurl = \0-x\n",
        "",
        "nonsense",
        "[submodule \"a\"]\nurl = -x\n[bad",
        "[submodule]\nurl = -x\n",
        "[submodule.A]\nurl = -x\n",
        "[other \"a\"]\nurl = -x\n",
        "[submodule \"a\"]\nurl = -x\nurl = -y\npath = -z\n",
        "[submodule \"..\"]\n[submodule \"../b\"]\na\nurl = -x\nb\n[submodule \"../c\"]\nupdate = !x\nurl = -y\n",
    ] {
        files.push(text.as_bytes().to_vec());
    }
    files
}

/// Contents of a `.gitattributes`.
pub(super) fn attributes() -> Vec<Vec<u8>> {
    let line = |len: usize| b"a".repeat(len);
    let two = [&b"* text\n"[..], &line(2048)].concat();
    vec![
        b"* text\n".to_vec(),
        line(2047),
        line(2048),
        [&line(2047)[..], b"\n"].concat(),
        two,
        [b"\0".to_vec(), line(4000)].concat(),
    ]
}
