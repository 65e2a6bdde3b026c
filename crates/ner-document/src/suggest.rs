//! Suggestions for misspelt names.

/// The name nearest to `typed`, or `None` if none is near.
///
/// A name is near if it differs in at most a third of its letters, or two. Two letters are most of a short name, but
/// such names are few.
pub fn nearest<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let typed = typed.to_lowercase();
    let nearest = names.into_iter().map(|name| (strsim::damerau_levenshtein(&typed, name), name)).min()?;
    (nearest.0 <= (nearest.1.len() / 3).max(2)).then_some(nearest.1)
}

/// The known key that is nearest to the one that a serde error rejects (``unknown field `epoch`, expected one of
/// `seed`, `epochs` ``). The error message is the only place that lists the keys of every nested table.
pub fn nearest_key(message: &str) -> Option<&str> {
    let rest = &message[message.find("unknown field `")?..];
    // Every second part stands between backticks.
    let mut words = rest.lines().next()?.split('`').skip(1).step_by(2);
    let typed = words.next()?;
    nearest(typed, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested() {
        assert_eq!(nearest("bc5crd", ["anatem", "bc5cdr"]), Some("bc5cdr"));
        assert_eq!(nearest("conll2003", ["anatem", "bc5cdr"]), None);
        assert_eq!(nearest("x", []), None);
        let message =
            "TOML parse error at line 1\n  |\nunknown field `epoch`, expected one of `seed`, `epochs`, `patience`\n";
        assert_eq!(nearest_key(message), Some("epochs"));
        assert_eq!(nearest_key("unknown field `sead`, expected `seed` or `folder`"), Some("seed"));
        assert_eq!(nearest_key("missing field `seed`"), None);
    }
}
