"""Draws the people of the miniature: flat polygons, four times too large, then averaged down.

Coordinates are fractions of the picture's height; y grows downwards. Everything that is not the person (scene,
clothes, hat, glasses, expression, style, pose) stands in `Look`, so that likeness and obedience can be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from celebbasis_ext.miniature.people import TRAITS, Person
from celebbasis_ext.types import Face, Floats, Image

SIZE = 96
SUPERSAMPLING = 4

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40), "orange": (247, 140, 30), "yellow": (250, 220, 50), "green": (45, 150, 70),
    "blue": (45, 90, 215), "purple": (135, 55, 165), "black": (28, 28, 32), "white": (242, 242, 242),
}  # fmt: skip
SCENES = ("beach", "forest", "city", "night")
BACKGROUNDS = (*COLOURS, *SCENES)
HATS = ("none", *COLOURS)
SHIRTS = tuple(COLOURS)
EXPRESSIONS = ("neutral", "smiling", "sad", "surprised")
STYLES = ("photo", "sketch")


@dataclass(frozen=True)
class Look:
    """All that is in a picture of somebody and is not the person.

    Attributes:
        background: One of `BACKGROUNDS`.
        hat: One of `HATS`.
        shirt: One of `SHIRTS`.
        expression: One of `EXPRESSIONS`.
        glasses: Whether glasses are worn.
        style: One of `STYLES`.
        shift: x and y of the head's shift, in fractions of the height.
        scale: Of the whole figure; 1 fills the picture.
        tilt: Of the head, in degrees, clockwise.
        gaze: x and y of the pupils' shift in [-1, 1].
        light: From the left (-1) to the right (1).
    """

    background: str = "white"
    hat: str = "none"
    shirt: str = "blue"
    expression: str = "neutral"
    glasses: bool = False
    style: str = "photo"
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    tilt: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    light: float = 0.0


@dataclass(frozen=True)
class Drawing:
    """A picture with its truth.

    Attributes:
        image: [96, 96, 3] uint8 RGB.
        people: Who is in it, from left to right.
        look: What else is in it (the left person's, where there are two).
        faces: Where the faces are, from left to right.
    """

    image: Image
    people: tuple[Person, ...]
    look: Look
    faces: tuple[Face, ...]


def random_look(rng: np.random.Generator) -> Look:
    """A look as the world's pictures have it: every attribute drawn by itself."""
    return Look(
        background=BACKGROUNDS[rng.integers(len(BACKGROUNDS))],
        hat=HATS[1 + rng.integers(len(COLOURS))] if rng.random() < 0.3 else "none",
        shirt=SHIRTS[rng.integers(len(SHIRTS))],
        expression=EXPRESSIONS[rng.integers(len(EXPRESSIONS))],
        glasses=bool(rng.random() < 0.3),
        style="sketch" if rng.random() < 0.12 else "photo",
        shift=(float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.015, 0.015))),
        scale=float(rng.uniform(0.94, 1.04)),
        tilt=float(rng.uniform(-5, 5)),
        gaze=(float(rng.uniform(-1, 1)), float(rng.uniform(-0.6, 0.6))),
        light=float(rng.uniform(-1, 1)),
    )


def draw(person: Person, look: Look, size: int = SIZE) -> Drawing:
    """One person, head and shoulders, in front of a background."""
    canvas = _background(look.background, size)
    figure = _Figure(person, look, centre=(0.5, 0.47), scale=1.1 * look.scale)
    figure.paint(canvas)
    return _finish(canvas, (person,), look, (figure,), size)


def draw_pair(people: tuple[Person, Person], looks: tuple[Look, Look], size: int = SIZE) -> Drawing:
    """Two people side by side in the first look's background, style and light."""
    canvas = _background(looks[0].background, size)
    figures = tuple(
        _Figure(person, replace(look, style=looks[0].style, light=looks[0].light), (x, 0.62), 0.7 * look.scale)
        for person, look, x in zip(people, looks, (0.27, 0.73), strict=True)
    )
    for figure in figures:
        figure.paint(canvas)
    return _finish(canvas, people, looks[0], figures, size)


def _finish(canvas: Floats, people: tuple[Person, ...], look: Look, figures: tuple[_Figure, ...], size: int) -> Drawing:
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    image = _lit(np.asarray(small, np.float32), look.light)
    if look.style == "sketch":
        image = _sketched(image)
    faces = tuple(figure.face(size) for figure in figures)
    return Drawing(np.clip(image + 0.5, 0, 255).astype(np.uint8), people, look, faces)


