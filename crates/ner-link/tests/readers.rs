//! Readers of vocabularies, on small files of each format.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use std::io::Write;
use std::path::PathBuf;

use ner_link::{Format, ReadError, ReadOptions, ReadReport, Record, read};

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read_bytes(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<(Vec<Record>, ReadReport), ReadError> {
    let (_folder, path) = written(name, bytes);
    let mut records = Vec::new();
    let report = read(&path, options, &mut |record| records.push(record))?;
    Ok((records, report))
}

/// A record as a line: `id+other ids: name; synonyms; … [types] (xrefs)`.
fn line(record: &Record) -> String {
    let ids: Vec<&str> = std::iter::once(&record.id).chain(&record.other_ids).map(String::as_str).collect();
    let name = record.name.as_deref().unwrap_or("-");
    let names: Vec<&str> = std::iter::once(name).chain(record.synonyms.iter().map(String::as_str)).collect();
    format!("{}: {} [{}] ({})", ids.join("+"), names.join("; "), record.types.join(" "), record.xrefs.join(" "))
}

#[track_caller]
fn check(name: &str, text: &str, format: Format, expected: &[&str], skipped: &[(&str, u64, u64)]) {
    let (records, report) = read_bytes(name, text.as_bytes(), &ReadOptions::default()).unwrap();
    assert_eq!(records.iter().map(line).collect::<Vec<_>>(), expected);
    assert_eq!(report.format, Some(format));
    assert_eq!(report.records, expected.len() as u64);
    let counted: Vec<_> = report.skipped.iter().map(|(why, of)| (*why, of.count, of.first_line)).collect();
    assert_eq!(counted, skipped);
}

/// The message of the error, from the file's name on.
#[track_caller]
fn check_bad(name: &str, bytes: &[u8], message: &str) {
    let error = read_bytes(name, bytes, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("{name}{message}")), "{error}");
}

const MRCONSO: &str = "\
C0000001|ENG|P|L1|PF|S1|Y|A1||||MSH|MH|D1|Redness|0|N|256|
C0000001|ENG|S|L2|PF|S2|Y|A2||||MSH|ET|D1|Red skin|0|N||
C0000001|GER|P|L3|PF|S3|Y|A3||||MSHGER|MH|D1|Rötung|3|N||
C0000001|ENG|S|L4|PF|S4|Y|A4||||OLD|PT|X1|Rubor NOS|9|O||
C0000002|GER|P|L5|PF|S5|Y|A5||||MSHGER|MH|D2|Schwellung|3|N||
";

const RF2: &str = "\
id\teffectiveTime\tactive\tmoduleId\tconceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId
1\t20200101\t1\t9\t100\ten\t900000000000003001\tRedness (of skin) (finding)\t0
2\t20200101\t1\t9\t100\ten\t900000000000013009\tErythema\t0
3\t20200101\t0\t9\t100\ten\t900000000000013009\tErithema\t0
4\t20200101\t1\t9\t100\tes\t900000000000013009\tEritema\t0
5\t20200101\t1\t9\t100\ten\t900000000000550004\tSkin that is red.\t0
";

const DESCRIPTORS: &str = r#"<?xml version="1.0"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "desc.dtd">
<DescriptorRecordSet LanguageCode="eng">
<DescriptorRecord DescriptorClass="1">
 <DescriptorUI>D900001</DescriptorUI>
 <DescriptorName><String>Redness &amp; Heat</String></DescriptorName>
 <SeeRelatedList><SeeRelatedDescriptor><DescriptorReferredTo><DescriptorUI>D900009</DescriptorUI>
  <DescriptorName><String>Swelling</String></DescriptorName></DescriptorReferredTo></SeeRelatedDescriptor></SeeRelatedList>
 <TreeNumberList><TreeNumber>C23.1</TreeNumber><TreeNumber>C17.2</TreeNumber></TreeNumberList>
 <ConceptList>
  <Concept PreferredConceptYN="Y"><ConceptUI>M1</ConceptUI><ConceptName><String>Redness &amp; Heat</String></ConceptName>
   <RegistryNumber>0</RegistryNumber>
   <TermList><Term><TermUI>T1</TermUI><String>Redness &amp; Heat</String></Term>
   <Term><TermUI>T2</TermUI><String>R&#xF8;dme</String></Term></TermList></Concept>
  <Concept PreferredConceptYN="N"><RegistryNumber>50-00-0</RegistryNumber>
   <TermList><Term><String><![CDATA[Rubor]]></String></Term></TermList></Concept>
 </ConceptList>
