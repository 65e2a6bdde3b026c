//! Circles of files inside a crate.
//!
//! A file depends on those whose items its paths name: `use` declarations and paths that begin with `crate`, `super`,
//! `self`, a module or an imported module. A name that is exported again counts as the file that defines it. A module may
//! use the modules inside it while they use what it defines, since that is how a `mod.rs` hands work out, so paths to
//! modules inside do not count. What only methods and macros bring about is not seen, and code under `#[cfg(test)]` is
//! left out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use anyhow::Result;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::tidy::dependencies::packages;
use crate::tidy::rust::{Token, flat, tokens};
use crate::tidy::{Fault, Tree};

/// Circles that stay, each with its files in order, and the reason. One that is gone must be removed here.
const ALLOWED: &[(&[&str], &str)] = &[];

pub fn check(tree: &Tree) -> Result<Vec<Fault>> {
    check_with(tree, ALLOWED)
}

fn check_with(tree: &Tree, allowed: &[(&[&str], &str)]) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut met = HashSet::new();
    for package in packages(tree)? {
        for root in ["lib.rs", "main.rs"] {
            let root = format!("{}/src/{root}", package.folder);
            if !tree.has(&root) {
                continue;
            }
            let edges = Modules::of(tree, &root)?.edges();
            for circle in circles(&edges) {
                if let Some(at) = allowed.iter().position(|(files, _)| *files == circle) {
                    met.insert(at);
                    continue;
                }
                faults.push(fault(&circle, &edges, &format!("{}/src/", package.folder)));
            }
        }
    }
    for (at, (files, _)) in allowed.iter().enumerate().filter(|(at, _)| !met.contains(at)) {
        let what = format!("allowed circle {} is gone: remove it from the list", at + 1);
        faults.push(Fault::new(files[0], 0, what));
    }
    Ok(faults)
}

/// Names a shortest way around, which is a good one to open, and the other files.
fn fault(circle: &[&str], edges: &Edges, src: &str) -> Fault {
    let way = circle.iter().filter_map(|from| shortest(from, circle, edges)).min_by_key(Vec::len).unwrap_or_default();
    let short = |file: &str| file.strip_prefix(src).unwrap_or(file).to_owned();
    let mut what = String::from("a circle of files: ");
    for (at, from) in way.iter().enumerate() {
        let to = way[(at + 1) % way.len()];
        let (line, path) = &edges[&((*from).to_owned(), to.to_owned())];
        what += &format!("{}:{line} uses {path} of {}; ", short(from), short(to));
    }
    let others: Vec<String> = circle.iter().filter(|file| !way.contains(file)).map(|file| short(file)).collect();
    if !others.is_empty() {
        what += &format!("also in circles with these: {}; ", others.join(", "));
    }
    let line = edges[&(way[0].to_owned(), way[1].to_owned())].0;
    Fault::new(way[0], line, what + "move what they share into one place")
}

/// The files of a shortest way from a file back to it.
fn shortest<'e>(from: &'e str, circle: &[&'e str], edges: &Edges) -> Option<Vec<&'e str>> {
    let mut ways = VecDeque::from([vec![from]]);
    let mut seen = HashSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way[way.len() - 1];
        for to in circle.iter().filter(|to| edges.contains_key(&(last.to_owned(), (**to).to_owned()))) {
            if *to == from {
                return Some(way);
            }
            if seen.insert(*to) {
                ways.push_back([way.as_slice(), &[*to]].concat());
            }
        }
    }
    None
}

/// A path from the crate's root.
type Place = Vec<String>;

/// From one file to another, with the first line and path that make it.
type Edges = BTreeMap<(String, String), (usize, String)>;

#[derive(Default)]
struct Module {
    file: String,
    /// Items that are defined here.
    items: HashSet<String>,
    /// Modules that are declared here.
    children: HashSet<String>,
    /// `use` declarations: path as written, name that it gets (`*` for all), line.
    uses: Vec<(Place, String, usize)>,
    /// Everything else, without what belongs to modules inside.
    code: Vec<Token>,
}

struct Modules {
    modules: HashMap<Place, Module>,
}

impl Modules {
    /// The modules that a crate's root declares, and so on.
    fn of(tree: &Tree, root: &str) -> Result<Self> {
        let mut modules = Self { modules: HashMap::new() };
        modules.read_file(tree, root, Vec::new())?;
        Ok(modules)
    }

