"""Frozen, bounded configurations; a checkpoint stores the resolved one it was made with.

Every class refuses unknown keys, so a misspelt option is an error and not a default.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ScaleName = Literal["whole", "tiles"]
"""How an image is looked at: resized as a whole, or in tiles at native scale."""

STRIDE = 16
"""Images given to the network must have sides that are a multiple of this many pixels."""


Channels = Annotated[int, Field(ge=1, le=4096)]
"""Channels of a layer."""


class Config(BaseModel):
    """Base: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class TextEncoderConfig(Config):
    """A BERT-family text encoder: a hub name or a folder; `sha256` is that of `model.safetensors`, None accepts any."""

    repository: str = "sentence-transformers/all-MiniLM-L6-v2"
    sha256: str | None = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    revision: str | None = Field(None, description="of the repository on the hub; None: its main one")
    width: int = Field(384, ge=8, le=4096, description="length of a sentence embedding")
    max_tokens: int = Field(256, ge=8, le=4096)
    layers: int | None = Field(None, ge=1, le=48, description="how many of its first layers are used; None: all")
    pooling: Literal["mean", "cls"] = Field("mean", description="the sentence is the words' mean, or the CLS token")
    trainable: bool = Field(False, description="whether pretraining changes it; it is then in the checkpoint")


class ImageEncoderConfig(Config):
    """A ViT with a class token, behind a convolutional stem that reduces by 16 or behind its own 16x16 patches."""

    hidden: int = Field(192, ge=16, le=2048)
    layers: int = Field(6, ge=1, le=48)
    heads: int = Field(3, ge=1, le=32)
    mlp_ratio: float = Field(3.0, ge=1, le=8)
    grid: int = Field(16, ge=2, le=64, description="side of the learnt position grid, in tokens")
    stem: tuple[Channels, Channels, Channels, Channels] | None = Field(
        (32, 48, 96, 192), description="channels at 1/2, 1/4, 1/8, 1/16; None: the ViT's own patch embedding"
    )

    @model_validator(mode="after")
    def _check_heads(self) -> ImageEncoderConfig:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class UNetConfig(Config):
    """The text-conditioned segmentation network, from 1/patch of the resolution down to 1/16."""

    patch: Literal[1, 2] = Field(2, description="pixels a side that the finest level holds as channels")
    channels: tuple[Channels, ...] = Field((32, 64, 128, 256), min_length=4, max_length=5)
    groups: int = Field(8, ge=1, le=64, description="groups of the group normalisation")
    tokens: int = Field(64, ge=4, le=1024, description="channels of the image encoder's tokens at the bottleneck")
    text: int = Field(128, ge=8, le=1024, description="width of the text embedding that modulates the decoder")

    @property
    def mask_level(self) -> int:
        """Index of the level that lies at a quarter of the resolution, where the text-guided mask comes in."""
        return 2 if self.patch == 1 else 1

    @model_validator(mode="after")
    def _check_levels(self) -> UNetConfig:
        if self.patch * 2 ** (len(self.channels) - 1) != STRIDE:
            raise ValueError(f"channels {self.channels} must lead from 1/{self.patch} down to 1/{STRIDE} in halves")
        return self

    @model_validator(mode="after")
    def _check_groups(self) -> UNetConfig:
        if any(c % self.groups for c in self.channels):
            raise ValueError(f"every one of channels {self.channels} must be a multiple of groups ({self.groups})")
        return self


class Concept(Config):
    """Something the model was taught: its wordings, the scale it was learnt at, and what its objects never have."""

    name: str
    prompts: tuple[str, ...] = Field(min_length=1)
    scale: ScaleName
    side: int = Field(
        0, ge=0, le=2048, description="tiles: the image is first resized so that its longer side is this; 0: native"
    )
    body: str = Field("", description="part of the body, or what else it belongs to")
    modalities: tuple[str, ...] = Field((), description="kinds of image that it was learnt from")
    dice: float | None = Field(
        None, ge=0, le=1, description="mean Dice on images that were not learnt from; None: not measured"
    )
    beaten_by: str = Field(
        "", description="another text-prompted model that was better on held-out images, and answers where it is loaded"
    )
    hole: int = Field(0, ge=0, le=100_000, description="largest hole that is filled, pixels at working scale")
    speck: int = Field(0, ge=0, le=100_000, description="largest piece that is taken off, pixels at working scale")


