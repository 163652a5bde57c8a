import json
import math
import pickle

import pytest
import torch

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.schedule import Cosine
from temperance.core.selector import Named, outputs_of
from temperance.regularizers import FGSM, L1, L2, SAM, Dropout, GradClip, MaxNorm, MixUp


def full() -> Cocktail:
    return Cocktail(
        L2(Cosine(0.1, end=0.5)),
        L2(0.2, where="head.*"),
        Dropout(0.3, where=outputs_of("Linear")),
        GradClip(math.inf),
        FGSM(0.1, bounds=(0, 1)),
        L1(0.1, name="sparse"),
    )


def test_labels_are_distinct() -> None:
    assert full().labels == ("l2", "l2_2", "dropout", "grad_clip", "fgsm", "sparse")
    with pytest.raises(ConfigError, match="Two regularizers of the cocktail are named 'l2'"):
        Cocktail(L2(), L1(name="l2"))


def test_nesting_flattens_in_order() -> None:
    inner = Cocktail(MixUp(), Cocktail(L1()))
    assert [type(r) for r in Cocktail(L2(), inner, MaxNorm())] == [L2, MixUp, L1, MaxNorm] and len(inner) == 2


def test_only_regularizers_go_in() -> None:
    for bad in (3, L2, None, [L2()]):
        with pytest.raises(ConfigError, match="Expected `items` of Cocktail to be regularizers or cocktails"):
            Cocktail(bad)


def test_json_round_trip_keeps_everything() -> None:
    cocktail = full()
    text = cocktail.to_json()
    again = Cocktail.from_json(text)
    assert again.to_json() == text and again.labels == cocktail.labels and again.static() == cocktail.static()
    assert again["grad_clip"].norm == math.inf and '"inf"' in text and "Infinity" not in text
    assert again["l2_2"].where == Named("head.*") and again["fgsm"].bounds == (0.0, 1.0)
    assert pickle.loads(pickle.dumps(cocktail)).to_json() == text


def test_json_file(tmp_path) -> None:
    path = tmp_path / "cocktail.json"
    full().to_json(path)
    assert Cocktail.from_json(path).to_dict() == full().to_dict() == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{broken", "not JSON"),
        ("no/such/file.json", "which is no file"),
        ("{}", "with a list `cocktail`"),
        ('{"cocktail": [{"regularizer": "L3"}]}', "Unknown regularizer 'L3'. Did you mean L1, L2"),
        ('{"cocktail": [{"regularizer": "L2", "lam": -1}]}', r"Expected `lam` of L2 in \[0, inf\), got -1.0"),
        ('{"cocktail": [{"regularizer": "L2", "lamb": 1}]}', "L2 has no field 'lamb'"),
        ('{"cocktail": [{"regularizer": "L2", "lam": {"schedule": "Sine"}}]}', "to be one of Constant, Cosine"),
        ('{"cocktail": [{"label": "a", "regularizer": "L2"}, {"label": "a", "regularizer": "L1"}]}', "labels of a cocktail file to differ"),
    ],
)
def test_unreadable_files(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cocktail.from_json(text)


def test_strengths_by_label() -> None:
    cocktail = Cocktail(L2(0.1), Dropout(0.2))
    changed = cocktail.with_strengths({"dropout.rate": 0.5})
    assert changed.strengths() == {"l2.lam": 0.1, "dropout.rate": 0.5, "dropout.input_rate": 0.0} and cocktail["dropout"].rate == 0.2
    assert full().with_strengths({"l2.lam": 0.7})["l2"].lam.static() == full()["l2"].lam.static()
    with pytest.raises(ConfigError, match=r"no strength 'dropout.rat'. It has l2.lam, dropout.rate"):
        cocktail.with_strengths({"dropout.rat": 0.5})
    with pytest.raises(ConfigError, match=r"Expected `rate` of Dropout in \[0, 1\), got 1.5"):
        cocktail.with_strengths({"dropout.rate": 1.5})
    with pytest.raises(ConfigError, match="no regularizer 'l1'"):
        cocktail["l1"]


def test_grid_is_the_product_in_order() -> None:
    grid = Cocktail(L2(), Dropout()).grid(l2__lam=torch.logspace(-3, -1, 3), dropout__rate=[0.0, 0.5])
    assert [(round(c["l2"].lam, 6), c["dropout"].rate) for c in grid] == [(0.001, 0.0), (0.001, 0.5), (0.01, 0.0), (0.01, 0.5), (0.1, 0.0), (0.1, 0.5)]
    assert len({c.static() for c in grid}) == 1
    scheduled = Cocktail(L2()).grid(l2__lam=[0.1, Cosine(0.1)])
    assert len({c.static() for c in scheduled}) == 2


def test_off_without_and_active_keep_labels() -> None:
    cocktail = full()
    assert all(r.is_off() or type(r).__name__ == "FGSM" for r in cocktail.off()) and cocktail.off()["fgsm"].is_off()
    assert cocktail.without("l2").labels == ("l2_2", "dropout", "grad_clip", "fgsm", "sparse")
    assert cocktail.off().active().labels == ("l2", "l2_2", "dropout", "grad_clip", "sparse")
    assert cocktail.active().labels == cocktail.labels


def test_extra_passes_that_are_off_are_another_program() -> None:
    on, off = Cocktail(L2(0.1), SAM(0.1)), Cocktail(L2(0.1), SAM(0.0))
    assert on.static() != off.static() and Cocktail(L2(0.1)).static() == Cocktail(L2(0.0)).static()


def test_repr_can_be_read_back() -> None:
    names = {"Cocktail": Cocktail, "L2": L2, "Dropout": Dropout, "GradClip": GradClip, "L1": L1, "Cosine": Cosine, "math": math}
    cocktail = Cocktail(L2(Cosine(0.1)), Dropout(0.3), GradClip(math.inf), L1(0.1, name="sparse"))
    assert eval(repr(cocktail), names).to_dict() == cocktail.to_dict()


@pytest.mark.parametrize(
    "entry", [3, None, [], "L2", {"regularizer": "L2", "lam": []}, {"regularizer": "L2", "lam": {"schedule": "Cosine", "value": {}}}, {"regularizer": {}}]
)
def test_entries_of_another_kind_are_refused_in_words(entry: object) -> None:
    with pytest.raises(ConfigError):
        Cocktail.from_json(json.dumps({"cocktail": [entry]}))
