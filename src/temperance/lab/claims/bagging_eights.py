"""The detector of eights: what each resample of 9, 6, 8 teaches, and what both together know."""

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import descend

# upper loop, lower loop, a pixel that every digit has
DIGITS = {"9": (1.0, 0.0, 1.0), "6": (0.0, 1.0, 1.0), "8": (1.0, 1.0, 1.0)}
RESAMPLES = ("868", "998")


def scores(letters: str, steps: int = 400) -> torch.Tensor:
    """What a linear detector that was trained on these digits gives 9, 6 and 8: 1 is yes."""
    x = torch.tensor([DIGITS[letter] for letter in letters], dtype=torch.float64)
    y = torch.tensor([float(letter == "8") for letter in letters], dtype=torch.float64)
    (w,) = descend(x, y, [tp.Cocktail()], steps, tp.optim.SGD(0.5))
    return torch.tensor(list(DIGITS.values()), dtype=torch.float64) @ w


class BaggingEights(Experiment):
    topic = "Structure and averaging"
    question = "Why are two detectors that are both wrong together right?"
    claim = "From 8, 6, 8 a detector learns that an upper loop makes an 8, from 9, 9, 8 that a lower one does. Only an 8 satisfies both."
    source = f"{PATHAK}, bagging and other ensemble methods: the resamples of 9, 6, 8"
    expect = "One resample has no 9, the other no 6. What does each detector say to the digit that it has never seen?"
    rules = (
        every("score of the digit that a detector never saw", ">", 0.6),
        every("mean of both: score of the 8", ">", 0.95),
        every("mean of both: highest score of 9 and 6", "<", 0.6),
    )
    control = "Both trained on all three digits: no detector has a gap."
    seeds = 1
    next = "Ten resamples of a thousand digits: `vote_or_mean`."
    limits = "Three digits and two features. That errors differ between resamples is what bagging lives on; where all resamples err alike it gains nothing."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        first, second = (scores("968" if control else letters) for letters in RESAMPLES)
        both = (first + second) / 2
        return {
            "score of the digit that a detector never saw": float(min(first[0], second[1])),
            "mean of both: score of the 8": float(both[2]),
            "mean of both: highest score of 9 and 6": float(both[:2].max()),
        }

    def draw(self) -> Slider:
        steps = [1, 3, 10, 30, 100, 400]
        charts = []
        for count in steps:
            first, second = (scores(letters, count) for letters in RESAMPLES)
            named = (("trained on 8, 6, 8", first), ("trained on 9, 9, 8", second), ("mean of both", (first + second) / 2))
            lines = [Line(name, range(3), values, "bars") for name, values in named]
            mean = (first + second) / 2
            note = f"After {count} step{'s' * (count > 1)} the mean gives the 8 {float(mean[2]):.2f}, the others at most {float(mean[:2].max()):.2f}."
            charts.append(Chart("digit", "score: 1 is an 8", lines, names=list(DIGITS), note=note, high=1.1))
        return Slider("steps", "steps", steps, charts, start=5)
