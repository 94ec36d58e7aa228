"""The parameters of the augmentations, with their defaults and ranges."""

from typing import Annotated

from pydantic import Field, model_validator

from pixelwise.registry import Params

Probability = Annotated[float, Field(ge=0, le=1)]
AreaFraction = Annotated[float, Field(gt=0, le=1)]


class FlipParams(Params):
    """Parameters of "flip".

    Attributes:
        probability: probability of a left-right flip.
    """

    probability: Probability = 0.5


class CropParams(Params):
    """Parameters of "crop-noflip".

    `zoom_out`, `gamma`, `blur` and `noise` are probabilities of a change for each image. A change is off if its
    parameter is 0 or False.

    Attributes:
        min_scale, max_scale: smallest and largest area of a crop, as a fraction of the image's area.
        color: largest relative change of brightness, contrast and saturation.
        quarter_turns: turn each image by 0, 90, 180 or 270 degrees at random.
        rotate: largest angle in degrees of a rotation in either direction. 0 for none. The corners that a rotation adds
            are ignored in the mask.
        rotate_probability: probability of a rotation.
        zoom_out: probability that an image is made smaller before the crop. The border around it is ignored in the
            mask.
        zoom_out_side: largest side of the image with this border, as a multiple of that of the image.
        gamma: probability of a change of the tone curve: values on the scale 0..1 are raised to a power.
        gamma_power: largest power. The smallest is 1 / gamma_power.
        blur: probability of a Gaussian blur.
        blur_sigma: largest standard deviation of the blur in pixels of the training images.
        noise: probability of normal noise.
        noise_std: largest standard deviation of the noise, as a fraction of the range of pixel values.
    """

    min_scale: AreaFraction = 0.6
    max_scale: AreaFraction = 1.0
    color: Probability = 0.3
    quarter_turns: bool = False
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    rotate_probability: Probability = 0.5
    zoom_out: Probability = 0.0
    zoom_out_side: Annotated[float, Field(gt=1, le=4)] = 1.5
    gamma: Probability = 0.0
    gamma_power: Annotated[float, Field(gt=1, le=10)] = 1.5
    blur: Probability = 0.0
    blur_sigma: Annotated[float, Field(gt=0, le=20)] = 1.0
    noise: Probability = 0.0
    noise_std: Annotated[float, Field(gt=0, le=1)] = 0.05

    @model_validator(mode="after")
    def _check_order(self) -> "CropParams":
        if self.min_scale > self.max_scale:
            raise ValueError("min_scale must not exceed max_scale")
        return self

    @model_validator(mode="after")
    def _check_pairs(self) -> "CropParams":
        for detail, change in _DETAILS.items():
            if detail in self.model_fields_set and not getattr(self, change):
                raise ValueError(f"{detail} has no effect without {change}; set {change} too")
        return self


_DETAILS = {
    "rotate_probability": "rotate",
    "zoom_out_side": "zoom_out",
    "gamma_power": "gamma",
    "blur_sigma": "blur",
    "noise_std": "noise",
}
"""A parameter → the parameter that switches on the change that it describes."""


class CropFlipParams(CropParams):
    """Parameters of "crop": those of "crop-noflip", and the flips.

    Attributes:
        flip: probability of a left-right flip.
        vertical_flip: probability of a top-bottom flip.
    """

    flip: Probability = 0.5
    vertical_flip: Probability = 0.0