</DescriptorRecord>
</DescriptorRecordSet>
"#;

const SUPPLEMENT: &str = r#"<SupplementalRecordSet><SupplementalRecord SCRClass="3">
<SupplementalRecordUI>C900001</SupplementalRecordUI>
<SupplementalRecordName><String>Red ear syndrome</String></SupplementalRecordName>
<HeadingMappedToList><HeadingMappedTo><DescriptorReferredTo><DescriptorUI>*D900001</DescriptorUI>
<DescriptorName><String>Redness</String></DescriptorName></DescriptorReferredTo></HeadingMappedTo></HeadingMappedToList>
<ConceptList><Concept><TermList><Term><String>Red ears</String></Term></TermList></Concept></ConceptList>
</SupplementalRecord></SupplementalRecordSet>"#;

const OBO: &str = r#"format-version: 1.4
data-version: 2026-01-01

[Term]
id: HP:1
name: Redness ! a comment
namespace: signs
alt_id: HP:11
synonym: "Rubor of \"skin\"" EXACT layperson [ORCID:1]
synonym: "Inflammation" BROAD []
synonym: "Red" []
xref: UMLS:C0000001 "Redness"
is_a: HP:0 ! All

[Typedef]
id: part_of

[Term]
id: HP:2
name: obsolete Redness
is_obsolete: true
"#;

#[test]
fn tables() {
    check(
        "v.tsv",
        "name\tid\ttypes\tsynonyms\r\nRedness\tX:1\tsign|skin\tRubor | Erythema\r\n\r\n\tX:2\t\t\r\nHeat\t\t\t\r\n",
        Format::Tsv,
        &["X:1: Redness; Rubor; Erythema [sign skin] ()"],
        &[("without a name", 1, 4), ("without an id", 1, 5)],
    );
    check(
        "v.csv",
        "id,name\nX:1,\"Redness, \"\"hot\"\"\"\nX:2,\"of two\nlines\"\n",
        Format::Csv,
        &["X:1: Redness, \"hot\" [] ()", "X:2: of two\nlines [] ()"],
        &[],
    );
    let options = ReadOptions { id_column: "code".into(), name_column: "label".into(), ..Default::default() };
    let (records, _) = read_bytes("v.tsv", "\u{feff}code\tlabel\n1\tRedness\n".as_bytes(), &options).unwrap();
    assert_eq!(records.iter().map(line).collect::<Vec<_>>(), ["1: Redness [] ()"]);
    check_bad("v.tsv", b"code\tname\n1\tRedness\n", ":1: no column \"id\" among \"code\", \"name\"");
    check_bad("v.tsv", b"id\tname\tid\n1\tRedness\t2\n", ":1: two columns \"id\"");
    check_bad("v.tsv", b"id\tname\ttypes\ttypes\n1\tRedness\t\t\n", ":1: two columns \"types\"");
    check_bad("v.tsv", b"id\tname\n1\tRedness\n2\n", ":3: 1 columns, but the header has 2");
    check_bad("v.csv", b"id,name\n1,\"Red\nness\"\n2\n", ":4: 1 columns, but the header has 2");
    check_bad("v.tsv", b"id\tname\n1\tR\xf8dme\n", ":2: not UTF-8: byte 4 of the line");
    check_bad("v.tsv", b"id\tname\n", ": no concept of the format tsv in it");
    check_bad("v.tsv", b"id\tname\n1\t\n", ": no concept of the format tsv in it (left out: 1 without a name)");
    check_bad("v.txt", b"Redness\n", ": neither its name nor its first lines tell the format");
}

