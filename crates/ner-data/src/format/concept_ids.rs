//! Several concept ids in one value, as PubTator and BioC state them.

/// Values that stand for no concept: PubTator's, and that of PubTator3.
const NO_CONCEPT: &[&str] = &["-1", "-"];

/// Separators of ids: those of BC5CDR, of BioRED and NLM-Chem, and of NCBI's gene ids.
const SEPARATORS: [char; 3] = ['|', ',', ';'];

/// What occurs in the names of types for sequence variants, without punctuation and in lower case: those of tmVar
/// (`DNAMutation`, `ProteinAllele`, `SNP`, `AcidChange`), BioRED (`SequenceVariant`) and other tools (`Variation`).
const VARIANT_TYPES: &[&str] = &["mutation", "variant", "variation", "allele", "snp"];

/// The second field of tmVar's ids (`c|DEL|1314_1328|`).
const VARIANT_KINDS: &[&str] = &["SUB", "DEL", "INS", "DUP", "INDEL", "INV", "FS", "CNV", "ALLELE"];

/// The ids in `value` of a mention of this type. The id of a sequence variant has separators of its own, so that such a
/// value is one id.
pub(super) fn split(entity_type: &str, value: &str) -> Vec<String> {
    let value = value.trim();
    let ids = match is_variant(entity_type, value) {
        true => vec![value],
        false => value.split(SEPARATORS).map(str::trim).collect(),
    };
    ids.into_iter().filter(|id| !id.is_empty() && !NO_CONCEPT.contains(id)).map(str::to_owned).collect()
}

fn is_variant(entity_type: &str, value: &str) -> bool {
    let letters = entity_type.chars().filter(|c| c.is_alphanumeric());
    let name: String = letters.flat_map(char::to_lowercase).collect();
    let mut fields = value.split('|');
    let (sequence, kind) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    VARIANT_TYPES.iter().any(|known| name.contains(known))
        || name.ends_with("change")
        || ((sequence.len() <= 1 || sequence.starts_with("tmVar:"))
            && VARIANT_KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind)))
}

/// The value for these ids.
pub(super) fn join(ids: &[String]) -> String {
    ids.join("|")
}

/// Those of the ids that [`split`] returns from their value, unchanged and in order.
pub(super) fn express(entity_type: &str, ids: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = ids.into_iter().filter(|id| split(entity_type, id) == [id.as_str()]).collect();
    if split(entity_type, &join(&kept)) != kept {
        kept.truncate(1);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_several_ids_or_one_variant() {
        let table: &[(&str, &str, &[&str])] = &[
            ("Disease", "D1|-1|D2", &["D1", "D2"]),
            ("Gene", "9;8", &["9", "8"]),
            ("Chemical", "MESH:D1, OMIM:2", &["MESH:D1", "OMIM:2"]),
            ("Gene", "-", &[]),
            ("Disease", "|", &[]),
            ("SequenceVariant", "c|DEL|1314_1328|", &["c|DEL|1314_1328|"]),
            ("DNA Mutation", "rs1,rs2", &["rs1,rs2"]),
            ("ProteinMutation", "tmVar:p|SUB|V|600|E;HGVS:p.V600E", &["tmVar:p|SUB|V|600|E;HGVS:p.V600E"]),
            ("acid_change", "|Allele|A|5", &["|Allele|A|5"]),
            ("X", "p|SUB|V|600|E", &["p|SUB|V|600|E"]),
            ("X", "|sub|V||E", &["|sub|V||E"]),
            ("SNP", "-", &[]),
        ];
        for (entity_type, value, ids) in table {
            assert_eq!(split(entity_type, value), *ids, "{entity_type} {value}");
        }
        let express = |entity_type, ids: &[&str]| super::express(entity_type, ids.iter().map(|&id| id.to_owned()));
        assert_eq!(express("X", &["D1", "-1", "a,b", " x", "D2|", "D1"]), ["D1", "D1"]);
        assert_eq!(express("SNP", &["rs1", "rs2"]), ["rs1"]);
        assert_eq!(express("X", &["c|DEL|1|", "D1"]), ["c|DEL|1|"]);
    }
}
