"""Early stopping has said for how long: train again on all rows, in three ways."""

from functools import cache
from typing import Any

import temperance as tp
from temperance.lab import LEGENSTEIN, Chart, Experiment, Line, on_average
from temperance.lab.rows import loss, network, split

WAYS = ("same_epochs", "same_steps", "until_train_loss")
ROWS = 100


@cache
def found(seed: int, data: Any) -> dict[str, tuple[float, int]]:
    """Loss on test rows and steps of training: of the network that was stopped early, and of each that saw the validation rows as well."""
    train, rest, test = split(seed, ROWS, data)
    held = rest.take(range(min(ROWS, len(rest))))
    out = {}
    for way in WAYS:
        done = tp.fit(
            network(train, 64, seed),
            tp.Cocktail(),
            train,
            validation=held,
            metric="rmse" if train.task == "regression" else "log_loss",
            optimizer=tp.optim.Adam(3e-3),
            epochs=60,
            batch_size=20,
            check_every=5,
            early_stopping=tp.EarlyStopping(patience="10 epochs"),
            seed=seed,
            retrain=way,
        )
        assert done.retrained is not None
        out["none"] = loss(done.member(0), test), done.outcomes[0].best_step
        out[way] = loss(done.retrained.model, test), done.retrained.steps
    return out


class Retraining(Experiment):
    topic = "Stopping"
    question = "What should become of the validation rows after early stopping?"
    claim = "With as many validation rows as training rows, a network trained again on both has a smaller test loss, whichever of three ways says for how long."
    source = f"{LEGENSTEIN}, early stopping: alternative, to make better use of data"
    expect = "Early stopping used 100 rows to find the moment, and learned nothing from them. As many epochs, as many steps, or on from there?"
    rules = tuple(on_average(f"test loss saved, {way}", ">", 0.0) for way in WAYS)
    control = "The network that was stopped early, without further training."
    takes_data = True
    slow = True
    next = "A tenth of the rows for validation: is the gain still there?"
    limits = "Nobody watches the second run. `until_train_loss` may never reach its target, and is then cut off at twice the steps."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed, self.data)
        plain = rows["none"][0]
        saved = {f"test loss saved, {way}": 0.0 if control else plain - rows[way][0] for way in WAYS}
        return {**saved, **{f"steps, {way}": float(rows[way][1]) for way in WAYS}}

    def draw(self) -> Chart:
        rows = found(0, self.data)
        names = ("none", *WAYS)
        note = "; ".join(f"{name} {rows[name][0]:.3f} after {rows[name][1]} steps" for name in names) + "."
        return Chart("second training", "test loss", [Line("loss", range(4), [rows[name][0] for name in names], "bars")], names=names, note=note, low=0)
