"""Paired tests on per-image Dice of two rows that were scored on the same images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping

ALPHA = 0.05


@dataclass(frozen=True)
class PairedTest:
    """Two rows on the same images.

    Attributes
    ----------
    images
        Number of images that both rows have.
    difference
        Mean of first minus second.
    t, t_p
        Statistic and two-sided p of the paired t-test; None below two images.
    w, w_p
        The same of the Wilcoxon signed-rank test; images without a difference are left out of it.
    """

    images: int
    difference: float
    t: float | None
    t_p: float | None
    w: float | None
    w_p: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values; an infinite statistic becomes None."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


def compare(first: Mapping[str, float], second: Mapping[str, float]) -> PairedTest:
    """Return paired tests of two rows' values by image name.

    Where all differences are 0 neither test has a statistic: both p are 1, for nothing speaks for a difference. Where
    they are all equal and not 0 the t statistic is infinite, with p 0; the Wilcoxon test is as usual.

    Parameters
    ----------
    first, second
        Dice by image; images that only one has are left out.
    """
    names = sorted(first.keys() & second.keys())
    differences = np.array([first[name] - second[name] for name in names])
    mean = float(differences.mean()) if names else 0.0
    if len(names) < 2:
        return PairedTest(len(names), mean, None, None, None, None)
    if not differences.any():
        return PairedTest(len(names), 0.0, 0.0, 1.0, 0.0, 1.0)
    if np.ptp(differences) <= 1e-12 * abs(mean):
        t, t_p = math.copysign(math.inf, mean), 0.0
    else:
        test = stats.ttest_rel([first[name] for name in names], [second[name] for name in names])
        t, t_p = float(test.statistic), float(test.pvalue)
    ranks = stats.wilcoxon(differences)
    return PairedTest(len(names), mean, t, t_p, float(ranks.statistic), float(ranks.pvalue))


def shown_ps(test: Mapping[str, Any]) -> list[str]:
    """Return p of the t-test and of the Wilcoxon test out of `PairedTest.to_json`, as tables show them."""
    return ["n/a" if test[key] is None else f"{test[key]:.2g}" for key in ("t_p", "w_p")]
