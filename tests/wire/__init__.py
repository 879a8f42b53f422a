"""Records what one order of each style looks like on the wire, for the report.

`python -m tests.wire` writes harness/report/styles/wire/ anew, from the project's own drivers and
servers; tests/conformance/test_wire_examples.py records once more and compares.
"""