def _lit(image: Floats, light: float) -> Floats:
    ramp = np.linspace(-1, 1, image.shape[1], dtype=np.float32)[None, :, None]
    return np.asarray(image * (1 + 0.07 * light * ramp), dtype=np.float32)


def _sketched(image: Floats) -> Floats:
    """Pencil: light grey tones under dark edges."""
    grey = image @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    smooth = cv2.GaussianBlur(image, (0, 0), 0.6)
    dx, dy = (cv2.Sobel(smooth, cv2.CV_32F, *axes, ksize=3) for axes in ((1, 0), (0, 1)))
    edges = np.sqrt(dx**2 + dy**2).max(axis=-1)
    pencil = 170 + 0.3 * grey - 1.1 * np.clip(edges - 25, 0, 190)
    return np.repeat(np.clip(pencil, 20, 255)[:, :, None], 3, axis=2).astype(np.float32)


def _background(name: str, size: int) -> Floats:
    side = size * SUPERSAMPLING
    canvas = np.zeros((side, side, 3), np.float32)
    if name in COLOURS:
        canvas[:] = COLOURS[name]
        return canvas
    {"beach": _beach, "forest": _forest, "city": _city, "night": _night}[name](canvas)
    return canvas


def _rectangle(canvas: Floats, left: float, top: float, right: float, bottom: float, colour: object) -> None:
    _polygon(canvas, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), colour)


def _disc(canvas: Floats, x: float, y: float, radius: float, colour: object) -> None:
    _polygon(canvas, _ellipse(x, y, radius, radius), colour)


def _beach(canvas: Floats) -> None:
    _rectangle(canvas, 0, 0, 1, 0.45, (150, 210, 250))
    _rectangle(canvas, 0, 0.45, 1, 0.62, (30, 120, 190))
    _rectangle(canvas, 0, 0.62, 1, 1, (237, 212, 150))
    _disc(canvas, 0.13, 0.14, 0.09, (255, 228, 90))


def _forest(canvas: Floats) -> None:
    _rectangle(canvas, 0, 0, 1, 1, (120, 175, 95))
    for x in (0.06, 0.24, 0.76, 0.94):
        _rectangle(canvas, x - 0.035, 0.1, x + 0.035, 1, (92, 60, 36))
    for x in (0.06, 0.24, 0.5, 0.76, 0.94):
        _disc(canvas, x, 0.1, 0.16, (28, 95, 45))


def _city(canvas: Floats) -> None:
    _rectangle(canvas, 0, 0, 1, 1, (185, 198, 210))
    for left, right, top in ((0.0, 0.15, 0.3), (0.17, 0.34, 0.12), (0.66, 0.83, 0.16), (0.85, 1.0, 0.36)):
        _rectangle(canvas, left, top, right, 1, (105, 110, 122))
        for y in np.arange(top + 0.05, 0.95, 0.11):
            for x in (left + 0.03, right - 0.08):
                _rectangle(canvas, x, y, x + 0.05, y + 0.055, (252, 235, 150))


def _night(canvas: Floats) -> None:
    _rectangle(canvas, 0, 0, 1, 1, (16, 20, 62))
    _disc(canvas, 0.84, 0.15, 0.085, (245, 240, 210))
    for x, y in (
        (0.1, 0.1),
        (0.3, 0.06),
        (0.08, 0.4),
        (0.62, 0.08),
        (0.92, 0.42),
        (0.2, 0.26),
        (0.95, 0.66),
        (0.05, 0.66),
    ):
        _disc(canvas, x, y, 0.014, (255, 255, 255))


def _polygon(canvas: Floats, points: Floats, colour: object, opacity: float = 1.0) -> None:
    """Fills a polygon; points [n, 2] in fractions of the canvas, colour in 0..255."""
    corners = np.round(points * canvas.shape[0] * 16).astype(np.int32)
    if opacity >= 1.0:
        cv2.fillPoly(canvas, [corners], tuple(float(c) for c in colour), shift=4)  # type: ignore[attr-defined]
        return
    mask = np.zeros(canvas.shape[:2], np.float32)
    cv2.fillPoly(mask, [corners], opacity, shift=4)
    canvas += mask[:, :, None] * (np.asarray(colour, np.float32) - canvas)


_ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)


def _ellipse(x: float, y: float, rx: float, ry: float) -> Floats:
    return np.stack([x + rx * np.cos(_ANGLES), y + ry * np.sin(_ANGLES)], axis=1).astype(np.float32)


def _between(low: object, high: object, value: float) -> Floats:
    """Linear from `low` at -1 to `high` at 1."""
    a, b = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return np.asarray(a + (b - a) * (value + 1) / 2, dtype=np.float32)


def _ramp(stops: tuple[tuple[int, int, int], ...], value: float) -> Floats:
    """A colour from evenly spaced stops, for a value in [-1, 1]."""
    grid = np.linspace(-1, 1, len(stops))
    return np.array([np.interp(value, grid, channel) for channel in zip(*stops, strict=True)], np.float32)


SKINS = ((255, 226, 204), (240, 196, 160), (205, 146, 102), (140, 90, 58), (84, 52, 36))
HAIRS = ((30, 24, 24), (86, 52, 30), (165, 66, 30), (205, 150, 70), (245, 222, 140))
IRISES = ((70, 42, 24), (120, 90, 30), (50, 130, 70), (50, 120, 200), (150, 190, 225))


class _Figure:
    """One person's shapes: head coordinates have the head's centre at 0 and the unit of the picture's height."""

    def __init__(self, person: Person, look: Look, centre: tuple[float, float], scale: float) -> None:
        self.look, self.scale = look, scale
        self.centre = np.array(centre) + np.array(look.shift) * scale
        trait = {name: float(value) for name, value in zip(TRAITS, person.identity, strict=True)}
        self.trait = trait
        self.skin = _ramp(SKINS, trait["skin"])
        self.hair = _ramp(HAIRS, trait["hair_hue"])
        self.rx = 0.215 + 0.04 * trait["face_width"]
        self.ry = 0.285 + 0.035 * trait["face_height"]
        self.eye_x = 0.098 + 0.022 * trait["eye_gap"]
        self.eye_y = -0.035
        self.eye_r = 0.046 + 0.012 * trait["eye_size"]
        self.nose_y = 0.062 + 0.026 * trait["nose_length"]
        self.mouth_x = 0.088 + 0.022 * trait["mouth_width"]
        self.mouth_y = 0.158

    def _placed(self, points: Floats, tilted: bool = True) -> Floats:
        points = np.asarray(points, np.float32)
        if tilted:
            a = np.deg2rad(self.look.tilt)
            turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]], np.float32)
            points = points @ turn.T
        return np.asarray(points * self.scale + self.centre, dtype=np.float32)

    def _fill(self, canvas: Floats, points: object, colour: object, opacity: float = 1.0, tilted: bool = True) -> None:
        _polygon(canvas, self._placed(np.asarray(points), tilted), np.asarray(colour).tolist(), opacity)

    def paint(self, canvas: Floats) -> None:
        """Back to front."""
        self._paint_back_hair(canvas)
        self._paint_body(canvas)
        self._paint_head(canvas)
        self._paint_beard(canvas)
        self._paint_mouth(canvas)
        self._paint_nose(canvas)
        self._paint_eyes(canvas)
        self._paint_fringe(canvas)
        if self.look.hat != "none":
            self._paint_hat(canvas)
        if self.look.glasses:
            self._paint_glasses(canvas)

    def _outline(self, grow: float = 1.0) -> Floats:
        """The head: an ellipse whose lower half is narrowed or squared by the jaw."""
        x, y = np.cos(_ANGLES), np.sin(_ANGLES)
        power = _between(1.35, 0.62, self.trait["jaw"])
        lower = np.where(y > 0, np.sign(x) * np.abs(x) ** power, x)
        return np.stack([lower * self.rx * grow, y * self.ry * grow], axis=1).astype(np.float32)

    def _paint_back_hair(self, canvas: Floats) -> None:
        width = self.rx + 0.02 + 0.022 * (self.trait["hair_volume"] + 1)
        bottom = -0.05 + 0.21 * (self.trait["hair_length"] + 1)
        top = _ellipse(0, -0.06, width, self.ry - 0.02)
        upper = top[top[:, 1] <= -0.06]
        upper = upper[np.argsort(upper[:, 0])]
        self._fill(canvas, np.concatenate([upper, [[width, bottom], [-width, bottom]]]), self.hair * 0.8)

    def _paint_body(self, canvas: Floats) -> None:
        neck = [(-0.085, 0.15), (0.085, 0.15), (0.085, 0.45), (-0.085, 0.45)]
        self._fill(canvas, neck, self.skin * 0.86, tilted=False)
        shirt = np.array(COLOURS[self.look.shirt], np.float32)
        self._fill(canvas, _ellipse(0, 0.59, 0.42, 0.265), shirt * 0.55, tilted=False)
        self._fill(canvas, _ellipse(0, 0.59, 0.407, 0.25), shirt, tilted=False)

    def _paint_head(self, canvas: Floats) -> None:
        for side in (-1, 1):
            self._fill(canvas, _ellipse(side * self.rx, 0.01, 0.032, 0.05), self.skin * 0.9)
        self._fill(canvas, self._outline(), self.skin)

    def _paint_beard(self, canvas: Floats) -> None:
        strength = self.trait["beard"]
        if strength <= 0:
            return
        outline = self._outline(1.0)
        lower = outline[outline[:, 1] > 0.07]
        lower = lower[np.argsort(lower[:, 0])]
        inner = [(self.rx * 0.5, 0.11), (-self.rx * 0.5, 0.11)]
        self._fill(canvas, np.concatenate([lower, inner]), self.hair * 0.9, opacity=0.2 + 0.75 * strength)

    def _paint_mouth(self, canvas: Floats) -> None:
        {"neutral": self._neutral, "smiling": self._smile, "sad": self._frown, "surprised": self._gasp}[
            self.look.expression
        ](canvas)

    def _lips(self) -> Floats:
        return np.asarray(self.skin * 0.35 + np.array([180, 50, 60]) * 0.62, dtype=np.float32)

    def _bow(self, sag: float, thickness: float, width: float) -> Floats:
        """A band that hangs down by `sag` in the middle."""
        x = np.linspace(-1, 1, 17)
        middle = self.mouth_y + sag * (0.5 - x**2)
        half = thickness * (1 - 0.6 * x**2)
        top = np.stack([x * width, middle - half], axis=1)
        bottom = np.stack([x * width, middle + half], axis=1)
        return np.concatenate([top, bottom[::-1]]).astype(np.float32)

    def _neutral(self, canvas: Floats) -> None:
        self._fill(canvas, self._bow(0.0, 0.016, self.mouth_x * 0.9), self._lips())

    def _smile(self, canvas: Floats) -> None:
        x = np.linspace(-1, 1, 17)
        width = self.mouth_x * 1.3
        for grow, colour in ((1.0, self._lips()), (0.72, (250, 250, 248))):
            top = np.stack([x * width * grow, self.mouth_y - 0.035 + 0.02 * (1 - x**2) + 0.014 * (1 - grow)], axis=1)
            bottom = np.stack([x * width * grow, self.mouth_y - 0.035 + 0.115 * grow * (1 - x**2)], axis=1)
            self._fill(canvas, np.concatenate([top, bottom[::-1]]), colour)

    def _frown(self, canvas: Floats) -> None:
        self._fill(canvas, self._bow(-0.075, 0.02, self.mouth_x * 1.1), self._lips() * 0.85)

    def _gasp(self, canvas: Floats) -> None:
        y = self.mouth_y + 0.012
        self._fill(canvas, _ellipse(0, y, self.mouth_x * 0.62, 0.075), self._lips())
        self._fill(canvas, _ellipse(0, y, self.mouth_x * 0.4, 0.052), (50, 12, 18))

    def _paint_nose(self, canvas: Floats) -> None:
        half = 0.032 + 0.014 * self.trait["nose_width"]
        bridge = [(-0.011, -0.02), (0.011, -0.02), (half, self.nose_y), (0, self.nose_y + 0.016), (-half, self.nose_y)]
        self._fill(canvas, bridge, self.skin * 0.78)

    def _paint_eyes(self, canvas: Floats) -> None:
        wide = {"surprised": 1.18, "smiling": 0.86}.get(self.look.expression, 1.0)
        iris = _ramp(IRISES, self.trait["eye_hue"])
        gaze = 0.22 * self.eye_r * np.array(self.look.gaze)
        for side in (-1, 1):
            x, y, r = side * self.eye_x, self.eye_y, self.eye_r
            self._fill(canvas, _ellipse(x, y, r * 1.12, r * 0.8 * wide), (250, 250, 250))
            self._fill(canvas, _ellipse(x + gaze[0], y + gaze[1], r * 0.6, r * 0.6), iris)
            self._fill(canvas, _ellipse(x + gaze[0], y + gaze[1], r * 0.26, r * 0.26), (15, 12, 12))
            self._paint_brow(canvas, side, x)

    def _paint_brow(self, canvas: Floats, side: int, x: float) -> None:
        lift = {"surprised": 0.03, "sad": 0.005}.get(self.look.expression, 0.0)
        half = 0.009 + 0.007 * (self.trait["brow_thickness"] + 1) / 2 * 1.6
        slope = 0.026 * self.trait["brow_angle"]
        y = self.eye_y - self.eye_r - 0.026 - lift
        inner, outer = (x - side * 0.05, y + slope), (x + side * 0.05, y - slope)
        band = [
            (inner[0], inner[1] - half),
            (outer[0], outer[1] - half),
            (outer[0], outer[1] + half),
            (inner[0], inner[1] + half),
        ]
        self._fill(canvas, band, self.hair * 0.55)

    def _paint_fringe(self, canvas: Floats) -> None:
        volume = 0.012 + 0.026 * (self.trait["hair_volume"] + 1)
        x = np.linspace(-1, 1, 25)
        arc = np.sqrt(np.clip(1 - x**2, 0, 1))
        crown = np.stack([x * (self.rx + 0.012), -0.07 - arc * (self.ry - 0.07 + volume)], axis=1)
        line = np.stack([x * (self.rx + 0.012), -0.07 - arc * (self.ry - 0.15)], axis=1)
        self._fill(canvas, np.concatenate([crown, line[::-1]]), self.hair)

    def _paint_hat(self, canvas: Floats) -> None:
        colour = np.array(COLOURS[self.look.hat], np.float32)
        x = np.linspace(-1, 1, 25)
        width, base = self.rx + 0.035, -self.ry + 0.13
        dome = np.stack([x * width, base - np.sqrt(np.clip(1 - x**2, 0, 1)) * 0.2], axis=1)
        self._fill(canvas, dome, colour)
        brim = [
            (-width - 0.05, base - 0.024),
            (width + 0.05, base - 0.024),
            (width + 0.05, base + 0.024),
            (-width - 0.05, base + 0.024),
        ]
        self._fill(canvas, brim, colour * 0.78)

    def _paint_glasses(self, canvas: Floats) -> None:
        frame, r = (20, 20, 24), max(self.eye_r * 1.25, 0.062)
        for side in (-1, 1):
            self._ring(canvas, side * self.eye_x, self.eye_y, min(r, self.eye_x - 0.008), r, frame)
            self._fill(canvas, _bar(side * (self.eye_x + r * 0.8), side * self.rx, self.eye_y), frame)
        self._fill(canvas, _bar(-0.02, 0.02, self.eye_y - 0.01), frame)

    def _ring(self, canvas: Floats, x: float, y: float, rx: float, ry: float, colour: object) -> None:
        outer, inner = _ellipse(x, y, rx + 0.012, ry + 0.002), _ellipse(x, y, rx - 0.012, ry - 0.02)
        side = canvas.shape[0] * 16
        shapes = [np.round(self._placed(points) * side).astype(np.int32) for points in (outer, inner)]
        cv2.fillPoly(canvas, shapes, tuple(float(c) for c in colour), shift=4)  # type: ignore[attr-defined]

    def face(self, size: int) -> Face:
        """The truth for detectors: box and five landmarks in pixels."""
        outline = self._placed(self._outline()) * size
        landmarks = self._placed(
            np.array([
                (-self.eye_x, self.eye_y), (self.eye_x, self.eye_y), (0, self.nose_y),
                (-self.mouth_x, self.mouth_y), (self.mouth_x, self.mouth_y),
            ])
        ) * size  # fmt: skip
        box = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
        return Face(box.astype(np.float32), landmarks.astype(np.float32), 1.0)


def _bar(left: float, right: float, y: float) -> Floats:
    return np.array([(left, y - 0.009), (right, y - 0.009), (right, y + 0.009), (left, y + 0.009)], np.float32)
