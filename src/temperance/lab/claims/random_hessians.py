"""Extrema are rare among random Hessians."""

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, every

PUBLISHED = {2: 0.293, 3: 0.050, 4: 0.005}


def extrema(seed: int, size: int, count: int, diagonal: bool = False) -> float:
    """The share of random symmetric matrices whose eigenvalues all have one sign."""
    generator = torch.Generator().manual_seed(1000 * size + seed)
    a = torch.randn(count, size, size, generator=generator, dtype=torch.float64)
    h = torch.diag_embed(torch.diagonal(a, dim1=1, dim2=2)) if diagonal else (a + a.mT) / 2
    signs = torch.linalg.eigvalsh(h).sign().sum(1).abs()
    return float((signs == size).double().mean())


class RandomHessians(Experiment):
    topic = "Optimization"
    question = "Is a critical point in many dimensions more likely a minimum or a saddle?"
    claim = "A saddle. Of random symmetric matrices of size 2, 3 and 4, eigenvalues of one sign are the share .293, .050 and .005."
    source = f"{PATHAK}, local minima and saddle points"
    expect = "If every eigenvalue were a coin of its own, half of the 2 × 2 matrices would be extrema. Is it more, or less?"
    rules = (every("largest gap to .293, .050, .005", "<", 0.012),)
    seeds = 3
    control = "Independent eigenvalues: ½, ¼, ⅛."
    next = '`tp.diagnose(model, data, checks="landscape")` counts the negative eigenvalues of your own Hessian.'
    limits = "Hessians of networks are not random matrices: near a low loss few eigenvalues are negative."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        shares = {size: extrema(seed, size, 20_000, diagonal=control) for size in PUBLISHED}
        gap = max(abs(shares[size] - PUBLISHED[size]) for size in PUBLISHED)
        return {"largest gap to .293, .050, .005": gap, **{f"share of extrema, size {size}": share for size, share in shares.items()}}

    def draw(self) -> Chart:
        sizes = [1, 2, 3, 4, 5]
        lines = [
            Line("random symmetric", sizes, [extrema(0, size, 30_000) for size in sizes]),
            Line("independent eigenvalues", sizes, [2.0 ** (1 - size) for size in sizes]),
        ]
        return Chart("dimensions", "share of extrema (log scale)", lines, log_y=True, note="30,000 matrices a size; eigenvalues repel each other.")