class ObjectsConfig(Config):
    """The head that tells touching objects apart, and of which concepts it was taught objects."""

    concepts: tuple[str, ...] = Field(min_length=1, description="names of the concepts whose objects can be counted")
    channels: tuple[Channels, ...] = Field(
        (32, 64, 96), min_length=1, max_length=4, description="of the head's levels, the finest first"
    )
    groups: int = Field(8, ge=1, le=64, description="groups of the group normalisation")
    marker: float = Field(0.4, gt=0, lt=1, description="relative distance to the border from which on a middle begins")

    @model_validator(mode="after")
    def _check_groups(self) -> ObjectsConfig:
        if any(c % self.groups for c in self.channels):
            raise ValueError(f"every one of channels {self.channels} must be a multiple of groups ({self.groups})")
        return self


class ModelConfig(Config):
    """Everything needed to build a model of the right shape."""

    text_encoder: TextEncoderConfig = TextEncoderConfig()
    image_encoder: ImageEncoderConfig = ImageEncoderConfig()
    unet: UNetConfig = UNetConfig()
    embedding: int = Field(128, ge=8, le=1024, description="width d of the shared image-text space")
    dense: int = Field(96, ge=8, le=1024, description="channels of the dense decoder")
    tile: int = Field(512, ge=64, le=1024, multiple_of=STRIDE, description="tile side at inference, pixels")
    overlap: int = Field(48, ge=0, le=256, description="overlap of neighbouring tiles, pixels")
    micrometers: float = Field(0.25, gt=0, le=100, description="size of a pixel at which words in tiles were learnt")
    whole: int = Field(256, ge=64, le=1024, multiple_of=STRIDE, description="canvas side of a whole image, pixels")
    concepts: tuple[Concept, ...] = ()
    structure: bool = Field(False, description="whether it was taught parts, unions and exclusions of concepts")
    objects: ObjectsConfig | None = Field(None, description="the head for separate objects; None: there is none")


