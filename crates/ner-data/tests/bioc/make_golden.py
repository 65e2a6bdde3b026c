"""Writes golden.xml and golden.json with the package bioc (pip install bioc==2.1): python make_golden.py

Invented text with what BioC can say: Unicode beyond the first plane, a mention in two places, nested mentions,
relations with and without nodes, sentences, infons everywhere. `../bioc.rs` expects it to be read from both files.
"""

from pathlib import Path

from bioc import (
    BioCAnnotation,
    BioCCollection,
    BioCDocument,
    BioCLocation,
    BioCNode,
    BioCPassage,
    BioCRelation,
    BioCSentence,
    biocjson,
    biocxml,
)


def passage(offset, kind, text=None):
    made = BioCPassage()
    made.offset, made.text = offset, text
    if kind:
        made.infons["type"] = kind
    return made


def sentence(offset, text):
    made = BioCSentence()
    made.offset, made.text = offset, text
    return made


def annotation(id, text, locations, **infons):
    made = BioCAnnotation()
    made.id, made.text, made.infons = id, text, infons
    made.locations = [BioCLocation(offset, length) for offset, length in locations]
    return made


def relation(id, nodes=(), **infons):
    made = BioCRelation()
    made.id, made.infons = id, infons
    made.nodes = [BioCNode(refid, role) for refid, role in nodes]
    return made


def first():
    document = BioCDocument()
    document.id = "D/1"
    document.infons = {"site": "Zürich & <Bern>"}
    title = passage(0, "title", 'α-Blocker 💊: "acute" and chronic pain')
    title.add_annotation(annotation("t1", "α-Blocker", [(0, 9)], type="Chemical", identifier="MESH:D000317"))
    title.add_annotation(annotation("t2", "acute pain", [(14, 5), (33, 4)], type="Disease", MESH="D059787|-1"))
    title.add_annotation(annotation("t3", "chronic pain", [(25, 12)], type="Disease", MESH="D059350"))
    title.add_annotation(annotation("t4", "pain", [(33, 4)], type="Sign", certainty="possible"))
    body = passage(38, "abstract", "Pain\u202f>\u202f5 e\u0301tait traite\u0301.")
    body.infons["section"] = "1"
    body.add_annotation(annotation("t5", "Pain", [(38, 4)], type="Sign"))
    document.add_passage(title)
    document.add_passage(body)
    document.add_relation(relation("R1", [("t1", "agent"), ("t3", "target")], type="treats"))
    document.add_relation(relation("R2", relation="CID", Chemical="D000317", Disease="D059350"))
    return document


def second():
    document = BioCDocument()
    document.id = "2"
    whole = passage(0, None)
    one = sentence(0, "No fever.")
    one.add_annotation(annotation("a", "fever", [(3, 5)], type="Sign", negated="true"))
    two = sentence(10, "Cough 😷.")
    two.add_annotation(annotation("b", "Cough", [(10, 5)], type="Sign"))
    whole.add_sentence(one)
    whole.add_sentence(two)
    document.add_passage(whole)
    document.add_relation(relation("R1", [("b", ""), ("a", "")], type="with"))
    return document


collection = BioCCollection()
collection.source, collection.date, collection.key = "invented", "2024-01-01", "none.key"
collection.documents = [first(), second()]
folder = Path(__file__).parent
with open(folder / "golden.xml", "w", encoding="utf-8") as file:
    biocxml.dump(collection, file)
with open(folder / "golden.json", "w", encoding="utf-8") as file:
    biocjson.dump(collection, file, ensure_ascii=False, indent=1)
    file.write("\n")