#[test]
fn a_column_that_was_asked_for_must_be_there() {
    let options = ReadOptions { types_column: "kinds".into(), ..Default::default() };
    let error = read_bytes("v.tsv", b"id\tname\n1\tRedness\n", &options).unwrap_err();
    assert!(error.to_string().contains("no column \"kinds\""), "{error}");
}

#[test]
fn medic_and_ctd() {
    check(
        "medic.txt",
        "D1||Redness|Rubor\n123456|D2|D3||Heat\n",
        Format::Medic,
        &["D1: Redness; Rubor [] ()", "123456+D2+D3: Heat [] ()"],
        &[],
    );
    check_bad("medic.txt", b"D1||Redness\nD2|Heat\n", ":2: no \"||\"");
    check_bad("medic.txt", b"D1||Redness\nD2||\n", ":2: no name after");
    check_bad("medic.txt", b"D1||Redness\nD2||Heat||0|N|\n", ":2: a second \"||\"");
    check_bad("relations.txt", b"C1|A1|AUI|RB||C2|A2|AUI||R1||MSH|MSH|||N||\n", ": neither its name nor");
    let header = "# Report\n#\n# Fields:\n# ChemicalName\tChemicalID\tCasRN\tTreeNumbers\tSynonyms\n#\n";
    check(
        "CTD_chemicals.tsv",
        &format!("{header}Rubrum\tMESH:C1\t50-00-0\tD02.1|D02.2\tRed|Rouge\n"),
        Format::Ctd,
        &["MESH:C1: Rubrum; Red; Rouge [D02.1 D02.2] (CAS:50-00-0)"],
        &[],
    );
    check(
        "CTD_genes.csv",
        "# Fields:\n# GeneSymbol,GeneName,GeneID,AltGeneIDs,Synonyms\nRED1,redness factor,7,8|9,RF|RED-1\n",
        Format::Ctd,
        &["7+8+9: redness factor; RED1; RF; RED-1 [] ()"],
        &[],
    );
    check_bad("CTD_chemicals.tsv", format!("{header}Rubrum\tMESH:C1\n").as_bytes(), ":6: 2 columns");
    check_bad("CTD_chemicals.tsv", b"# Fields:\n# A\tB\n1\t2\n", ":2: no column that ends with \"Name\"");
}

#[test]
fn obo() {
    check(
        "hp.obo",
        OBO,
        Format::Obo,
        &["HP:1+HP:11: Redness; Rubor of \"skin\"; Red [signs] (UMLS:C0000001)"],
        &[("obsolete", 1, 18), ("of another kind than [Term]", 1, 15), ("synonyms of another scope", 1, 10)],
    );
    check_bad("hp.obo", b"format-version: 1.2\n[Term]\nid: HP:1\nRedness\n", ":4: neither a stanza");
    check_bad("hp.obo", b"[Term]\nid: HP:1\nsynonym: Red EXACT []\n", ":3: a synonym without");
    check_bad("hp.obo", b"[Term]\nid: HP:1\nsynonym: \"Red EXACT []\n", ":3: a synonym without");
    check_bad("hp.obo", b"[Term]\nid: HP:1\nid: HP:2\n", ":3: a second id");
}

#[test]
fn mesh() {
    let expected = "D900001: Redness & Heat; Rødme; Rubor [C23.1 C17.2] (50-00-0)";
    check("desc.xml", DESCRIPTORS, Format::Mesh, &[expected], &[]);
    check("supp.xml", SUPPLEMENT, Format::Mesh, &["C900001: Red ear syndrome; Red ears [SCRClass3] (D900001)"], &[]);
    check_bad("desc.xml", DESCRIPTORS.split("</ConceptList>").next().unwrap().as_bytes(), ":17: XML: ");
    check_bad("desc.xml", DESCRIPTORS.replace("</TermList>", "</Term>").as_bytes(), ":14: XML: ");
    check_bad("desc.xml", DESCRIPTORS.replace("&amp;", "&et;").as_bytes(), ":6: XML: the entity &et; is not known");
    check_bad(
        "desc.xml",
        DESCRIPTORS.replace("D900001", "").as_bytes(),
        ":18: the record that begins in line 4 has no id",
    );
}

