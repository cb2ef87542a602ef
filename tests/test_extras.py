"""Optional packages: one check, one error message."""

from __future__ import annotations

import json
import math
import sys

import pytest
from mosaic_ner.data_builders.extras import ExtraError, require
from mosaic_ner.modeling.label_space import UserError


def test_one_module_or_several_are_returned():
    assert require("x", "counting", "math") is math
    assert require("x", "counting", "math", "json") == (math, json)


@pytest.mark.parametrize("modules", [("absent_package",), ("math", "absent_package"), ("absent_package.part",)])
def test_the_error_says_why_and_what_to_install(modules):
    with pytest.raises(ExtraError) as caught:
        require("ontologies", "own.obo: reading an ontology", *modules)
    assert isinstance(caught.value, UserError)
    assert str(caught.value).startswith(
        "own.obo: reading an ontology needs absent_package: pip install 'mosaic-ner[ontologies]'"
    )


def test_a_package_that_is_blocked_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "absent_package", None)
    with pytest.raises(ExtraError, match="counting needs absent_package"):
        require("x", "counting", "absent_package")