    fn read_file(&mut self, tree: &Tree, file: &str, place: Place) -> Result<()> {
        let stream = tokens(file, &tree.read(file)?)?;
        self.read_module(tree, file, place, stream)
    }

    fn read_module(&mut self, tree: &Tree, file: &str, place: Place, stream: TokenStream) -> Result<()> {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let trees: Vec<TokenTree> = without_tests(stream);
        let word = |at: usize| match trees.get(at) {
            Some(TokenTree::Ident(word)) => Some(word.to_string()),
            _ => None,
        };
        let mut code = TokenStream::new();
        let mut at = 0;
        while at < trees.len() {
            match (word(at).as_deref(), word(at + 1)) {
                (Some("mod"), Some(name)) => {
                    module.children.insert(name.clone());
                    let inner = [place.clone(), vec![name]].concat();
                    match trees.get(at + 2) {
                        Some(TokenTree::Group(group)) => self.read_module(tree, file, inner, group.stream())?,
                        _ => {
                            if let Some(file) = file_of(tree, file, &inner) {
                                self.read_file(tree, &file, inner)?;
                            }
                        }
                    }
                    at += 3;
                    continue;
                }
                (Some("use"), _) => {
                    let end = (at..trees.len()).find(|at| is_sign(&trees[*at], ';')).unwrap_or(trees.len());
                    let line = trees[at].span().start().line;
                    let declared = flat(trees[at + 1..end].iter().cloned().collect());
                    for (path, name) in use_paths(&declared, &mut 0, &[]) {
                        module.uses.push((path, name, line));
                    }
                    at = end;
                }
                (Some("struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static"), Some(name)) => {
                    module.items.insert(name);
                }
                (Some("macro_rules"), None) => module.items.extend(word(at + 2)),
                _ => {}
            }
            if let Some(tree) = trees.get(at) {
                code.extend([tree.clone()]);
            }
            at += 1;
        }
        module.code = flat(code);
        self.modules.insert(place, module);
        Ok(())
    }

    /// A path as written in a module, from the root on; `None` if it leads out of the crate.
    fn absolute(&self, place: &Place, path: &[String], depth: usize) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let module = self.modules.get(place)?;
        let begin = match first.as_str() {
            "crate" => Vec::new(),
            "self" => place.clone(),
            "super" => {
                let mut above = place.clone();
                above.pop()?;
                let mut rest = rest;
                while let Some(("super", more)) = rest.split_first().map(|(word, more)| (word.as_str(), more)) {
                    above.pop()?;
                    rest = more;
                }
                return Some([above, rest.to_vec()].concat());
            }
            name if module.children.contains(name) => [place.as_slice(), std::slice::from_ref(first)].concat(),
            name => {
                // An imported module.
                let (path, ..) =
                    module.uses.iter().find(|(path, alias, ..)| alias == name && path != &[name.to_owned()])?;
                let target = if depth < 8 { self.absolute(place, path, depth + 1)? } else { return None };
                if !self.modules.contains_key(&target) {
                    return None;
                }
                target
            }
        };
        Some([begin, rest.to_vec()].concat())
    }

    /// The module that defines what a path from the root leads to, and whether the path leads to that module as such.
    fn definition(&self, path: &[String], depth: usize) -> Option<(Place, bool)> {
        let mut place = Vec::new();
        for (at, name) in path.iter().enumerate() {
            let below = [place.clone(), vec![name.clone()]].concat();
            if self.modules.contains_key(&below) {
                place = below;
                continue;
            }
            let module = self.modules.get(&place)?;
            let here = Some((place.clone(), false));
            if module.items.contains(name) || depth == 8 {
                return here;
            }
            if let Some((target, ..)) = module.uses.iter().find(|(_, alias, ..)| alias == name) {
                // Exported again, or imported for modules below.
                let Some(target) = self.absolute(&place, target, 0) else { return here };
                return self.definition(&[target, path[at + 1..].to_vec()].concat(), depth + 1);
            }
            for (target, ..) in module.uses.iter().filter(|(_, alias, ..)| alias == "*") {
                let Some(target) = self.absolute(&place, target, 0) else { continue };
                let there = self.modules.get(&target).is_some_and(|module| {
                    module.items.contains(name) || module.uses.iter().any(|(_, alias, ..)| alias == name)
                });
                if there {
                    return self.definition(&[target, path[at..].to_vec()].concat(), depth + 1);
                }
            }
            return here;
        }
        Some((place, true))
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (place, module) in &self.modules {
            let mut add = |path: &[String], line: usize, counts_modules: bool| {
                let Some(target) = self.absolute(place, path, 0) else { return };
                let Some((target, is_module)) = self.definition(&target, 0) else { return };
                let file = &self.modules[&target].file;
                if *file != module.file && !target.starts_with(place) && (counts_modules || !is_module) {
                    let found = (line, path.join("::"));
                    let edge = edges.entry((module.file.clone(), file.clone())).or_insert_with(|| found.clone());
                    *edge = found.min(edge.clone());
                }
            };
            for (path, name, line) in &module.uses {
                // A module's name alone is not used: what is said with it counts.
                add(path, *line, name == "*");
            }
            let mut at = 0;
            while at < module.code.len() {
                let line = module.code[at].line;
                if module.code[at].text == "use" {
                    at += 1;
                    for (path, _) in use_paths(&module.code, &mut at, &[]) {
                        add(&path, line, false);
                    }
                    continue;
                }
                let begins = at == 0 || module.code[at - 1].text != "::";
                let path = path_at(&module.code, at);
                at += path.len().max(1) * 2 - 1;
                if begins && path.len() > 1 {
                    add(&path, line, false);
                }
            }
        }
        edges
    }
}

