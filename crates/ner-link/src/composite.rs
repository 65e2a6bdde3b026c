//! Mentions of several concepts: "breast and ovarian cancer", "cancer of the liver, lung or colon".

/// The ways to read `text` as a list, each as the texts of its parts, the most telling first.
///
/// The parts may share their last words ("breast and ovarian *cancer*"), their first words ("*cancer of the* liver or
/// colon"), or none ("nausea and vomiting").
pub fn readings(text: &str) -> Vec<Vec<String>> {
    let items = items(text);
    let [first, middle @ .., last] = items.as_slice() else { return Vec::new() };
    let mut readings = Vec::new();
    for shared in (1..last.len()).rev() {
        let head = &last[last.len() - shared..];
        let fronts = std::iter::once(first).chain(middle).map(|words| [words, head].concat().join(" "));
        readings.push(fronts.chain([last.join(" ")]).collect());
    }
    for shared in (1..first.len()).rev() {
        let front = &first[..shared];
        let backs = middle.iter().chain([last]).map(|words| [front, words].concat().join(" "));
        readings.push(std::iter::once(first.join(" ")).chain(backs).collect());
    }
    readings.push(items.iter().map(|words| words.join(" ")).collect());
    readings
}

/// The words of the items of a list. A list of one item is no list.
fn items(text: &str) -> Vec<Vec<&str>> {
    let mut items: Vec<Vec<&str>> = vec![Vec::new()];
    for word in text.split_whitespace() {
        if matches!(word, "and" | "or" | "and/or" | "&" | "/" | "+" | "as" | "well") {
            items.push(Vec::new());
            continue;
        }
        for (at, part) in word.split(['/', ',', ';']).enumerate() {
            if at > 0 {
                items.push(Vec::new());
            }
            let part = part.trim_matches(['-', '(', ')']);
            if !part.is_empty()
                && let Some(item) = items.last_mut()
            {
                item.push(part);
            }
        }
    }
    items.retain(|words| !words.is_empty());
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let readings = readings(text);
        assert!(readings.iter().any(|parts| parts == expected), "{text}: {readings:?}");
    }

    #[test]
    fn lists() {
        check("breast and ovarian cancer", &["breast cancer", "ovarian cancer"]);
        check("breast/ovarian cancer", &["breast cancer", "ovarian cancer"]);
        check("cardiac- and renal toxicity", &["cardiac toxicity", "renal toxicity"]);
        check("nausea, vomiting, and diarrhea", &["nausea", "vomiting", "diarrhea"]);
        check(
            "cancer of the liver, colon or lung",
            &["cancer of the liver", "cancer of the colon", "cancer of the lung"],
        );
        assert!(readings("breast cancer").is_empty());
        assert!(readings("and").is_empty());
        assert!(readings(", /").is_empty());
    }
}