class LearningConfig(Config):
    """One semi-supervised Mean-Teacher fine-tuning run (Pan et al. 2025, step 2)."""

    minutes: float | None = Field(5.0, gt=0, le=24 * 60, description="time budget; None: `steps` decides")
    steps: int | None = Field(None, ge=1, le=1_000_000, description="number of steps; None: `minutes` decides")
    seed: int = Field(0, ge=0)
    learning_rate: float = Field(2e-3, gt=0, le=1)
    weight_decay: float = Field(1e-2, ge=0, le=1)
    warmup: float = Field(0.03, ge=0, le=0.5, description="share of the run in which the learning rate rises")
    square: int = Field(
        0, ge=0, le=1024, multiple_of=STRIDE, description="images are first resized to a square of this side; 0: not"
    )
    crop: int = Field(256, ge=64, le=1024, multiple_of=STRIDE, description="side of a training crop, pixels")
    labelled_batch: int = Field(3, ge=1, le=64)
    unlabelled_batch: int = Field(3, ge=0, le=64)
    ema_decay: float = Field(0.99, ge=0, lt=1, description="of the teacher; with a warm-up, its ceiling")
    ema_window: float = Field(0.1, ge=0, le=1, description="share of the run that the teacher averages over at most")
    ema_warmup: bool = Field(False, description="min(1 - 1/(t+1), decay): forgets the start at once")
    consistency: float = Field(1.0, ge=0, le=100, description="final weight lambda of the consistency loss")
    supervised_share: float = Field(0.75, ge=0, lt=1, description="share of the run before the pseudo-labels begin")
    ramp: float = Field(0.1, ge=0, le=1, description="share of the run in which lambda then rises (sigmoid ramp)")
    text_evidence: float = Field(0.0, ge=0, le=10, description="beta of the text logits in the pseudo-label")
    text_ramp: float = Field(
        0.0, ge=0, le=1, description="share of the run in which beta rises (sigmoid ramp); 0: none"
    )
    text_doubt: float = Field(
        0.0, ge=0, le=1, description="weight that a pixel loses in the pseudo-label where the text mask says otherwise"
    )
    text_model: str = Field(
        "", description="folder or hub:OWNER/NAME of another text-prompted model, for what the start was not taught"
    )
    confidence_power: float = Field(1.0, ge=0, le=8, description="pixel weight |2q - 1| ** power")
    text_mask_weight: float = Field(0.3, ge=0, le=10, description="weight of the text mask's own supervision")
    text_guidance: float = Field(0.05, ge=0, le=10, description="weight of L_tg")
    retention: float = Field(0.5, ge=0, le=10, description="weight of keeping untrained prompts as they were")
    retention_every: int = Field(4, ge=1, le=1000, description="steps from one retention loss to the next")
    object_weight: float = Field(1.0, ge=0, le=10, description="weight of the depth in accepted objects")
    class_balance: float = Field(0.0, ge=0, le=1, description="0 plain, 1 fully class-balanced cross-entropy")
    hard_labels: bool = Field(True, description="round the pseudo-label; its confidence still weighs the pixels")
    anchor: float = Field(1.0, ge=0, le=1, description="share in the pseudo-label of the start and the settled teacher")
    start_share: float | None = Field(None, ge=0, le=1, description="of the start in these; None: 2 / (2 + labelled)")
    start_least: float = Field(
        0.5, ge=0, le=1, description="Dice of the start on labelled images below which a prompt counts as new; 0: none"
    )
    labelled_weight: float | None = Field(
        None, gt=0, le=1, description="of the supervised loss beside pseudo-labels; None: labelled / unlabelled, or 1"
    )
    cutmix: float = Field(0.0, ge=0, le=1, description="how often the student's tile gets a piece of another")
    strong_views: bool = Field(True, description="stain, intensity, blur and noise on the student's view")
    strength: float = Field(1.0, ge=0, le=5, description="factor on the strength of the strong view")
    moved_views: bool = Field(
        False, description="turn, zoom and mirror the student's view of an unlabelled image; the pseudo-label follows"
    )
    validations: int = Field(6, ge=1, le=100, description="how often held-out images are scored in a run")
    keep: Literal["best", "last"] = Field("best", description="which teacher: the best on held-out images, or the last")

    @classmethod
    def published(cls, **changes: Any) -> LearningConfig:
        """Return step 2 as published (Pan et al. 2025), with `changes`.

        The EMA teacher alone labels, with the text, from the first step on: q = sigmoid(z_teacher + beta z_text).
        Images are learnt at 224x224. The publication gives no weight of L_tg, no length of the ramps and no optimiser
        for this step: those are ours. L_tg acts where a batch has several meanings: ask captions, or several prompts.
        """
        return cls.model_validate(PUBLISHED | changes)

    @model_validator(mode="after")
    def _check_budget(self) -> LearningConfig:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give either minutes or steps, and set the other to None")
        if self.text_doubt and not self.confidence_power:
            raise ValueError("text_doubt lowers confidences, which count with a confidence_power above 0 alone")
        return self


PUBLISHED: dict[str, Any] = {
    "crop": 224,
    "square": 224,
    "anchor": 0.0,
    "supervised_share": 0.0,
    "ramp": 0.2,
    "text_evidence": 1.0,
    "text_ramp": 0.2,
    "text_guidance": 0.1,
    "ema_decay": 0.99,
    "ema_window": 0.0,
    "ema_warmup": True,
    "class_balance": 1.0,
    "hard_labels": False,
    "labelled_weight": 1.0,
    "retention": 0.0,
}
"""What `LearningConfig.published` sets."""