/// `a::b` from here on, without what follows in `a::{…}` or `a::<…>`.
fn path_at(code: &[Token], mut at: usize) -> Place {
    let mut path = Vec::new();
    while let Some(token) = code.get(at).filter(|token| token.is_word) {
        path.push(token.text.clone());
        match code.get(at + 1) {
            Some(sign) if sign.text == "::" => at += 2,
            _ => break,
        }
    }
    path
}

/// The paths of `a::{b, c as d, e::*}`, each with the name that it gets.
fn use_paths(code: &[Token], at: &mut usize, before: &[String]) -> Vec<(Place, String)> {
    let mut path = before.to_vec();
    let mut paths = Vec::new();
    while let Some(token) = code.get(*at) {
        *at += 1;
        match token.text.as_str() {
            "::" => {}
            "{" => {
                while code.get(*at).is_some_and(|token| token.text != "}") {
                    paths.extend(use_paths(code, at, &path));
                    if code.get(*at).is_some_and(|token| token.text == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return paths;
            }
            "*" => return vec![(path, "*".into())],
            "self" if !before.is_empty() && path == before => {}
            _ if token.is_word => path.push(token.text.clone()),
            // The end of a declaration or of a branch.
            _ => {
                *at -= 1;
                break;
            }
        }
        if code.get(*at).is_some_and(|token| token.text == "as") {
            let name = code.get(*at + 1).map(|token| token.text.clone()).unwrap_or_default();
            *at += 2;
            return vec![(path, name)];
        }
        let goes_on = token.text == "::" || code.get(*at).is_some_and(|next| next.text == "::");
        if !goes_on {
            break;
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    if path.is_empty() { paths } else { vec![(path, name)] }
}

/// The trees without items under `#[cfg(test)]`.
fn without_tests(stream: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let is_test = is_sign(&tree, '#')
            && matches!(trees.peek(), Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)");
        if !is_test {
            kept.push(tree);
            continue;
        }
        let ends = |tree: &TokenTree| {
            is_sign(tree, ';') || matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
        };
        trees.by_ref().find(ends);
    }
    kept
}

fn is_sign(tree: &TokenTree, sign: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Where a module lies that a file declares: by its place, however the modules above it are written.
fn file_of(tree: &Tree, root: &str, place: &[String]) -> Option<String> {
    let src = &root[..root.find("/src/")? + "/src".len()];
    let path = format!("{src}/{}", place.join("/"));
    [format!("{path}.rs"), format!("{path}/mod.rs")].into_iter().find(|file| tree.has(file))
}

/// The sets of two files or more that all reach each other, in order.
fn circles(edges: &Edges) -> Vec<Vec<&str>> {
    let mut after: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        after.entry(from).or_default().push(to);
    }
    // Crates are small: to ask for each file what it reaches is quick enough, and shorter than Tarjan's algorithm.
    let reached = |from: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = after.get(from).cloned().unwrap_or_default();
        while let Some(file) = open.pop() {
            if seen.insert(file) {
                open.extend(after.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> = after.keys().map(|from| (*from, reached(from))).collect();
    let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (from, there) in &reach {
        let circle: Vec<&str> =
            there.iter().copied().filter(|to| reach.get(to).is_some_and(|back| back.contains(from))).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::{assert_faults, faults};

    fn check_files(files: &[(&str, &str)], allowed: &[(&[&str], &str)]) -> Vec<String> {
        let manifests = [
            ("Cargo.toml", "[workspace]\nmembers = [\"a\"]\nresolver = \"3\"\n"),
            ("a/Cargo.toml", "[package]\nname = \"a\"\nedition = \"2024\"\n"),
        ];
        faults(|tree| check_with(tree, allowed), &[&manifests, files].concat())
    }

    const ROOT: (&str, &str) = ("a/src/lib.rs", "mod x;\nmod y;\npub use x::X;\npub use y::{Y, z::Z};\n");

    #[test]
    fn exports_and_tests_make_no_circle() {
        let files = [
            ROOT,
            ("a/src/x.rs", "use crate::{Y, Z};\npub struct X(Y, Z);"),
            ("a/src/y/mod.rs", "pub mod z;\npub struct Y;\n#[cfg(test)]\nmod tests { use super::*; use crate::X; }"),
            ("a/src/y/z.rs", "use super::Y;\npub struct Z(Y);"),
        ];
        assert_faults(&check_files(&files, &[]), &[]);
    }

    #[test]
    fn circles_by_declarations_by_paths_and_by_modules_are_found() {
        for (x, y) in [
            ("use crate::Y;\npub struct X(Y);", "pub mod z;\nuse crate::x::X;\npub struct Y(X);"),
            ("pub struct X(crate::y::Y);", "pub mod z;\npub struct Y;\nfn f() { super::x::X::new(); }"),
            (
                "use crate::y;\npub struct X(y::Y);",
                "pub mod z;\npub struct Y;\nfn f() { use crate::{x::{self as other, X}}; }",
            ),
        ] {
            let files = [ROOT, ("a/src/x.rs", x), ("a/src/y/mod.rs", y), ("a/src/y/z.rs", "pub struct Z;")];
            let found = check_files(&files, &[]);
            assert_faults(&found, &["x.rs:"]);
            assert!(found[0].contains("of y/mod.rs") && found[0].contains("of x.rs"), "{found:?}");
        }
    }

    #[test]
    fn a_module_may_use_those_inside_it_but_not_by_way_of_others() {
        let root = ("a/src/lib.rs", "mod x;\nmod y;\npub struct A;\nfn f() { x::g() }");
        let files = [root, ("a/src/x.rs", "use crate::A;\npub fn g() {}")];
        assert_faults(&check_files(&files, &[]), &[]);
        let files = [
            root,
            ("a/src/x.rs", "pub fn g() { crate::y::z::h() }\npub struct B;"),
            ("a/src/y/mod.rs", "pub mod z;\npub struct C;"),
            ("a/src/y/z.rs", "use super::C;\nuse crate::x::B;\npub fn h() {}"),
        ];
        let way = "x.rs:1 uses crate::y::z::h of y/z.rs; y/z.rs:2 uses crate::x::B of x.rs";
        assert_faults(&check_files(&files, &[]), &[way]);
        let circle: &[&str] = &["a/src/x.rs", "a/src/y/z.rs"];
        assert_faults(&check_files(&files, &[(circle, "a reason")]), &[]);
    }

    #[test]
    fn modules_inside_a_file_belong_to_it() {
        let inside = "mod inside { use super::super::y::Y; pub struct X(Y); }\npub use inside::X;";
        let files = |y| [ROOT, ("a/src/x.rs", inside), ("a/src/y/mod.rs", y), ("a/src/y/z.rs", "pub struct Z;")];
        assert_faults(&check_files(&files("pub mod z;\npub struct Y;"), &[]), &[]);
        let found = check_files(&files("pub mod z;\npub struct Y(crate::X);"), &[]);
        assert_faults(&found, &["x.rs:1 uses super::super::y::Y of y/mod.rs; y/mod.rs:2 uses crate::X of x.rs"]);
    }

    #[test]
    fn an_allowed_circle_that_is_gone_is_a_fault() {
        let files = [("a/src/lib.rs", "")];
        assert_faults(
            &check_files(&files, &[(&["a/src/x.rs", "a/src/y.rs"], "")]),
            &["a/src/x.rs: allowed circle 1 is gone"],
        );
    }
}
