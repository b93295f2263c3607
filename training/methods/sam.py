"""Methods that learn beside SAM (Kirillov et al., ICCV 2023), whose weights come from a folder or the hub."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_amvlm.errors import InputError, ModelFileError
from training.methods.backbone import PlainUNet
from training.methods.protocol import Method, mean_squares, rise, supervised
from training.methods.teachers import MeanTeacherMethod, Taught

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.methods.protocol import Views

_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Sam(nn.Module):
    """A SAM of `transformers`: frozen, but for mask decoders that a method asks for.

    Parameters
    ----------
    source
        A folder with `config.json` and `model.safetensors`, or a name on the hub.
    title
        Of the method, for messages.
    decoders
        Number of mask decoders that learn; 0 freezes the only one.

    Raises
    ------
    ModelFileError
        The weights cannot be had.
    """

    def __init__(self, source: str, title: str, decoders: int = 0) -> None:
        super().__init__()
        from transformers import SamModel

        try:
            model = SamModel.from_pretrained(source, use_safetensors=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelFileError(
                f"{title} needs the weights of SAM, but {source!r} cannot be loaded ({type(error).__name__}); set "
                "`sam` to a folder with its config.json and model.safetensors, or connect to the network."
            ) from error
        self.model = model.eval().requires_grad_(requires_grad=False)
        learnt = [copy.deepcopy(model.mask_decoder).requires_grad_(requires_grad=True) for _ in range(decoders)]
        self.decoders = nn.ModuleList(learnt or [model.mask_decoder])
        self.side = int(model.config.vision_config.image_size)  # type: ignore[union-attr]

    @torch.no_grad()
    def see(self, images: Tensor) -> Tensor:
        """Return the embedding of images `(B, 3, H, W)` in [0, 1]."""
        large = nn.functional.interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
        mean, sd = (large.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _SD))
        return self.model.get_image_embeddings((large - mean) / sd)  # type: ignore[no-any-return]

    def ask(
        self,
        seen: Tensor,
        size: torch.Size,
        *,
        points: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        decoder: int = 0,
    ) -> Tensor:
        """Return logits `(B, 1, H, W)`.

        Parameters
        ----------
        seen
            What `see` returned.
        size
            H and W of the result.
        points
            Rows and columns as shares of the image `(B, n, 2)`, and 1 or 0 for inside or outside `(B, n)`.
        mask
            Logits `(B, 1, h, w)` of a mask to start from.
        decoder
            Which decoder answers.
        """
        encoder = self.model.prompt_encoder
        places = None if points is None else (points[0].flip(-1) * self.side)[:, None]
        labels = None if points is None else points[1].long()[:, None]
        if mask is not None:
            shape = [4 * s for s in encoder.image_embedding_size]
            mask = nn.functional.interpolate(mask.float(), size=shape, mode="bilinear", align_corners=False)
        sparse, dense = encoder(input_points=places, input_labels=labels, input_boxes=None, input_masks=mask)
        found, _ = self.decoders[decoder](
            image_embeddings=seen,
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings().expand(len(seen), -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        return nn.functional.interpolate(found[:, 0], size=tuple(size), mode="bilinear", align_corners=False)


def draw_points(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw as many points inside a mask as outside of it, the surest more often.

    Parameters
    ----------
    logits
        Of masks, `(B, 1, H, W)`.
    count
        Points of either kind.

    Returns
    -------
    places, inside
        Rows and columns as shares of the image, `(B, 2 count, 2)`; 1 inside and 0 outside, `(B, 2 count)`.
    """
    p = logits.detach().float().sigmoid().flatten(1)
    height, width = logits.shape[-2:]
    picks = torch.cat([torch.multinomial(each + 1e-6, count, replacement=True) for each in (p**4, (1 - p) ** 4)], dim=1)
    rows, columns = picks // width, picks % width
    places = torch.stack([(rows + 0.5) / height, (columns + 0.5) / width], dim=-1)
    inside = torch.cat([torch.ones(len(p), count), torch.zeros(len(p), count)], dim=1)
    return places, inside.to(logits.device)


class Beside(nn.Module):
    """What a method learns, and a SAM."""

    def __init__(self, own: nn.Module, sam: Sam) -> None:
        super().__init__()
        self.own, self.sam = own, sam


