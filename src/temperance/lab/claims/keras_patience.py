"""Early stopping with a patience, with and without the best weights restored."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, PATHAK, Chart, Experiment, Line, every
from temperance.lab.rows import network, split

PATIENCE = 5


@cache
def run(seed: int, data: object) -> tuple[tuple[float, ...], float, float, int]:
    """Validation loss by epoch, that of the best and of the last weights, and the epoch of the best."""
    train, held, _ = split(seed, 60, data)
    loss: Any = tp.losses.SquaredError() if train.task == "regression" else tp.losses.SoftmaxCrossEntropy()
    done = tp.fit(
        network(train, 64, seed),
        tp.Cocktail(),
        train,
        validation=held,
        metric="rmse" if train.task == "regression" else "log_loss",
        optimizer=tp.optim.Adam(0.02),
        epochs=150,
        batch_size=20,
        early_stopping=tp.EarlyStopping(patience=f"{PATIENCE} epochs"),
        seed=seed,
    )
    outcome = done.outcomes[0]
    net, found = done.member(0), []
    with torch.no_grad():
        for state in (outcome.state, outcome.final):
            assert state is not None
            net.load_state_dict(state)
            found.append(float(loss.per_row(net(held.x), held.y).mean()))
    path = tuple(float(row["validation_loss"]) for row in outcome.history)
    return path, found[0], found[1], outcome.best


class KerasPatience(Experiment):
    topic = "Stopping"
    question = "Which weights does early stopping with patience 5 return?"
    claim = "It must keep the weights of the best epoch. Those at the stop are five epochs older, and worse on the rows that decided."
    source = f"{PATHAK}, early stopping (Keras); {LEGENSTEIN}, early stopping"
    expect = "Training stops some epochs after the best one. Without `restore_best_weights`, which weights do you get?"
    rules = (every("loss of what is returned, above the best", "<", 1e-5), every("epochs between the best and the stop", ">", PATIENCE - 0.5))
    control = "The weights at the stop, as Keras returns them without `restore_best_weights`."
    takes_data = True
    next = "A patience of 50: more epochs to recover in, and a larger loss at the stop."
    limits = "The best epoch is chosen on the validation rows, so its loss there is optimistic. Test rows tell the truth."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        path, best, last, place = run(seed, self.data)
        return {
            "loss of what is returned, above the best": (last if control else best) - min(path),
            "epochs between the best and the stop": len(path) - 1 - place,
        }

    def draw(self) -> Chart:
        path, best, last, place = run(0, self.data)
        epochs = range(1, len(path) + 1)
        lines = [Line("validation rows", epochs, path), Line("best", [place + 1], [best], "dots"), Line("at the stop", [len(path)], [last], "dots")]
        return Chart("epoch", "loss", lines, low=0, note=f"Best after epoch {place + 1}, stopped after epoch {len(path)}.")
