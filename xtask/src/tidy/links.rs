//! Links between pages, to files and to headings. What lies on the network is not asked for.

use anyhow::Result;

use crate::tidy::markdown::{Part, parts};
use crate::tidy::{Fault, Tree};

pub fn check(tree: &Tree) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for page in tree.ending_with(".md") {
        for (line, part) in parts(&tree.read(page)?) {
            if let Part::Link(target) = part
                && let Some(what) = broken(tree, page, &target)?
            {
                faults.push(Fault::new(page, line, what));
            }
        }
    }
    Ok(faults)
}

/// What is wrong with a link.
fn broken(tree: &Tree, page: &str, target: &str) -> Result<Option<String>> {
    let is_elsewhere = target.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['/', '#', '.']));
    if is_elsewhere {
        return Ok(None);
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { Some(page.to_owned()) } else { resolve(page, &path.replace("%20", " ")) };
    let Some(file) = file.filter(|file| tree.has(file)) else {
        return Ok(Some(format!("the link {target} leads to no file of the repository: correct the path")));
    };
    if anchor.is_empty() || !file.ends_with(".md") {
        return Ok(None);
    }
    let headings = parts(&tree.read(&file)?);
    let there = headings.iter().any(|(_, part)| matches!(part, Part::Anchor(there) if there == anchor));
    Ok((!there).then(|| format!("the link {target} leads to no heading of {file}: correct its anchor")))
}

/// A path relative to a page, from the root; `None` if it leaves the repository.
fn resolve(page: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{assert_faults, faults};

    fn check_page(page: &str) -> Vec<String> {
        faults(check, &[("docs/a.md", page), ("docs/b.md", "# One thing\n"), ("README.md", ""), ("docs/p.png", "")])
    }

    #[test]
    fn good_links_are_fine() {
        let page = "# Here\n[a](b.md) [b](b.md#one-thing) [c](#here) [d](../README.md) [e](../docs) ![f](p.png) \
                    [g](https://example.org/x#y) [h](mailto:a@example.org)\n";
        assert_faults(&check_page(page), &[]);
    }

    #[test]
    fn broken_links_are_faults() {
        let page =
            "# Here\n[a](c.md)\n[b](b.md#two)\n[c](#there)\n[d](../../README.md)\n![f](q.png)\n<img src=\"r.png\">\n";
        let words = ["a.md:2", "a.md:3", "a.md:4", "a.md:5", "a.md:6", "a.md:7"];
        assert_faults(&check_page(page), &words);
    }
}
