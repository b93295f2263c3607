"""The whole model: image encoder, text encoder, text mask generator, text-conditioned U-Net, presence head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_amvlm.models.layers import layout_of
from napari_amvlm.models.text_mask import TextMaskGenerator, text_guided_embedding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.image_encoder import ImageEncoder, VisionFeatures
    from napari_amvlm.models.layers import ProjectionHead
    from napari_amvlm.models.object_head import ObjectHead
    from napari_amvlm.models.text_encoder import TextEncoder
    from napari_amvlm.models.unet import TextConditionedUNet


@dataclass(frozen=True)
class ImageFeatures:
    """Everything the decoder needs of B images; no prompt was involved.

    Attributes
    ----------
    v_cls
        Unit image embeddings, `(B, d)`.
    dense
        V_dense, unit vectors, `(B, d, H/4, W/4)`.
    images
        The images themselves, `(B, 3, H, W)`; the object head looks at them.
    """

    v_cls: Tensor
    dense: Tensor
    skips: tuple[Tensor, ...]
    images: Tensor

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take, in bytes."""
        return sum(t.numel() * t.element_size() for t in (self.v_cls, self.dense, *self.skips, self.images))


@dataclass(frozen=True)
class TextFeatures:
    """N prompts.

    Attributes
    ----------
    sentence
        Frozen sentence embeddings, `(N, D')`.
    t_cls
        Unit embeddings in the shared space, `(N, d)`.
    """

    sentence: Tensor
    t_cls: Tensor


@dataclass(frozen=True)
class AmvlmOutput:
    """Logits for N image-prompt pairs.

    Attributes
    ----------
    logits
        Segmentation, `(N, 1, H, W)`.
    text_logits
        z_text, `(N, 1, H/4, W/4)`.
    v_text
        Text-guided image embedding, unit vectors, `(N, d)`.
    presence
        Whether the concept is in the image at all, `(N,)`.
    depth
        How deep inside an object each pixel lies, logits `(N, 1, H, W)`; None where that was not asked for.
    """

    logits: Tensor
    text_logits: Tensor
    v_text: Tensor
    presence: Tensor
    depth: Tensor | None = None


class PresenceHead(nn.Module):
    """Tells from two similarities, and from where either mask is surest, whether what the prompt says is in the image.

    The segmentation is only read: presence does not change the masks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 1)
        nn.init.constant_(self.mix.weight, 1.5)

    def forward(self, v_cls: Tensor, v_text: Tensor, t_cls: Tensor, text_logits: Tensor, logits: Tensor) -> Tensor:
        """Return logits `(N,)` from unit vectors `(N, d)`, z_text `(N, 1, h, w)` and the mask's `(N, 1, H, W)`."""
        return self.weigh(v_cls, v_text, t_cls, surest(text_logits), surest(logits.detach()))

    def weigh(self, v_cls: Tensor, v_text: Tensor, t_cls: Tensor, *certain: Tensor) -> Tensor:
        """Return logits `(N,)` from unit vectors `(N, d)` and from how sure text mask and mask are at their surest."""
        similarities = [(v_cls * t_cls).sum(1), (v_text * t_cls).sum(1), *certain]
        return self.mix(torch.stack([s.float() for s in similarities], dim=1) * 4).squeeze(1)  # type: ignore[no-any-return]


