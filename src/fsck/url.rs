//! URLs of submodules: what git's remote helpers would take for something else.

/// Whether git would hand this URL to its helpers without harm.
pub(super) fn is_good(url: &[u8]) -> bool {
    if url.starts_with(b"-") {
        return false;
    }
    if is_relative(url) || url.starts_with(b"git://") {
        // It may be put behind the URL of the repository. One with more `..` than that has directories could take
        // away its host.
        let (climbs, rest) = leading_dots(url);
        let replaces_host = climbs && matches!(rest.first(), Some(b':' | b'/'));
        // git takes what stands before the first colon for a protocol, and does not decode it.
        let protocol = url.iter().position(|byte| *byte == b':').unwrap_or_default();
        let (protocol, decoded) = url.split_at_checked(protocol).unwrap_or_default();
        return !replaces_host && !protocol.contains(&b'\n') && !has_line_feed(decoded);
    }
    for_curl(url).is_none_or(is_good_for_curl)
}

fn is_separator(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'/' | b'\\'))
}

fn strip_dot_slash(url: &[u8]) -> Option<&[u8]> {
    url.strip_prefix(b".").filter(|rest| is_separator(rest.first())).and_then(|rest| rest.get(1..))
}

fn strip_dot_dot_slash(url: &[u8]) -> Option<&[u8]> {
    url.strip_prefix(b".").and_then(strip_dot_slash)
}

fn is_relative(url: &[u8]) -> bool {
    strip_dot_slash(url).is_some() || strip_dot_dot_slash(url).is_some()
}

/// Whether there are any `../` in front, and what follows them and all `./`.
fn leading_dots(mut url: &[u8]) -> (bool, &[u8]) {
    let mut climbs = false;
    loop {
        if let Some(rest) = strip_dot_dot_slash(url) {
            (climbs, url) = (true, rest);
        } else if let Some(rest) = strip_dot_slash(url) {
            url = rest;
        } else {
            return (climbs, url);
        }
    }
}

/// The URL that curl would see.
fn for_curl(url: &[u8]) -> Option<&[u8]> {
    const SCHEMES: [&[u8]; 4] = [b"http", b"https", b"ftp", b"ftps"];
    SCHEMES.iter().find_map(|scheme| {
        let rest = url.strip_prefix(*scheme)?;
        rest.strip_prefix(b"::").or_else(|| rest.starts_with(b"://").then_some(url))
    })
}

/// As it stands, or encoded.
fn has_line_feed(url: &[u8]) -> bool {
    url.contains(&b'\n') || url.windows(3).any(|three| three.eq_ignore_ascii_case(b"%0a"))
}

/// Whether git could normalize the URL: scheme, host and port are ones, and no `..` goes above the first directory. And
/// whether no line feed is in what it is then, which would begin another line of git's credential protocol.
fn is_good_for_curl(url: &[u8]) -> bool {
    let scheme = url.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(byte)).count();
    let Some((scheme, rest)) = url.split_at_checked(scheme) else { return false };
    let Some(rest) = rest.strip_prefix(b"://") else { return false };
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !has_good_escapes(rest) {
        return false;
    }
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let Some((authority, path)) = rest.split_at_checked(end) else { return false };
    // As git does it: user and password end at the first @.
    let at = authority.iter().position(|byte| *byte == b'@');
    let (user, host) = authority.split_at_checked(at.map_or(0, |at| at.saturating_add(1))).unwrap_or_default();
    let end = path.iter().position(|byte| b"?#".contains(byte)).unwrap_or(path.len());
    let Some((path, query)) = path.split_at_checked(end) else { return false };
    !has_line_feed(user) && is_good_host(host, scheme) && is_good_path(path) && !has_line_feed(query)
}

/// Each `%` is followed by two hexadecimal digits.
fn has_good_escapes(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'%')
        .skip(1)
        .all(|rest| matches!(rest, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

/// `host`, or `host:port`. Only that of a `file:` may be empty, and then it has no port.
fn is_good_host(text: &[u8], scheme: &[u8]) -> bool {
    let is_empty = text.first().is_none_or(|byte| *byte == b':');
    let colon = text.iter().rposition(|byte| b":]".contains(byte));
    let colon = colon.filter(|at| text.get(*at) == Some(&b':'));
    let (host, port) = match colon {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at.saturating_add(1)..).unwrap_or_default()),
        None => (text, &b""[..]),
    };
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_[:]".contains(byte);
    let is_known = if is_empty { scheme.eq_ignore_ascii_case(b"file") && port.is_empty() } else { is_good_port(port) };
    is_known && host.iter().all(is_host)
}

/// 1 to 65535, or nothing.
fn is_good_port(port: &[u8]) -> bool {
    let digits = port.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(port).ok().and_then(|port| port.parse::<u16>().ok());
    port.is_empty() || (digits && number.is_some_and(|number| number > 0))
}

/// No `..` goes above the first directory, and no segment that is still there once all of them are resolved has a line
/// feed.
fn is_good_path(path: &[u8]) -> bool {
    // Of each segment that is there, whether it has one.
    let mut segments = Vec::new();
    for part in path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/') {
        match &unescape_dots(part)[..] {
            b"." => {}
            b".." => {
                if segments.pop().is_none() {
                    return false;
                }
            }
            _ => segments.push(has_line_feed(part)),
        }
    }
    !segments.contains(&true)
}

/// A segment of dots may be written with escapes.
fn unescape_dots(part: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((byte, after)) = rest.split_first() {
        rest = match rest {
            [b'%', b'2', b'e' | b'E', after @ ..] => {
                plain.push(b'.');
                after
            }
            _ => {
                plain.push(*byte);
                after
            }
        };
    }
    plain
}