#[test]
fn rich_release_format() {
    let skipped = [("names in other languages", 2, 3), ("suppressed names", 1, 4)];
    check("MRCONSO.RRF", MRCONSO, Format::Mrconso, &["C0000001: Redness; Red skin [] ()"], &skipped);
    let options = ReadOptions { languages: Vec::new(), suppressed: true, ..Default::default() };
    let (records, _) = read_bytes("MRCONSO.RRF", MRCONSO.as_bytes(), &options).unwrap();
    let all = ["C0000001: Redness; Red skin; Rötung; Rubor NOS [] ()", "C0000002: Schwellung [] ()"];
    assert_eq!(records.iter().map(line).collect::<Vec<_>>(), all);
    let bad = MRCONSO.replace("|Red skin|", "|Red|skin|");
    check_bad("MRCONSO.RRF", bad.as_bytes(), ":2: 19 columns, but the format has 18");
    // Under other names, and the one for the other.
    check("conso.txt", MRCONSO, Format::Mrconso, &["C0000001: Redness; Red skin [] ()"], &skipped);
    check("types.txt", "C0000001|T184|A2.2.2|Sign|AT1||\n", Format::Mrsty, &["C0000001: - [T184] ()"], &[]);
    let as_umls = ReadOptions { format: Some(Format::Mrconso), ..Default::default() };
    let error = read_bytes("x", b"1|ENG||||||A1||1||RXNORM|IN|1|rubrumol||N||\n", &as_umls).unwrap_err().to_string();
    assert!(error.contains("x:1: the concept id is not C and a number"), "{error}");
    check("MRSTY.RRF", "C0000001|T184|A2.2.2|Sign|AT1||\n", Format::Mrsty, &["C0000001: - [T184] ()"], &[]);
    check_bad("MRSTY.RRF", b"C0000001|T184\n", ":1: 2 columns");
    check(
        "rx.txt",
        "1|ENG||||||A1||1||RXNORM|IN|1|rubrumol||N||\n1|ENG||||||A2||1||RXNORM|SY|1|rubrum||N||\n",
        Format::Rxnconso,
        &["1: rubrumol; rubrum [IN] ()"],
        &[],
    );
}

#[test]
fn snomed() {
    check(
        "sct2_Description_Snapshot-en.txt",
        RF2,
        Format::Snomed,
        &["100: Redness (of skin) [finding] ()", "100: -; Erythema [] ()"],
        &[("definitions", 1, 6), ("inactive descriptions", 1, 4), ("names in other languages", 1, 5)],
    );
    // A full release has several rows of a description.
    check_bad("sct2.txt", RF2.replace("\n2\t", "\n1\t").as_bytes(), ":3: a second row with the same id");
    check_bad("sct2.txt", RF2.replace("\tErythema\t0", "\tErythema").as_bytes(), ":3: 8 columns");
    check_bad("sct2.txt", RF2.replace("900000000000013009\tErythema", "7\tErythema").as_bytes(), ":3: typeId is");
}

const RF2_CONCEPTS: &str = "\
id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId
100\t20200101\t1\t9\t7
200\t20200101\t0\t9\t7
";

const CONCEPT: &str = "\
concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason
7\tRedness\tCondition\tSNOMED\tDisorder\tS\t247441003\t19700101\t20991231\t
8\tErythema, unspecified\tCondition\tICD10CM\tCode\t\tL53.9\t19700101\t20991231\t
9\tOld redness\tCondition\tSNOMED\tDisorder\t\t1\t19700101\t20200101\tU
";