class SemiSAMMethod(MeanTeacherMethod):
    """Mean Teacher; a frozen SAM, pointed to what the student found, labels unlabelled crops too."""

    title: ClassVar[str] = "SemiSAM"
    source: ClassVar[str] = "Zhang et al., 2023"
    departures: ClassVar[str] = "2-D SAM, not SAM-Med3D"

    sam: str = "facebook/sam-vit-base"
    points: int = Field(3, ge=1)
    sam_consistency: float = Field(0.1, ge=0)

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return student and teacher, and SAM."""
        return Beside(Taught(PlainUNet(masks, widths), self.decay), Sam(self.sam, self.title))

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return the losses of Mean Teacher + lambda(t) (p_student - p_SAM)^2 over unlabelled crops."""
        found = super().losses(network.own, views, time)
        free = views[~views.labelled]
        if len(free.weak):
            logits = free.asked(network.own.student(free.strong))
            with torch.no_grad():
                told = network.sam.ask(
                    network.sam.see(free.weak), logits.shape[-2:], points=draw_points(logits, self.points)
                )
            agreement = mean_squares(logits.float().sigmoid(), told.float().sigmoid())
            found["sam"] = self.sam_consistency * rise(time) * agreement
        return found

    def after_step(self, network: Any, time: float) -> None:
        """Let the teacher follow."""
        network.own.follow()

    def predictor(self, network: Any) -> nn.Module:
        """Return the student."""
        return network.own.student  # type: ignore[no-any-return]


class KnowSAMMethod(Method):
    """Two networks that differ, and a SAM whose decoder learns from prompts that they make; it teaches both."""

    title: ClassVar[str] = "KnowSAM"
    source: ClassVar[str] = "Huang et al., 2024"
    departures: ClassVar[str] = "two U-Nets that differ in upsampling, not U-Net and V-Net; the prompt is a mask"

    sam: str = "facebook/sam-vit-base"
    mutual: float = Field(0.1, ge=0)
    distilled: float = Field(0.1, ge=0)

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return two U-Nets, and SAM with a decoder that learns."""
        own = nn.ModuleList([PlainUNet(masks, widths), PlainUNet(masks, widths, "transposed")])
        return Beside(own, Sam(self.sam, self.title, decoders=1))

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup of all three + lambda(t) (mutual agreement + agreement with SAM)."""
        logits = [views.asked(own(views.strong)).float() for own in network.own]
        prompt = torch.stack(logits).mean(0).detach()
        told = network.sam.ask(network.sam.see(views.weak), prompt.shape[-2:], mask=prompt)
        one = replace(views, channel=torch.zeros_like(views.channel))
        a, b, taught = (x.float().sigmoid() for x in (*logits, told))
        return {
            "supervised": torch.stack([supervised(one, x) for x in (*logits, told)]).sum(),
            "mutual": self.mutual * rise(time) * (mean_squares(a, b.detach()) + mean_squares(b, a.detach())),
            "sam": self.distilled * rise(time) * (mean_squares(a, taught.detach()) + mean_squares(b, taught.detach())),
        }

    def predictor(self, network: Any) -> nn.Module:
        """Return the first U-Net."""
        return network.own[0]  # type: ignore[no-any-return]


class Unprompted(nn.Module):
    """A SAM that is asked without a prompt."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(B, 1, H, W)`."""
        return self.sam.ask(self.sam.see(images), images.shape[-2:])


class CPCSAMMethod(Method):
    """Two mask decoders of one SAM; what one finds without a prompt is pointed out to the other."""

    title: ClassVar[str] = "CPC-SAM"
    source: ClassVar[str] = "Miao et al., ECCV 2024"
    departures: ClassVar[str] = "the image encoder stays frozen (LoRA there); SAM itself answers, not the backbone"

    sam: str = "facebook/sam-vit-base"
    points: int = Field(3, ge=1)
    consistency: float = Field(0.4, ge=0)

    def build(self, masks: int, widths: Sequence[int]) -> nn.Module:
        """Return a SAM with two decoders that learn.

        Raises
        ------
        InputError
            More than one mask is asked.
        """
        if masks != 1:
            raise InputError(f"CPC-SAM segments one thing, but {masks} are asked; leave its row out of this recipe.")
        return Unprompted(Sam(self.sam, self.title, decoders=2))

    def losses(self, network: Any, views: Views, time: float) -> dict[str, Tensor]:
        """Return L_sup of both + lambda(t) (unprompted answer - the other's answer to points of this one)^2."""
        sam, size = network.sam, views.strong.shape[-2:]
        seen = sam.see(views.strong)
        plain = [sam.ask(seen, size, decoder=i) for i in (0, 1)]
        prompted = [sam.ask(seen, size, points=draw_points(plain[1 - i], self.points), decoder=i) for i in (0, 1)]
        apart = [mean_squares(plain[1 - i].float().sigmoid(), prompted[i].detach().float().sigmoid()) for i in (0, 1)]
        agreement = torch.stack(apart).sum()
        return {
            "supervised": torch.stack([supervised(views, x) for x in (*plain, *prompted)]).mean(),
            "consistency": self.consistency * rise(time) * agreement,
        }
