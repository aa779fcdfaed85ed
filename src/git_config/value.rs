/// True or false, as git reads it; `None` for neither.
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    match text.to_ascii_lowercase().as_slice() {
        b"true" | b"yes" | b"on" => Some(true),
        b"" | b"false" | b"no" | b"off" => Some(false),
        _ => integer(text).map(|number| number != 0),
    }
}

/// A number as git reads it where it has an `int`: decimal, `0x` hexadecimal or `0` octal, in units or in those that `k`,
/// `m` and `g` stand for. `None` for anything else, and for one too large.
pub(crate) fn integer(text: &[u8]) -> Option<i32> {
    // git has no use for the least of all numbers.
    i32::try_from(long(text)?).ok().filter(|number| *number != i32::MIN)
}

/// The same where git has an `int64`.
pub(crate) fn long(text: &[u8]) -> Option<i64> {
    let (number, rest) = strtol(text, None)?;
    let unit = match rest.to_ascii_lowercase().as_slice() {
        b"" => 1,
        b"k" => 1 << 10,
        b"m" => 1 << 20,
        b"g" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit).filter(|number| *number != i64::MIN)
}

/// An octal number, as the permissions of files are, and nothing behind it.
pub(crate) fn octal(text: &[u8]) -> Option<i32> {
    let (number, rest) = strtol(text, Some(8))?;
    i32::try_from(number).ok().filter(|_| rest.is_empty())
}

/// The function of C: the number that a text begins with, and what stands behind it. Without a radix the number says its
/// own.
fn strtol(text: &[u8], radix: Option<u32>) -> Option<(i64, &[u8])> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = text.get(text.iter().position(|byte| !is_space(byte))?..)?;
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (radix, text) = match (radix, text) {
        (None, [b'0', b'x' | b'X', rest @ ..]) if rest.first().is_some_and(u8::is_ascii_hexdigit) => (16, rest),
        (None, [b'0', ..]) => (8, text),
        _ => (radix.unwrap_or(10), text),
    };
    let mut number = 0_i64;
    let mut rest = text;
    while let [first, behind @ ..] = rest
        && let Some(digit) = char::from(*first).to_digit(radix)
    {
        number = number.checked_mul(i64::from(radix))?.checked_add(i64::from(digit))?;
        rest = behind;
    }
    let number = if negative { number.checked_neg()? } else { number };
    (rest.len() < text.len()).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::bare_repository::testing::try_git;

    #[test]
    fn numbers_are_read_as_git_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut numbers = 0;
        for text in [
            "0",
            "1",
            "-1",
            "+1",
            "+-1",
            "- 1",
            " 1",
            "1 ",
            "\t1",
            "0x1",
            "0X10",
            "-0x2",
            "0x",
            "0xg",
            "0x1k",
            "010",
            "08",
            "00",
            "2k",
            "1K",
            "1M",
            "1g",
            "1G",
            "2g",
            "-1g",
            "-2g",
            "1kk",
            "1kb",
            "k",
            "",
            " ",
            "maybe",
            "2147483647",
            "2147483648",
            "-2147483647",
            "-2147483648",
            "3000000000",
            "99999999999999999999",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775807",
            "-9223372036854775808",
            "8589934591g",
            "8589934592g",
            "0777",
            "0x7fffffff",
            "2097151k",
            "2097152k",
            "1.5",
            "0b1",
            "true",
            "Off",
            "1_000",
        ] {
            let path = dir.path().join("config");
            std::fs::write(&path, format!("[a]\nb = \"{}\"\n", text.replace('\t', "\\t"))).unwrap();
            let git = |kind: &str| {
                let output = try_git(dir.path(), &["config", "--file", path.to_str().unwrap(), kind, "a.b"]);
                output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
            };
            let is_true = git("--type=bool");
            assert_eq!(boolean(text.as_bytes()).map(|value| value.to_string()), is_true, "{text:?}");
            // What is no word is an `int` here.
            let number = git("--type=bool-or-int").filter(|value| !["true", "false"].contains(&value.as_str()));
            assert_eq!(integer(text.as_bytes()).map(|value| value.to_string()), number, "{text:?}");
            assert_eq!(long(text.as_bytes()).map(|value| value.to_string()), git("--type=int"), "{text:?}");
            numbers += usize::from(number.is_some());
        }
        assert!(numbers > 20, "{numbers}");
    }

    #[test]
    fn an_octal_number_has_no_prefix_and_no_unit() {
        for (text, expected) in [
            ("0660", Some(0o660)),
            (" 1", Some(1)),
            ("-1", Some(-1)),
            ("", None),
            ("9", None),
            ("0x1", None),
            ("1k", None),
        ] {
            assert_eq!(octal(text.as_bytes()), expected, "{text:?}");
        }
    }
}
