#!/usr/bin/env python3
"""Checks that bundles of `medner annotate --to fhir` are FHIR R4.

`cargo xtask check fhir` brings what it needs and runs it. By hand:

    python scripts/check_fhir.py FILE...

Each FILE holds one bundle, or one per line (NDJSON). Every bundle

- is read by fhir.resources, which refuses unknown elements, missing required ones and wrong types,
- is equal to what fhir.resources writes after reading it,
- has only codes that R4 lists, both those that fhir.resources knows and those of CODES,
- keeps the rules of R4 about statuses that occur here (con-4, con-5, obs-6), and
- refers only to resources that it holds, each of which has an id of its own; a finding has one provenance.

Exits with 1 and names what is wrong by path, never by text. It needs a Python environment with
scripts/fhir-requirements.txt, or with a later fhir.resources, whose R4B has the same elements for these resources.
"""

import json
import re
import sys
from pathlib import Path

try:
    from fhir.resources.R4B.bundle import Bundle
    VERSION = "R4B"
except ImportError:
    from fhir.resources.bundle import Bundle
    VERSION = "R4"

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"

# Codes of the systems that R4 binds, https://hl7.org/fhir/R4/terminologies-systems.html.
CODES = {
    TERMINOLOGY + "condition-clinical": {"active", "recurrence", "relapse", "inactive", "remission", "resolved"},
    TERMINOLOGY + "condition-ver-status": {"unconfirmed", "provisional", "differential", "confirmed", "refuted",
                                           "entered-in-error"},
    TERMINOLOGY + "data-absent-reason": {"unknown", "asked-unknown", "temp-unknown", "not-asked", "asked-declined",
                                         "masked", "not-applicable", "unsupported", "as-text", "error", "not-a-number",
                                         "negative-infinity", "positive-infinity", "not-performed", "not-permitted"},
    TERMINOLOGY + "provenance-participant-type": {"enterer", "performer", "author", "verifier", "legal", "attester",
                                                  "informant", "custodian", "assembler", "composer"},
    # Those that medner uses, https://terminology.hl7.org/CodeSystem-v3-RoleCode.html.
    TERMINOLOGY + "v3-RoleCode": {"FAMMEMB", "MTH", "FTH", "PRN", "SIS", "BRO", "SIB", "SONC", "DAUC", "CHILD", "GRMTH",
                                  "GRFTH", "GRPRN", "AUNT", "UNCLE", "COUSN", "NIECE", "NEPHEW"},
    # Systems whose codes are not listed here: those of sections, and of vocabularies that users link mentions to.
    "http://loinc.org": None,
    "http://snomed.info/sct": None,
    "http://www.nlm.nih.gov/research/umls/rxnorm": None,
    "http://www.nlm.nih.gov/research/umls": None,
    "http://hl7.org/fhir/sid/icd-10-cm": None,
    TERMINOLOGY + "MSH": None,
    "https://fhir-terminology.ohdsi.org": None,
    "http://purl.obolibrary.org/obo/doid.owl": None,
}

# Status codes that R4 requires, https://hl7.org/fhir/R4/valuesets.html.
STATUS = {
    "DocumentReference": {"current", "superseded", "entered-in-error"},
    "FamilyMemberHistory": {"partial", "completed", "entered-in-error", "health-unknown"},
    "MedicationStatement": {"active", "completed", "entered-in-error", "intended", "stopped", "on-hold", "unknown",
                            "not-taken"},
    "Observation": {"registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error",
                    "unknown"},
    "Procedure": {"preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error",
                  "unknown"},
}

FINDINGS = {"Condition", "FamilyMemberHistory", "MedicationStatement", "Observation", "Procedure"}


def bundles(path):
    text = Path(path).read_text(encoding="utf-8")
    try:
        yield json.loads(text)
    except json.JSONDecodeError:
        for line in text.splitlines():
            yield json.loads(line)


def walk(value, path=""):
    yield path, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from walk(child, f"{path}/{key}")


def faults(bundle):
    """What is wrong with a bundle."""
    try:
        parsed = Bundle.parse_obj(bundle) if VERSION == "R4" else Bundle.model_validate(bundle)
    except ValueError as error:
        # The library's own words hold values, and with them text.
        yield from (f"{error['loc']}: {error['type']}" for error in error.errors())
        return
    written = json.loads(parsed.json() if VERSION == "R4" else parsed.model_dump_json())
    for _, value in walk(written):
        # The first pydantic writes the same instant in another way.
        if isinstance(value, dict) and "recorded" in value:
            value["recorded"] = re.sub(r"\+00:00$", "Z", value["recorded"])
    if written != bundle:
        yield "is not equal to what fhir.resources writes"

    resources = [entry["resource"] for entry in bundle["entry"]]
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    if len(set(urls)) < len(urls):
        yield "two resources have one id"
    if any(url != f"urn:uuid:{resource['id']}" for url, resource in zip(urls, resources)):
        yield "an id is not that of its address"
    for path, value in walk(bundle):
        if path.endswith("/reference") and value.startswith("urn:uuid:") and value not in urls:
            yield f"{path} refers to nothing"
        if isinstance(value, dict) and {"system", "code"} <= value.keys():
            known = CODES.get(value["system"], set())
            if known is not None and value["code"] not in known:
                yield f"{path}: {value['code']} is no code of {value['system']}"
        if value in ("", [], {}):
            yield f"{path} is empty"
    targets = [target["reference"] for r in resources if r["resourceType"] == "Provenance" for target in r["target"]]
    found = [url for url, resource in zip(urls, resources) if resource["resourceType"] in FINDINGS]
    if sorted(targets) != sorted(found):
        yield "findings and targets of provenance differ"
    for resource in resources:
        kind, name = resource["resourceType"], resource["id"]
        if kind in STATUS and resource["status"] not in STATUS[kind]:
            yield f"{kind} {name}: {resource['status']} is no status"
        clinical, verification = (
            {coding["code"] for coding in resource.get(key, {}).get("coding", [])}
            for key in ("clinicalStatus", "verificationStatus"))
        if "entered-in-error" in verification and clinical:
            yield f"Condition {name}: con-5"
        if any(key.startswith("abatement") for key in resource) and not clinical & {"inactive", "resolved", "remission"}:
            yield f"Condition {name}: con-4"
        if "dataAbsentReason" in resource and any(key.startswith("value") for key in resource):
            yield f"Observation {name}: obs-6"


def main():
    count, resources, bad = 0, 0, 0
    for path in sys.argv[1:]:
        for number, bundle in enumerate(bundles(path), 1):
            count += 1
            resources += len(bundle["entry"])
            for fault in faults(bundle):
                bad += 1
                print(f"{path}: bundle {number}: {fault}")
    print(f"{count} bundles with {resources} resources, {VERSION} of fhir.resources: {bad} faults")
    sys.exit(bad > 0 or count == 0)


if __name__ == "__main__":
    main()
