//! Text from others as it may be printed.
//!
//! Names, reasons and log lines come from peers. Printed as they are, they could move the cursor, recolour or rewrite a
//! terminal, forge further lines, or show a name backwards.

use core::fmt::Write as _;

/// Whether a character steers a terminal or hides how a text reads, instead of being seen: controls, line and paragraph
/// separators, bidirectional overrides and isolates (CVE-2021-42574), zero-width spaces, tags, specials. The
/// joiners that Persian, Indic scripts and emoji need are not among them.
pub const fn is_misleading(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every misleading character as `\r`, `\n`, `\t` or `\u{…}`. What it returns is one line.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            // Writing to a string cannot fail.
            c if is_misleading(c) => drop(write!(safe, "\\u{{{:x}}}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_readers_are_not_steered() {
        for (text, expected) in [
            ("größe & name.bin – 発注書 🚢", "größe & name.bin – 発注書 🚢"),
            ("Icon\r", "Icon\\r"),
            ("a\nerror: forged", "a\\nerror: forged"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("invoice\u{202e}fdp.exe", "invoice\\u{202e}fdp.exe"),
            ("a\u{200b}b\u{2066}c\u{feff}\u{e0041}", "a\\u{200b}b\\u{2066}c\\u{feff}\\u{e0041}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
