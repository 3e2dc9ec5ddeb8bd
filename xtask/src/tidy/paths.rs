//! Paths as Rust code writes them: `a::b::{c, d as e}` expanded to one list of names each.

use super::source::in_name;

/// One path, outermost name first.
pub(crate) type Path = Vec<String>;

/// Expands the path or use tree that `text` begins with. A glob ends in `*`, a name behind `as` is left out.
pub(crate) fn expand(text: &str) -> Vec<Path> {
    let mut found = Vec::new();
    tree(text, &Path::new(), &mut found);
    found
}

/// Reads one tree below `prefix` and returns what follows it.
fn tree<'a>(text: &'a str, prefix: &Path, found: &mut Vec<Path>) -> &'a str {
    let mut path = prefix.clone();
    let mut rest = text.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            return branches(group, &path, found);
        }
        if let Some(after) = rest.strip_prefix('*') {
            path.push("*".into());
            rest = after;
            break;
        }
        let end = rest.find(|letter| !in_name(letter)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            break;
        }
        path.push(name.into());
        rest = after;
        match after.trim_start().strip_prefix("::") {
            Some(more) => rest = more.trim_start(),
            None => break,
        }
    }
    found.push(path);
    rest
}

fn branches<'a>(group: &'a str, prefix: &Path, found: &mut Vec<Path>) -> &'a str {
    let mut rest = group.trim_start();
    while !rest.is_empty() && !rest.starts_with('}') {
        rest = tree(rest, prefix, found);
        // Over `as name` and the comma.
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        rest = rest[end..].trim_start_matches(',').trim_start();
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn groups_globs_and_renames_are_expanded() {
        let check = |text, expected: &[&str]| {
            let found: Vec<String> = expand(text).iter().map(|path| path.join("::")).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("crate::a::B;", &["crate::a::B"]);
        check("crate::{a::{B as C, self}, d::*};", &["crate::a::B", "crate::a::self", "crate::d::*"]);
        check("crate::f(x)", &["crate::f"]);
        check("super::super::a", &["super::super::a"]);
    }
}
