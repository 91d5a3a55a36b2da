"""Named settings of augmentation."""

from __future__ import annotations

from catenary.recipe import Augment

__all__ = ["PRESETS"]

#: Named starting points. A recipe names one and may change single fields of it.
PRESETS: dict[str, Augment] = {
    # Moderate changes that suit most images when nothing more is known.
    "standard": Augment(),
    # Plain crops.
    "none": Augment(
        preset="none", flip=(0, 0), warp=0, rotate=0, shear=0, zoom=0, elastic=0, elastic_alpha=0,
        intensity=0, gamma=0, brightness=0, contrast=0, noise=0, noise_probability=0, blur=0, blur_probability=0,
    ),
    # Flips, a little zoom and brightness: for large sets and short budgets.
    "light": Augment(
        preset="light", warp=0.3, rotate=10, shear=0, zoom=0.1, elastic=0, intensity=0.3, gamma=0.1,
        brightness=0.05, contrast=0.1, noise_probability=0, blur_probability=0,
    ),
    # Brain MRI: flips 50 %, +-20 degrees, shift 10 % both ways, shear 20 % horizontally, zoom +-10 %,
    # gamma 0.8-1.2, elastic alpha 720 sigma 24; all but the flips always on, no other change.
    "brain": Augment(
        preset="brain", flip=(0.5, 0.5), warp=1, rotate=20, shift=0.1, shear=0.2, zoom=0.1,
        elastic=1, elastic_alpha=720, elastic_sigma=24, intensity=1, gamma=0.2, brightness=0, contrast=0,
        noise=0, noise_probability=0, blur=0, blur_probability=0,
    ),
    # The same in three dimensions: no head stands upside down, turned about all axes, a finer elastic field.
    "brain-3d": Augment(
        preset="brain-3d", flip=(0, 0.5, 0.5), warp=1, rotate=20, tilt=20, shift=0.1, shear=0.2, zoom=0.1,
        elastic=1, elastic_alpha=240, elastic_sigma=12, intensity=1, gamma=0.2, brightness=0, contrast=0,
        noise=0, noise_probability=0, blur=0, blur_probability=0,
    ),
    # Everyday photos: up stays up, light and colour vary, the camera may blur.
    "photo": Augment(
        preset="photo", flip=(0, 0.5), warp=0.7, rotate=15, shear=0.1, zoom=0.25, elastic=0,
        intensity=0.7, gamma=0.25, brightness=0.15, contrast=0.25, colour=0.05, blur=1.5,
    ),
    # Microscopes have no up: every rotation, flip and transpose; soft matter bends; exposure and focus vary.
    "microscopy": Augment(
        preset="microscopy", transpose=0.5, warp=0.7, rotate=180, shear=0.1, zoom=0.2, elastic=0.3,
        elastic_alpha=300, elastic_sigma=20, intensity=0.7, gamma=0.3, brightness=0.1, contrast=0.3,
        noise=0.04, noise_probability=0.25, blur=1.2, blur_probability=0.2,
    ),
    # Dermoscopy: no up, no fixed magnification, strong differences of light, skin and camera, hairs.
    "dermoscopy": Augment(
        preset="dermoscopy", transpose=0.5, warp=0.8, rotate=180, shear=0.1, zoom=0.3, elastic=0.1,
        intensity=0.7, gamma=0.25, brightness=0.1, contrast=0.25, colour=0.06, hair=0.3, blur=1.5,
    ),
    # Fundus: left and right eyes mirror each other, cameras tilt a little, vessels must not be blurred away.
    "fundus": Augment(
        preset="fundus", flip=(0.5, 0.5), warp=0.8, rotate=30, shear=0.05, zoom=0.2, elastic=0.1,
        elastic_alpha=200, elastic_sigma=20, intensity=0.8, gamma=0.3, brightness=0.1, contrast=0.3, colour=0.06,
        noise=0.02, blur=0.7,
    ),
    # Tomography and electron microscopy of materials: isotropic, grey, noisy; grains are rigid, so no elastic field.
    "materials": Augment(
        preset="materials", transpose=0.5, warp=0.5, rotate=180, shear=0, zoom=0.15, elastic=0,
        intensity=0.7, gamma=0.2, brightness=0.1, contrast=0.2, noise=0.04, noise_probability=0.3,
        blur_probability=0.15,
    ),
    # Overhead images: all eight poses, season and haze change the colours, roofs stay straight.
    "satellite": Augment(
        preset="satellite", transpose=0.5, warp=0.5, rotate=45, shear=0, zoom=0.2, elastic=0,
        intensity=0.7, gamma=0.2, brightness=0.1, contrast=0.25, colour=0.05,
    ),
}  # fmt: skip
