//! Halves of UTF-16 pairs, which some servers escape on their own when they cut a text in the midst
//! of an emoji. Strictly that is not JSON; it is the same damage as a byte that is not UTF-8, and is
//! treated alike.

/// The JSON text with every lone half replaced; `None` when there is none.
pub(super) fn mend(json: &str) -> Option<String> {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let length = match unit(escape) {
            Some(0xd800..=0xdbff) if is_low(&escape[6..]) => 12,
            Some(0xd800..=0xdfff) => 0,
            Some(_) => 6,
            // The escaped character may itself be a backslash.
            None => escape
                .char_indices()
                .nth(2)
                .map_or(escape.len(), |(end, _)| end),
        };
        mended.push_str(&escape[..length]);
        rest = &escape[length..];
        if length == 0 {
            mended.push('\u{fffd}');
            rest = &escape[6..];
            found = true;
        }
    }
    mended.push_str(rest);
    found.then_some(mended)
}

fn is_low(text: &str) -> bool {
    matches!(unit(text), Some(0xdc00..=0xdfff))
}

/// The code unit of the `\uXXXX` that a text begins with.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_halves_are_replaced_and_nothing_else() {
        let table = [
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\n\u00e9\"""#, None),
            (r#""\ud83d""#, Some("\"\u{fffd}\"")),
            (r#""a\ude00b\\""#, Some("\"a\u{fffd}b\\\\\"")),
            (
                r#""\ud83d\ud83d\ude00""#,
                Some("\"\u{fffd}\\ud83d\\ude00\""),
            ),
            (r#""\ud83dé\u12"#, Some("\"\u{fffd}é\\u12")),
            ("\\", None),
        ];
        for (json, want) in table {
            assert_eq!(mend(json).as_deref(), want, "for {json}");
        }
    }
}