def surest(logits: Tensor) -> Tensor:
    """Return the mean probability `(N,)` over the half per cent of each map `(N, 1, h, w)` where it is highest."""
    return torch.sigmoid(logits).flatten(1).topk(max(1, logits[0].numel() // 200), dim=1).values.mean(1)


class AMVLM(nn.Module):
    """Alignment-Multiplicity Aware Vision-Language Model with a text-conditioned segmentation network.

    Build it with `napari_amvlm.models.build_model`.

    Parameters
    ----------
    text_encoder, image_encoder, image_projection, text_projection, text_mask, unet, objects
        The parts, of the sizes that `config` gives; `objects` is None where the configuration has none.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        text_encoder: TextEncoder,
        image_encoder: ImageEncoder,
        image_projection: ProjectionHead,
        text_projection: ProjectionHead,
        text_mask: TextMaskGenerator,
        unet: TextConditionedUNet,
        objects: ObjectHead | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self.image_projection = image_projection
        self.text_projection = text_projection
        self.text_mask = text_mask
        self.unet = unet
        self.presence = PresenceHead()
        self.objects = objects

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.unet.head.weight.device

    def see(self, images: Tensor, whole: Tensor) -> VisionFeatures:
        """Run the image encoder on images `(B, 3, H, W)` in [0, 1]; `whole` is bool `(B,)`."""
        return self.image_encoder(images, whole)  # type: ignore[no-any-return]

    def encode_image(self, images: Tensor, whole: Tensor) -> ImageFeatures:
        """Run everything that needs no prompt.

        Parameters
        ----------
        images
            `(B, 3, H, W)` in [0, 1]; H and W multiples of 16.
        whole
            Bool `(B,)`: True where an image is seen whole, False for a tile.
        """
        images = images.contiguous(memory_format=torch.channels_last)
        return self.features(images, whole, self.see(images, whole))

    def features(self, images: Tensor, whole: Tensor, seen: VisionFeatures) -> ImageFeatures:
        """Return what `encode_image` does, of images that the image encoder has `seen` already."""
        skips = self.unet.encode(images, seen.tokens, whole)
        return ImageFeatures(self.image_projection(seen.cls), self.text_mask(seen), skips, images)

    def encode_text(self, prompts: Sequence[str]) -> TextFeatures:
        """Encode N prompts; the frozen half comes from a cache where it can."""
        sentence = self.text_encoder.sentence(prompts).to(self.device)
        return TextFeatures(sentence, self.text_projection(sentence))

    def decode(
        self,
        image: ImageFeatures,
        text: TextFeatures,
        image_index: Tensor | None = None,
        *,
        separate: bool = False,
    ) -> AmvlmOutput:
        """Segment N image-prompt pairs.

        Parameters
        ----------
        image_index
            Which image each prompt is asked of, int64 `(N,)`; None pairs them one to one.
        separate
            Whether the depth in objects is wanted too, of a model that has the head for it.
        """
        return decode_pairs(
            image,
            text,
            image_index,
            text_mask=self.text_mask,
            unet=self.unet,
            presence=self.presence,
            objects=self.objects if separate else None,
        )


class _Rows(torch.autograd.Function):
    """Rows of a tensor by index, with a backward pass that adds whole rows: torch's own adds single numbers, slowly."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        """Return `x[index]`."""
        ctx.save_for_backward(index)
        ctx.rows = len(x)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the sum of the gradients of each row."""
        (index,) = ctx.saved_tensors
        layout = layout_of(gradient) if gradient.ndim == 4 else torch.contiguous_format
        total = gradient.new_zeros((ctx.rows, *gradient.shape[1:])).to(memory_format=layout)
        for row, target in enumerate(index.tolist()):
            total[target] += gradient[row]
        return total, None


def _rows(x: Tensor, index: Tensor) -> Tensor:
    return _Rows.apply(x, index)  # type: ignore[no-any-return, no-untyped-call]


def decode_pairs(
    image: ImageFeatures,
    text: TextFeatures,
    image_index: Tensor | None = None,
    *,
    text_mask: TextMaskGenerator,
    unet: TextConditionedUNet,
    presence: PresenceHead,
    objects: ObjectHead | None = None,
) -> AmvlmOutput:
    """Segment image-prompt pairs with the given parts: those of a model, of a student or of a teacher.

    Parameters
    ----------
    image, text, image_index
        As in `AMVLM.decode`.
    text_mask, unet, presence, objects
        The parts that decode; without `objects` there is no depth.
    """
    v_cls, dense, skips, images = image.v_cls, image.dense, image.skips, image.images
    if image_index is not None:
        v_cls, dense, *rest = (_rows(t, image_index) for t in (v_cls, dense, *skips))
        skips = tuple(rest)
        images = images if objects is None else images.index_select(0, image_index)
    text_logits = text_mask.text_logits(dense, text.t_cls)
    v_text = text_guided_embedding(dense, text_logits)
    logits = unet.decode(skips, text_logits, text.sentence)
    there = presence(v_cls, v_text, text.t_cls, text_logits, logits)
    depth = None if objects is None else objects(images, logits.float().sigmoid()).float()
    return AmvlmOutput(logits.float(), text_logits, v_text, there, depth)
