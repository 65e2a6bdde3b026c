"""The component for spaCy, with the real packages behind it. `cargo xtask check spacy` has them."""

from __future__ import annotations

from typing import Any

import pytest

spacy = pytest.importorskip("spacy")

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
