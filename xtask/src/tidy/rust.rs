//! Rust sources as tokens: comments and strings are out of the way.

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Tokens of a file. A doc comment is an attribute with a literal.
pub fn tokens(file: &str, text: &str) -> Result<TokenStream> {
    text.parse().map_err(|error| anyhow!("{file}: cannot be read as Rust: {error}"))
}

/// A word or a sign of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// `::` is one sign; a literal is empty.
    pub text: String,
    pub line: usize,
    pub is_word: bool,
}

/// The tokens in one row, with brackets as signs.
pub fn flat(stream: TokenStream) -> Vec<Token> {
    let mut out = Vec::new();
    flatten(stream, &mut out);
    out
}

fn flatten(stream: TokenStream, out: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        let mut push = |text: String, is_word| out.push(Token { text, line, is_word });
        match tree {
            TokenTree::Ident(word) => push(word.to_string(), true),
            TokenTree::Literal(_) => push(String::new(), false),
            TokenTree::Punct(sign) => {
                let next_is_colon = matches!(trees.peek(), Some(TokenTree::Punct(next)) if next.as_char() == ':');
                if sign.as_char() == ':' && sign.spacing() == Spacing::Joint && next_is_colon {
                    trees.next();
                    push("::".into(), false);
                } else {
                    push(sign.as_char().to_string(), false);
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.into(), false);
                flatten(group.stream(), out);
                out.push(Token { text: close.into(), line: group.span_close().start().line, is_word: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_words() {
        let text = "// one\n/// two\nfn three() { \"four\"; a::b::<'x'>() /* five */ }";
        let tokens = flat(tokens("x.rs", text).expect("Rust"));
        let words: Vec<&str> = tokens.iter().filter(|token| token.is_word).map(|token| token.text.as_str()).collect();
        assert_eq!(words, ["doc", "fn", "three", "a", "b"]);
        assert_eq!(tokens.iter().filter(|token| token.text == "::").count(), 2);
        assert!(tokens.iter().any(|token| token.text == "three" && token.line == 3));
    }
}
