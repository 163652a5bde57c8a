import json

import pytest

import temperance.regularizers
from temperance.core.errors import ConfigError
from temperance.core.registry import REGISTRY, lookup, rows
from temperance.core.regularizer import Regularizer, register


def test_the_package_fills_it() -> None:
    assert set(temperance.regularizers.__all__) <= set(REGISTRY)
    assert all(REGISTRY[name] is getattr(temperance.regularizers, name) for name in temperance.regularizers.__all__)


@pytest.mark.parametrize("name", ["LabelSmoothing", "label_smoothing", "labelsmoothing", "LABEL_SMOOTHING"])
def test_either_spelling(name: str) -> None:
    assert lookup(name) is temperance.regularizers.LabelSmoothing


def test_near_names() -> None:
    with pytest.raises(ConfigError, match=r"Unknown regularizer 'Dropuot'. Did you mean .*Dropout"):
        lookup("Dropuot")
    with pytest.raises(ConfigError, match=r"Unknown regularizer 'zzz'. Known are "):
        lookup("zzz")


def test_rows_are_plain_and_complete() -> None:
    table = {row["name"]: row for row in json.loads(json.dumps(rows(), allow_nan=False))}
    assert set(table) == set(REGISTRY)
    assert table["MaxNorm"]["strengths"]["c"]["off"] == "inf" and table["L2"]["sites"] == ["penalty"]
    assert table["L2"]["label"] == "l2" and table["L2"]["summary"].startswith("Pulls every weight")
    assert all(row["spec"] and row["reference"] and row["summary"] for row in table.values())


def test_labels_are_distinct_and_in_snake_case() -> None:
    labels = [cls.default_label() for cls in REGISTRY.values()]
    assert len(set(labels)) == len(labels) and all(label == label.lower() and " " not in label for label in labels)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ConfigError, match="A regularizer named L2 is registered already"):

        @register
        class L2(Regularizer):
            """Another."""

    assert REGISTRY["L2"] is temperance.regularizers.L2


def test_a_new_one_needs_one_class() -> None:
    @register
    class Quieter(Regularizer):
        """A new one."""

    try:
        assert lookup("quieter") is Quieter and Quieter.sites() == ()
    finally:
        del REGISTRY["Quieter"]
