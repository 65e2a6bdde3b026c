"""The component for spaCy, with the real packages behind it. `cargo xtask check spacy` has them."""

from __future__ import annotations

from typing import Any

import pytest

import medner

spacy = pytest.importorskip("spacy")
from medner.spacy import Component  # noqa: E402

TEXT = "Naloxone reverses the effect of clonidine. He denies hypotension. Aspirin was given."


@pytest.fixture(scope="module")
def nlp(folder: str) -> Any:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("medner", config={"model": folder})
    return nlp


def test_entities_and_spans(nlp: Any) -> None:
    doc = nlp(TEXT)
    assert ("Naloxone", "Chemical") in [(ent.text, ent.label_) for ent in doc.ents]
    assert len(doc.spans["medner"]) >= len(doc.ents) > 2
    for span in doc.spans["medner"]:
        mention = span._.medner
        assert doc.text[mention.start : mention.end] == mention.text and mention.text in span.text
    together = [[(e.text, e.label_) for e in doc.ents] for doc in nlp.pipe([TEXT, "", TEXT], batch_size=2)]
    alone = [(e.text, e.label_) for e in doc.ents]
    assert together == [alone, [], alone]


def test_two_mentions_in_one_token_keep_their_types() -> None:
    def mention(start: int, end: int, kind: str) -> medner.Mention:
        return medner.Mention(start, end, "abcd_efgh"[start:end], kind, None, 0.9)

    def found(text: str) -> medner.Mentions:
        return medner.Mentions(text, [mention(0, 4, "A"), mention(5, 9, "B"), mention(5, 8, "B")])

    model: Any = found
    doc = Component(model, "medner", True)(spacy.blank("en")("abcd_efgh"))
    assert [(span.label_, span._.medner.text) for span in doc.spans["medner"]] == [("A", "abcd"), ("B", "efgh")]
    assert doc.ents[0]._.medner.type == doc.ents[0].label_ == "A"
    assert [mention.text for mention in doc._.medner] == ["abcd", "efgh", "efg"]


def test_documents_are_written_and_sent_to_processes(nlp: Any) -> None:
    doc = nlp(TEXT)
    again = spacy.tokens.Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert again.ents[0]._.medner == doc.ents[0]._.medner is not None
    kept = list(spacy.tokens.DocBin(docs=[doc], store_user_data=True).get_docs(nlp.vocab))[0]
    assert kept._.medner == doc._.medner
    sent = list(nlp.pipe([TEXT, "", TEXT], n_process=2))
    assert [[ent._.medner for ent in one.ents] for one in sent] == [[ent._.medner for ent in doc.ents], [], [ent._.medner for ent in doc.ents]]


def test_what_others_found_stays(folder: str) -> None:
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "VERB", "pattern": "denies"}, {"label": "MINE", "pattern": "Naloxone"}])
    nlp.add_pipe("medner", config={"model": folder})
    found = {ent.text: ent.label_ for ent in nlp(TEXT).ents}
    assert found["denies"] == "VERB" and found["Naloxone"] == "Chemical"


def test_a_pipeline_on_disk_names_its_model(nlp: Any, tmp_path: Any) -> None:
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert [ent.text for ent in again(TEXT).ents] == [ent.text for ent in nlp(TEXT).ents]
    with pytest.raises(ValueError, match="name a model"):
        spacy.blank("en").add_pipe("medner")


def test_negspacy_behind_it(folder: str) -> None:
    pytest.importorskip("negspacy")
    import negspacy.negation  # noqa: F401

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("medner", config={"model": folder})
    nlp.add_pipe("negex", config={"ent_types": ["Disease"]})
    negated = {ent.text: ent._.negex for ent in nlp(TEXT).ents if ent.label_ == "Disease"}
    assert negated["hypotension"] is True


def test_medspacy_behind_it(folder: str) -> None:
    pytest.importorskip("medspacy")
    import medspacy.context  # noqa: F401
    import medspacy.section_detection  # noqa: F401

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("medner", config={"model": folder})
    nlp.add_pipe("medspacy_context")
    nlp.add_pipe("medspacy_sectionizer")
    doc = nlp("Past Medical History:\n" + TEXT)
    negated = {ent.text: ent._.is_negated for ent in doc.ents}
    assert negated["hypotension"] is True and negated["Naloxone"] is False
    assert {ent._.section_category for ent in doc.ents} == {"past_medical_history"}
