"""A gate's checks as JUnit XML, which CI systems read."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from harness.analysis.gate import Check, Outcome

_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not have (section 2.2)."""
ELEMENTS = {Outcome.NOT_MET: "failure", Outcome.NOT_TOLD: "error"}


def to_junit(run: str, checks: Sequence[Check]) -> str:
    """A test case for every cell and rule: what is not met is a failure, what cannot be told an
    error."""
    suites = ET.Element("testsuites")
    suite = ET.SubElement(
        suites,
        "testsuite",
        name=_text(f"orderbench gate, {run}"),
        tests=str(len(checks)),
        failures=str(sum(check.outcome is Outcome.NOT_MET for check in checks)),
        errors=str(sum(check.outcome is Outcome.NOT_TOLD for check in checks)),
    )
    for check in checks:
        case = ET.SubElement(
            suite, "testcase", classname=_text(check.cell), name=_text(check.rule.where)
        )
        if check.outcome in ELEMENTS:
            ET.SubElement(case, ELEMENTS[check.outcome], message=_text(check.said))
        else:
            ET.SubElement(case, "system-out").text = _text(check.said)
    ET.indent(suites)
    declaration = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{declaration}\n{ET.tostring(suites, encoding='unicode')}\n"


def _text(text: str) -> str:
    return _NO_XML.sub("�", text)
