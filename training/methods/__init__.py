"""The rivals of the publication, each a row of `training.compare`: how it learns, and where that is defined.

Rows that are networks of their own are in `METHODS`; what stands in for our step 1 is in `training.methods.objectives`;
rows that cannot be run here, and why, are in `NOT_RUN`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import InputError
from training.methods.decoders import CCTMethod, MCNetMethod, UCMTMethod
from training.methods.lvit import LViTMethod
from training.methods.sam import CPCSAMMethod, KnowSAMMethod, SemiSAMMethod
from training.methods.ss_net import SSNetMethod
from training.methods.teachers import CopyPasteMethod, MeanTeacherMethod, UNetMethod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.methods.protocol import Method

METHODS: dict[str, type[Method]] = {
    "u-net": UNetMethod,
    "mean-teacher": MeanTeacherMethod,
    "cct": CCTMethod,
    "bcp": CopyPasteMethod,
    "mc-net": MCNetMethod,
    "ss-net": SSNetMethod,
    "ucmt": UCMTMethod,
    "lvit": LViTMethod,
    "semisam": SemiSAMMethod,
    "knowsam": KnowSAMMethod,
    "cpc-sam": CPCSAMMethod,
}
"""By the name that recipes use."""

NOT_RUN: dict[str, str] = {
    "BiomedParse": "its weights are published as a pickle for a code of their own, which is never opened here; convert "
    "them to safetensors and write an adapter as those in training.methods.sam",
    "LA-VLM": "no source of the method is known",
}
"""Rows of the publication that have no code here, and why; tables keep them."""


def method_called(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Return the method of this name with hyperparameters of its own.

    Raises
    ------
    InputError
        There is none, or a setting is not one of its own.
    """
    if name not in METHODS:
        raise InputError(f"There is no method {name!r}; choose one of: {', '.join(METHODS)}.")
    kind = METHODS[name]
    foreign = sorted(set(settings or ()) - set(kind.model_fields))
    if foreign:
        owners = [other for other, each in METHODS.items() if foreign[0] in each.model_fields]
        whose = f", which belongs to {' and '.join(owners)}" if owners else ""
        known = ", ".join(kind.model_fields) or "none"
        raise InputError(f"Method {name!r} has no setting {foreign[0]!r}{whose}; its own are: {known}.")
    return kind.model_validate(dict(settings or {}))