const CONCEPT_SYNONYM: &str = "\
concept_id\tconcept_synonym_name\tlanguage_concept_id
7\tErythema\t4180186
7\tEritema\t4182511
8\tRubor\t4180186
";

/// Builds a vocabulary of files, and lists its concepts.
fn built(files: &[(&str, &str)]) -> (Vec<(String, Vec<String>)>, ner_link::BuildReport) {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = ner_link::Builder::new();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path, &ReadOptions::default(), &mut |record| builder.add(record)).unwrap();
    }
    let path = folder.path().join("out.voc");
    let report = builder.write(&path, "").unwrap();
    let vocabulary = ner_link::Vocabulary::open(&path).unwrap();
    let concepts = (0..vocabulary.concepts()).map(|number| vocabulary.concept(number).unwrap());
    (concepts.map(|concept| (concept.id, concept.names)).collect(), report)
}

#[test]
fn inactive_concepts_of_snomed_are_left_out_in_either_order() {
    check("sct2_Concept_Snapshot.txt", RF2_CONCEPTS, Format::SnomedConcepts, &["100: - [] ()", "200: - [] ()"], &[]);
    let descriptions = format!("{RF2}6\t20200101\t1\t9\t200\ten\t900000000000013009\tRubor\t0\n");
    let mut files = [("d.txt", descriptions.as_str()), ("c.txt", RF2_CONCEPTS)];
    for _ in 0..2 {
        let (concepts, report) = built(&files);
        assert_eq!(concepts, [("100".to_owned(), ["Redness (of skin)", "Erythema"].map(str::to_owned).to_vec())]);
        assert_eq!((report.inactive_concepts, report.unnamed_concepts), (1, 0));
        files.reverse();
    }
}

#[test]
fn standard_concepts_of_omop() {
    check(
        "CONCEPT.csv",
        CONCEPT,
        Format::OmopConcept,
        &["7: Redness [Condition SNOMED Disorder] (SNOMED:247441003)", "8: - [] ()", "9: - [] ()"],
        &[("concepts that are not standard", 1, 3), ("invalid concepts", 1, 4)],
    );
    check(
        "CONCEPT_SYNONYM.csv",
        CONCEPT_SYNONYM,
        Format::OmopSynonym,
        &["7: -; Erythema [] ()", "8: -; Rubor [] ()"],
        &[("names in other languages", 1, 3)],
    );
    let (concepts, report) = built(&[("CONCEPT_SYNONYM.csv", CONCEPT_SYNONYM), ("CONCEPT.csv", CONCEPT)]);
    assert_eq!(concepts, [("7".to_owned(), ["Redness", "Erythema"].map(str::to_owned).to_vec())]);
    assert_eq!(report.inactive_concepts, 2);
}

#[test]
fn a_file_tells_its_code_system_and_release() {
    assert_eq!(read_bytes("hp.obo", OBO.as_bytes(), &ReadOptions::default()).unwrap().1.release, "2026-01-01");
    for (name, text, system) in [
        ("hp.obo", format!("ontology: hp\n{OBO}"), Some("http://purl.obolibrary.org/obo/hp.owl")),
        ("x.obo", format!("ontology: http://example.org/x\n{OBO}"), Some("http://example.org/x")),
        ("y.obo", format!("ontology: x/imports/y\n{OBO}"), None),
        ("desc.xml", DESCRIPTORS.to_owned(), Some("http://terminology.hl7.org/CodeSystem/MSH")),
        ("MRCONSO.RRF", MRCONSO.to_owned(), Some("http://www.nlm.nih.gov/research/umls")),
        ("sct2.txt", RF2.to_owned(), Some("http://snomed.info/sct")),
        ("CONCEPT.csv", CONCEPT.to_owned(), Some(ner_link::OMOP_SYSTEM)),
        ("v.tsv", "id\tname\n1\tRedness\n".to_owned(), None),
    ] {
        let (_, report) = read_bytes(name, text.as_bytes(), &ReadOptions::default()).unwrap();
        assert_eq!(report.system.as_deref(), system, "{name}");
    }
}

