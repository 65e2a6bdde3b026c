//! What the rules want of a page.

use std::collections::HashMap;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A piece of a page, with its line.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// A code span.
    Code(String),
    /// A fenced block.
    Fence { language: String, text: String },
    /// The target of a link or an image.
    Link(String),
    /// The anchor of a heading, as GitHub makes it.
    Anchor(String),
}

pub fn parts(page: &str) -> Vec<(usize, Part)> {
    let mut parts = Vec::new();
    let mut anchors = Anchors::default();
    let mut heading: Option<String> = None;
    let mut fence: Option<(usize, String, String)> = None;
    let events = Parser::new_ext(page, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).into_offset_iter();
    for (event, range) in events {
        let line = page[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                parts.push((line, Part::Anchor(anchors.next(&heading.take().unwrap_or_default()))));
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                fence = Some((line, language.to_string(), String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((line, language, text)) = fence.take() {
                    parts.push((line, Part::Fence { language, text }));
                }
            }
            Event::Text(text) => {
                if let Some((_, _, code)) = &mut fence {
                    code.push_str(&text);
                }
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&code);
                }
                parts.push((line, Part::Code(code.to_string())));
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                parts.push((line, Part::Link(dest_url.to_string())));
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                for attribute in ["id", "name"] {
                    parts.extend(values(&html, attribute).map(|value| (line, Part::Anchor(value.into()))));
                }
                for attribute in ["href", "src", "srcset"] {
                    parts.extend(values(&html, attribute).map(|value| (line, Part::Link(value.into()))));
                }
            }
            _ => {}
        }
    }
    parts
}

/// The values of an attribute, written with double quotes.
fn values<'h>(html: &'h str, attribute: &str) -> impl Iterator<Item = &'h str> {
    let begin = format!(" {attribute}=\"");
    let starts: Vec<usize> = html.match_indices(&begin).map(|(at, _)| at + begin.len()).collect();
    starts.into_iter().filter_map(|start| html[start..].split_once('"').map(|(value, _)| value))
}

/// Makes anchors of the headings of one page.
#[derive(Default)]
struct Anchors {
    uses: HashMap<String, usize>,
}

impl Anchors {
    fn next(&mut self, heading: &str) -> String {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char));
        let slug: String = kept.map(|char| if char == ' ' { '-' } else { char }).collect();
        let uses = self.uses.entry(slug.clone()).or_default();
        *uses += 1;
        if *uses == 1 { slug } else { format!("{slug}-{}", *uses - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_taken_apart() {
        let page = "\
# A `b`: what, *why*?

[text](to.md#x) ![picture](a.png) `code`
<img alt=\"x\" src=\"c.svg\">

| a |
|---|
| `cell` |

```sh
one \\
  two
```

# A `b`: what, why
";
        let code = |line, text: &str| (line, Part::Code(text.into()));
        let link = |line, text: &str| (line, Part::Link(text.into()));
        let expected = [
            code(1, "b"),
            (1, Part::Anchor("a-b-what-why".into())),
            link(3, "to.md#x"),
            link(3, "a.png"),
            code(3, "code"),
            link(4, "c.svg"),
            code(8, "cell"),
            (10, Part::Fence { language: "sh".into(), text: "one \\\n  two\n".into() }),
            code(15, "b"),
            (15, Part::Anchor("a-b-what-why-1".into())),
        ];
        assert_eq!(parts(page), expected);
    }
}
