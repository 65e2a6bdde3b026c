//! Writes one document: chooses its cast of chemicals and diseases, then fills the templates of the grammar with them.

use super::builder::TextBuilder;
use super::grammar::{STUDIES, Section, Study, WORDS};
use super::lexicon::{Kind, Lexicon, Part, Term};
use super::random::Random;
use crate::{Argument, Document, Passage, Relation, Span};

/// How often (in per cent) a name that has an acronym is introduced with it, and the acronym used afterwards.
const ABBREVIATES_PERCENT: usize = 60;
const ACRONYM_PERCENT: usize = 75;
/// How often (in per cent) a concept is called by its other name.
const SYNONYM_PERCENT: usize = 18;
const UNICODE_PERCENT: usize = 8;
const STRUCTURED_PERCENT: usize = 20;
/// Length of a long document, in characters, reached by reporting several studies: about 650 words, and more word
/// pieces than an encoder has positions.
const LONG_CHARS: usize = 5000;

/// A member of the cast of a document.
struct Role<'l> {
    name: &'static str,
    term: &'l Term,
    /// Whether this text abbreviates the name after its first use in the abstract.
    abbreviates: bool,
    introduced: bool,
    mentioned: bool,
}

/// Allowed forms of a name at its position.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Any name; the acronym may be introduced here.
    Free,
    /// Any name, without introducing an acronym: in a compound, in parentheses, in a title.
    Bound,
    /// The full name.
    Full,
    Plural,
}

struct Article<'l> {
    lexicon: &'l Lexicon,
    part: Part,
    random: Random,
    builder: TextBuilder,
    cast: Vec<Role<'l>>,
    relations: Vec<Relation>,
    /// Identifiers in the composite mentions of the current study.
    composites: Vec<String>,
    in_title: bool,
    man: &'static str,
    year: usize,
}

/// The document of number `id`, from its own random stream.
pub(super) fn write(lexicon: &Lexicon, part: Part, mut random: Random, id: String, long: bool) -> Document {
    let unicode = random.chance(UNICODE_PERCENT);
    let structured = !long && random.chance(STRUCTURED_PERCENT);
    let man = random.choose(&["man", "woman"]);
    let year = random.between(1979, 2004);
    let builder = TextBuilder::new(unicode);
    let (cast, relations, composites) = (Vec::new(), Vec::new(), Vec::new());
    let mut article =
        Article { lexicon, part, random, builder, cast, relations, composites, in_title: true, man, year };

    article.choose_cast();
    let study = article.random.choose(STUDIES);
    let title = *article.random.choose(study.titles);
    article.expand(title);
    let title_end = article.builder.len();
    article.in_title = false;
    article.builder.push(" ");
    article.write_abstract(study, structured);
    article.relate();
    while long && article.builder.len() < LONG_CHARS {
        article.choose_cast();
        article.builder.push(" ");
        let study = article.random.choose(STUDIES);
        article.write_abstract(study, false);
        article.relate();
    }

    let end = article.builder.len();
    let (text, mentions) = article.builder.finish();
    let passage = |kind: &str, start, end| Passage { kind: kind.to_owned(), span: Span::new(start, end) };
    let passages = vec![passage("title", 0, title_end), passage("abstract", title_end + 1, end)];
    Document { passages, mentions, relations: article.relations, ..Document::new(id, text) }
}

impl<'l> Article<'l> {
    /// Chooses the cast; no term and no acronym occurs twice.
    fn choose_cast(&mut self) {
        self.cast.clear();
        let lexicon = self.lexicon;
        for name in ["c1", "c2", "c3", "d1", "d2", "d3", "d4", "g1", "g2", "m1", "m2", "k1", "r1"] {
            let term = loop {
                let random = &mut self.random;
                let term = match name.as_bytes()[0] {
                    b'c' => lexicon.chemicals.choose(self.part, random),
                    b'd' => lexicon.diseases.choose(self.part, random),
                    b'g' => lexicon.proteins.choose(self.part, random),
                    b'm' => random.choose(&lexicon.measures),
                    b'k' => lexicon.cell_lines.choose(self.part, random),
                    _ => lexicon.ligands.choose(self.part, random),
                };
                if self.cast.iter().all(|role| role.term.name != term.name) {
                    break term;
                }
            };
            let taken = self.cast.iter().any(|role| role.abbreviates && role.term.acronym == term.acronym);
            let abbreviates = term.acronym.is_some() && !taken && self.random.chance(ABBREVIATES_PERCENT);
            self.cast.push(Role { name, term, abbreviates, introduced: false, mentioned: false });
        }
    }