/// For each format a file that is read, a part of it that is replaced, by what, and what is said then.
#[test]
fn every_reader_says_the_file_the_line_and_the_reason() {
    let icd = format!("00001 R23     1 {:<60} Redness\n", "Redness");
    let rxnconso = "1|ENG||||||A1||1||RXNORM|IN|1|rubrumol||N||\n";
    let table: [(&str, &str, &str, &str, &str); 30] = [
        ("v.tsv", "id\tname\n1\tRed\n", "1\tRed", "1\tRed\t", ":2: 3 columns, but the header has 2"),
        ("v.csv", "id,name\n1,Red\n", "1,Red", "1,Red,", ":2: 3 columns, but the header has 2"),
        (
            "v.csv",
            "id,name\n1,Red\n2,Hot\n",
            "1,Red",
            "1,\"Red",
            ":3: the file ends within quotation marks that line 2 opens",
        ),
        ("medic.txt", "D1||Red\n", "||Red", "|Red||", ": neither its name nor"),
        ("medic.txt", "D1||Red\nD2||Hot\n", "D2", "", ":2: no id before"),
        ("ctd.tsv", "# Fields:\n# AName\tAID\nRed\tD1\n", "Red\tD1", "Red", ":3: 1 columns"),
        ("ctd.tsv", "# Fields:\n# AName\tAID\nRed\tD1\n", "AID", "Aid", ":2: no column that ends with \"ID\""),
        ("hp.obo", OBO, "id: HP:1", "id:", ":5: an empty id"),
        ("hp.obo", OBO, "name: Redness", "name Redness", ":6: neither a stanza"),
        (
            "desc.xml",
            DESCRIPTORS,
            "</DescriptorRecordSet>",
            "",
            ":20: XML: the file ends before its last element is closed",
        ),
        ("desc.xml", DESCRIPTORS, "<DescriptorName>", "<DescriptorName", ":6: XML: "),
        ("MRCONSO.RRF", MRCONSO, "C0000001|ENG|S|L2", "|ENG|S|L2", ":2: the concept id is not C and a number"),
        ("MRSTY.RRF", "C1|T184|A2|Sign|AT1||\n", "T184", "", ":1: an empty concept id or type"),
        ("RXNCONSO.RRF", rxnconso, "|IN|1|", "|IN|", ":1: 17 columns, but the format has 18"),
        ("sct2.txt", RF2, "typeId", "typeID", ":1: the columns are not id, effectiveTime"),
        ("sct2.txt", RF2, "2\t20200101\t1", "2\t20200101\t2", ":3: active is neither 0 nor 1"),
        ("sct2.txt", RF2, "\tErythema\t", "\t\t", ":3: an empty conceptId or term"),
        ("sct2c.txt", RF2_CONCEPTS, "200\t20200101\t0", "200\t20200101\t", ":3: active is neither 0 nor 1"),
        ("sct2c.txt", RF2_CONCEPTS, "200\t20200101", "\t20200101", ":3: the id is not a number"),
        ("sct2c.txt", RF2_CONCEPTS, "200\t20200101", "20020200101", ":3: 4 columns, but the header has 5"),
        ("CONCEPT.csv", CONCEPT, "8\tEry", "x\tEry", ":3: concept_id is not an integer of 32 bits"),
        ("CONCEPT.csv", CONCEPT, "Disorder\tS", "Disorder\tX", ":2: standard_concept is neither"),
        ("CONCEPT.csv", CONCEPT, "\tU\n", "\tX\n", ":4: invalid_reason is neither"),
        ("CONCEPT.csv", CONCEPT, "8\tErythema, unspecified\t", "8\t", ":3: 9 columns, but the header has 10"),
        ("CONCEPT.csv", CONCEPT, "invalid_reason", "reason", ":1: the columns are not concept_id"),
        ("CONCEPT_SYNONYM.csv", CONCEPT_SYNONYM, "8\tRubor\t", "8\tRubor", ":4: 2 columns, but the header has 3"),
        ("CONCEPT_SYNONYM.csv", CONCEPT_SYNONYM, "8\tRubor", "\tRubor", ":4: concept_id is not"),
        ("icd.txt", &icd, "00001", "0000x", ": neither its name nor"),
        ("icd.txt", &icd, "R23     1", "R23     2", ": neither its name nor"),
        ("icd.txt", &icd, "R23", "R.3", ":1: no code in columns 7 to 13"),
    ];
    let mut seen = std::collections::HashSet::new();
    for (name, good, part, instead, message) in table {
        let (_, report) = read_bytes(name, good.as_bytes(), &ReadOptions::default())
            .unwrap_or_else(|error| panic!("{name} is as it should be, but: {error}"));
        let format = report.format.unwrap();
        seen.insert(format);
        assert!(good.contains(part), "{name}: {part}");
        check_bad(name, good.replacen(part, instead, 1).as_bytes(), message);
        // A byte that is no UTF-8, in the last line; a packed file that is cut.
        let at = good.trim_end().rfind(['\t', '|', ' ', ',', '>']).unwrap_or_default();
        let broken = [&good.as_bytes()[..=at], b"\xff", &good.as_bytes()[at + 1..]].concat();
        let options = ReadOptions { format: Some(format), ..ReadOptions::default() };
        if format != Format::Mesh {
            let error = read_bytes(name, &broken, &options).unwrap_err();
            assert!(error.line > 0 && error.to_string().contains("UTF-8"), "{error}");
        }
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        packed.write_all(good.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let cut = read_bytes(name, &packed[..packed.len() - 9], &options);
        assert!(cut.is_err(), "{name}: a file that is cut");
    }
    let all: std::collections::HashSet<Format> = Format::names().filter_map(Format::named).collect();
    assert_eq!(seen, all, "every format has a row");
}

#[test]
fn icd_10_cm() {
    let short = format!("{:<60}", "Redness oth");
    let lines = format!("00001 R23     0 {short} Redness of other places\n00002 R231    1 {short} Redness oth\n");
    check(
        "icd10cm_order_2026.txt",
        &lines,
        Format::Icd10cm,
        &["R23: Redness of other places; Redness oth [header] ()", "R23.1: Redness oth [code] ()"],
        &[],
    );
    check_bad("icd10cm_order_2026.txt", lines.replace("R231    1", "R231    7").as_bytes(), ":2: column 15 is neither");
    check_bad("icd10cm_order_2026.txt", format!("{lines}00003 R232\n").as_bytes(), ":3: too short");
}

#[test]
fn gzip_is_read_and_a_cut_file_is_an_error() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for number in 0..1000 {
        writeln!(packed, "D{number}||Redness {}", number * 7919).unwrap();
    }
    let packed = packed.finish().unwrap();
    let (records, _) = read_bytes("medic.txt.gz", &packed, &ReadOptions::default()).unwrap();
    assert_eq!(records.len(), 1000);
    let error = read_bytes("medic.txt.gz", &packed[..packed.len() / 2], &ReadOptions::default()).unwrap_err();
    assert!(error.line > 0 && error.to_string().contains("download it again"), "{error}");
    check_bad("v.tsv.zip", b"PK\x03\x04...", ": a ZIP archive; unpack it");
    check_bad("v.tsv", b"\xff\xfei\0d\0", ": UTF-16; save it as UTF-8");
    let missing = read(&PathBuf::from("no/such.tsv"), &ReadOptions::default(), &mut |_| {}).unwrap_err();
    assert!(missing.to_string().starts_with("no/such.tsv: "), "{missing}");
}

#[test]
fn formats_have_names() {
    for name in Format::names() {
        assert_eq!(Format::named(name).unwrap().to_string(), name);
    }
    assert_eq!(Format::named("umls"), None);
}
