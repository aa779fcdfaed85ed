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
        return !has_encoded_line_feed(url) && !(climbs && matches!(rest.first(), Some(b':' | b'/')));
    }
    match for_curl(url) {
        // A line feed would begin another line of git's credential protocol.
        Some(url) => is_well_formed(url) && !has_encoded_line_feed(url),
        None => true,
    }
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

fn has_encoded_line_feed(url: &[u8]) -> bool {
    url.contains(&b'\n') || url.windows(3).any(|three| three.eq_ignore_ascii_case(b"%0a"))
}

/// Whether git could normalize the URL: scheme, host and port are ones, and no `..` goes above the first directory.
fn is_well_formed(url: &[u8]) -> bool {
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
    let authority = at.and_then(|at| authority.get(at.saturating_add(1)..)).unwrap_or(authority);
    is_good_authority(authority, scheme) && is_good_path(path)
}

/// Each `%` is followed by two hexadecimal digits.
fn has_good_escapes(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'%')
        .skip(1)
        .all(|rest| matches!(rest, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

/// `host`, or `host:port`.
fn is_good_authority(authority: &[u8], scheme: &[u8]) -> bool {
    if authority.first().is_none_or(|byte| *byte == b':') {
        return scheme.eq_ignore_ascii_case(b"file");
    }
    let colon = authority.iter().rposition(|byte| b":]".contains(byte));
    let colon = colon.filter(|at| authority.get(*at) == Some(&b':'));
    let (host, port) = match colon {
        Some(at) => (authority.get(..at).unwrap_or_default(), authority.get(at.saturating_add(1)..)),
        None => (authority, None),
    };
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_[:]".contains(byte);
    host.iter().all(is_host) && port.is_none_or(is_good_port)
}

/// 1 to 65535, or nothing.
fn is_good_port(port: &[u8]) -> bool {
    let digits = port.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(port).ok().and_then(|port| port.parse::<u16>().ok());
    port.is_empty() || (digits && number.is_some_and(|number| number > 0))
}

fn is_good_path(path: &[u8]) -> bool {
    let path = path.split(|byte| b"?#".contains(byte)).next().unwrap_or_default();
    let mut depth = 0_usize;
    for part in path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/') {
        match &unescape_dots(part)[..] {
            b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return false,
            },
            _ => depth = depth.saturating_add(1),
        }
    }
    true
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