    fn write_abstract(&mut self, study: &Study, structured: bool) {
        let mut first = true;
        for &Section { heading, sentences, least, most } in study.sections {
            let count = self.random.between(least, most + 1);
            for (at, sentence) in self.random.sample(sentences, count).into_iter().enumerate() {
                if !std::mem::take(&mut first) {
                    self.builder.push(" ");
                }
                if structured && at == 0 && !heading.is_empty() {
                    self.builder.push(&format!("{heading}: "));
                }
                self.builder.begin_sentence();
                self.expand(sentence);
            }
        }
    }

    /// Records that `c1` causes `d1` and the composites, if the text names both sides and they have identifiers.
    fn relate(&mut self) {
        let id = |name| self.cast.iter().find(|role| role.name == name && role.mentioned)?.term.id.clone();
        let (chemical, disease) = (id("c1"), id("d1"));
        let effects = disease.into_iter().chain(self.composites.drain(..));
        for effect in effects {
            let Some(chemical) = &chemical else { continue };
            let relation = Relation {
                kind: "CID".to_owned(),
                arguments: [chemical.clone(), effect].map(Argument::concept).into(),
            };
            if !self.relations.contains(&relation) {
                self.relations.push(relation);
            }
        }
    }

    /// Appends `template` with its slots filled.
    fn expand(&mut self, template: &str) {
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                self.builder.push(before);
            }
            let Some((slot, after)) = after.split_once('}') else { break };
            // An acronym in parentheses would break a compound or another parenthesis.
            let bound = before.ends_with(['(', '-', '/', ']']) || after.starts_with([')', '-', '/']);
            self.fill(slot, if bound || self.in_title { Form::Bound } else { Form::Free });
            rest = after;
        }
        if !rest.is_empty() {
            self.builder.push(rest);
        }
    }

    fn fill(&mut self, slot: &str, form: Form) {
        let (name, modifier) = slot.split_once('.').unwrap_or((slot, ""));
        let lexicon = self.lexicon;
        if let Some(role) = self.cast.iter().position(|role| role.name == name) {
            return self.fill_role(role, modifier, form);
        }
        match name {
            "tox" => self.mention(&lexicon.toxicity, &lexicon.toxicity.name),
            "overdose" => self.mention(&lexicon.overdose, &lexicon.overdose.name),
            "composite" => self.composite(),
            "town" if self.builder.is_unicode() => self.fill("town_unicode", form),
            _ => match WORDS.iter().find(|(word, _)| *word == name) {
                Some((_, choices)) => {
                    let choice = *self.random.choose(choices);
                    self.expand(choice);
                }
                None => {
                    let number = self.number(name).unwrap_or_else(|| format!("{{{slot}}}"));
                    self.builder.push(&number);
                }
            },
        }
    }

    /// A number with its unit, or `None` if there is no slot with this name.
    fn number(&mut self, slot: &str) -> Option<String> {
        let random = &mut self.random;
        let decimal = |random: &mut Random| format!("{}.{}", random.between(1, 60), random.below(10));
        Some(match slot {
            "num" => random.between(12, 480).to_string(),
            "age" => random.between(19, 88).to_string(),
            "man" => self.man.to_owned(),
            "he" => (if self.man == "man" { "he" } else { "she" }).to_owned(),
            "his" => (if self.man == "man" { "his" } else { "her" }).to_owned(),
            "year" => self.year.to_string(),
            "year2" => (self.year + random.between(2, 9)).to_string(),
            "pct" if random.chance(50) => format!("{}%", random.between(2, 70)),
            "pct" => format!("{}%", decimal(random)),
            "p" => {
                (*random.choose(&["P < 0.05", "p = 0.03", "P < 0.001", "P less than 0.01", "P <or= 0.02"])).to_owned()
            }
            "dose" => {
                let units = [
                    "mg/kg",
                    "mg/day",
                    "mg",
                    "micrograms/kg",
                    "mg/m2",
                    "g daily",
                    "mg twice daily",
                    "mg kg-1",
                    "mmol/kg",
                ];
                let glued = if random.chance(6) { "" } else { " " };
                let amount = *random.choose(&["0.5", "1", "2", "2.5", "5", "10", "20", "25", "40", "75", "100", "250"]);
                format!("{amount}{glued}{}", random.choose(&units))
            }
            "conc" => {
                let unit = *random.choose(&["micrograms/ml", "ng/ml", "nM", "mmol/l", "microM", "micrograms/dl"]);
                format!("{} {unit}", random.between(2, 400))
            }
            "dur" => format!("{} {}", random.between(2, 30), random.choose(&["days", "weeks", "months", "hours"])),
            "val" => format!("{} {}", decimal(random), random.choose(&["units", "mm", "ml/min", "s", "times normal"])),
            "sd" => format!("{} +/- {}.{}", decimal(random), random.between(0, 9), random.between(1, 10)),
            "ratio" => format!("{}.{}", random.between(1, 6), random.between(1, 10)),
            "interval" => format!("{}~{}", random.between(2, 20), random.between(20, 60)),
            "ci" => {
                let (low, high) = (random.between(1, 10), random.between(2, 9));
                format!("95% CI, 0.{low}~{high}.{}", random.below(10))
            }
            _ => return None,
        })
    }

    fn fill_role(&mut self, role: usize, modifier: &str, form: Form) {
        let term = self.cast[role].term;
        match (modifier, &term.adjective) {
            ("full", _) => self.name(role, Form::Full),
            ("pl", _) => self.name(role, Form::Plural),
            ("receptor", _) => self.receptor(role),
            ("adjective", Some(adjective)) => self.mention_role(role, adjective),
            // "non-neuropathy-associated" is clumsy, but authors write it.
            ("adjective", None) => {
                self.name(role, Form::Bound);
                self.builder.push("-associated");
            }
            ("patients" | "rats" | "man", adjective) => {
                let group = match modifier {
                    "man" => self.man,
                    "rats" => *self.random.choose(&["rats", "mice", "dogs"]),
                    _ => *self.random.choose(&["patients", "patients", "patients", "subjects", "children"]),
                };
                match adjective {
                    Some(adjective) if self.random.chance(75) => {
                        self.mention_role(role, adjective);
                        self.builder.push(&format!(" {group}"));
                    }
                    _ => {
                        self.builder.push(&format!("{group} with "));
                        self.name(role, form);
                    }
                }
            }
            _ => self.name(role, form),
        }
    }

    /// Names a member of the cast, by its acronym if the text has introduced one.
    fn name(&mut self, role: usize, form: Form) {
        let Role { term, abbreviates, introduced, .. } = self.cast[role];
        match (&term.acronym, form) {
            (Some(acronym), Form::Free | Form::Bound) if introduced && self.random.chance(ACRONYM_PERCENT) => {
                return self.mention_role(role, acronym);
            }
            (Some(acronym), Form::Free) if abbreviates && !introduced => {
                self.mention_role(role, &term.name);
                self.builder.push(" (");
                self.mention_role(role, acronym);
                self.builder.push(")");
                self.cast[role].introduced = true;
                return;
            }
            _ => {}
        }
        let name = match (form, &term.synonym, &term.plural) {
            (Form::Plural, _, Some(plural)) => plural,
            (Form::Free | Form::Bound, Some(synonym), _) if self.random.chance(SYNONYM_PERCENT) => synonym,
            _ => &term.name,
        };
        self.mention_role(role, name);
    }

    /// "[5-VST]3" or "5-VST3": the ligand is a mention, the number of the receptor is not part of it.
    fn receptor(&mut self, role: usize) {
        let term = self.cast[role].term;
        let acronym = term.acronym.as_deref().unwrap_or(&term.name);
        let bracketed = self.random.chance(80);
        if bracketed {
            self.builder.push("[");
        }
        self.mention_role(role, acronym);
        let subtype = self.random.between(1, 8);
        self.builder.push(&format!("{}{subtype}", if bracketed { "]" } else { "" }));
    }

    fn mention_role(&mut self, role: usize, text: &str) {
        self.cast[role].mentioned = true;
        let term = self.cast[role].term;
        self.mention(term, text);
    }

    fn mention(&mut self, term: &Term, text: &str) {
        match term.kind.entity_type() {
            Some(entity_type) => {
                self.builder.push_mention(text, entity_type, term.id.iter().cloned().collect(), &[]);
            }
            None => self.builder.push(text),
        }
    }

    /// "ocular and auditory toxicity": one mention of two concepts.
    fn composite(&mut self) {
        let terms: Vec<&Term> = self.lexicon.diseases.of(self.part).into_iter().filter(|t| t.head.is_some()).collect();
        let first = *self.random.choose(&terms);
        let Some((site, head)) = &first.head else { return };
        let same_head = |term: &&&Term| term.name != first.name && term.head.as_ref().is_some_and(|(_, h)| h == head);
        let others: Vec<&Term> = terms.iter().filter(same_head).copied().collect();
        if others.is_empty() {
            return self.mention(first, &first.name);
        }
        let second = *self.random.choose(&others);
        let Some((other_site, _)) = &second.head else { return };
        let joint = *self.random.choose(&["and", "and", "or"]);
        let ids: Vec<String> = [first, second].iter().filter_map(|term| term.id.clone()).collect();
        self.composites.extend(ids.iter().cloned());
        let parts = [first.name.clone(), second.name.clone()];
        let text = format!("{site} {joint} {other_site} {head}");
        self.builder.push_mention(&text, Kind::Disease.entity_type().unwrap_or_default(), ids, &parts);
    }
}
