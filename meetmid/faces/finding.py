"""From any picture to the one face crop that is matched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.config import Color, Cover, Faces, MatchConfig
from meetmid.errors import ConfigError, InputError, MeetmidError
from meetmid.faces.alignment import TEMPLATES, AlignmentTemplate
from meetmid.faces.colours import SWAPPED
from meetmid.faces.crops import Face, can_align, cut, given_faces, most_prominent
from meetmid.faces.detection import DEFAULT, Detector, open_detector
from meetmid.faces.finder import Finder
from meetmid.faces.lying import is_aligned
from meetmid.faces.pixels import Squared, recorded, squared
from meetmid.faces.repeats import Joined, joined, joined_around
from meetmid.faces.worn import hides
from meetmid.images import MAX_PIXELS, Entry, Source, load

CROP_SIDE = 192
"""``faces="auto"`` takes a picture of at most this many pixels a side (the largest hypothesis of the paper) as a crop, unless
it shows much more than a face or its face lies otherwise than in an aligned one."""

FRAME = 0.3
"""What is put around a crop before its points are looked for, as a share of its longer side."""

LONGEST = 5
"""Face crops' longer side by their shorter one, at most: what frames them is as wide everywhere."""

LEAST_OF_CROPS = 0.2
"""The library's own finder's lowest score for the face of a crop."""

WAY = 3
"""Raised whenever the same picture and hint may give another crop: what was begun before does not go on."""

LOOSE = 0.5
"""A picture as small as a crop, of whose sides the box of the face takes less, shows much more than a face and is searched."""

EVENED = "unusual light was evened out"
"""What a status says of a picture whose hypotheses are made in another light."""

MUCH_MORE = "showed much more than a face, which was cut out"
UNALIGNED = "its face lay elsewhere than in an aligned one, so that it was aligned"
"""Why ``"auto"`` does not take a small picture for a crop."""

FACE_MODES = get_args(Faces)
Hint = Any
"""``"auto" | "crop" | "detect" | "landmarks"``, or an array of boxes (N, 4) / (4,) or of points (N, 5, 2) / (5, 2)."""


@dataclass(frozen=True)
class FoundCrop:
    """A face crop (H, W, 3) uint8 RGB and the native size of the face in pixels; ``repeats``, how many rows and columns were
    joined to one; ``why`` ``"auto"`` did not take a picture as small as a crop for one; ``fine``, the crop's pixels per pixel
    of the picture along each side; ``is_evened``, whether hypotheses are made of it in another light; ``recorded``, what its
    size says of its pixels; ``is_swapped``, whether its red and blue seem swapped; ``is_aligned``, as far as is known;
    ``worn``, what seems to hide a part of it."""

    picture: NDArray[np.uint8]
    native: float
    repeats: tuple[int, int] = (1, 1)
    why: str = ""
    fine: int = 1
    is_evened: bool = False
    recorded: str = ""
    is_swapped: bool = False
    is_aligned: bool = True
    worn: Cover | None = None

    def remarks(self) -> list[str]:
        """What is to be known of it."""
        told = []
        if self.repeats != (1, 1):
            told.append("pixels repeated {} x {} times were joined".format(*self.repeats))
        if self.why:
            told.append(f"small as a face crop, but {self.why}")
        if self.is_evened:
            told.append(EVENED)
        if self.is_swapped:
            told.append(SWAPPED)
        if self.worn is not None:
            told.append(hides(self.worn))
        return [*told, self.recorded] if self.recorded else told


def find_faces(
    image: Source, *, detector: str | Detector | None = None, color: Color = "rgb", pixel_aspect: float = 1.0
) -> list[Face]:
    """Every face of a picture with box, points, score and size, in its own pixels, best score first.

    ``detector`` is ``"finder"`` (the one that ships, also None), another that :func:`open_detector` knows, or an object with
    ``detect``, which sees a picture of square pixels: ``pixel_aspect`` is the width of the picture's by their height. Raises
    InputError for the picture and ModelError or ConfigError for the others.
    """
    aspect = MatchConfig(pixel_aspect=pixel_aspect).pixel_aspect
    finder = open_detector(detector or DEFAULT) if isinstance(detector, str | None) else detector
    seen = squared(load(image, color=color), aspect, MAX_PIXELS)
    return [seen.back(face) for face in finder.detect(seen.picture)]


def find_crop(
    source: Source, hint: Hint, config: MatchConfig, alignment: str, detector: Detector, most: int = MAX_PIXELS, *,
    joins: bool = False, is_fine: bool = False, aspect: float = 1.0, is_probe: bool = False,
) -> FoundCrop | None:
    """Decode a picture of at most ``most`` pixels and cut its face, with ``joins`` from joined pixels where some repeat each
    other, with ``is_fine`` more finely where it is small, from square pixels where ``aspect`` says that its own are not; None
    where a detector finds none. Raises InputError for a bad picture or hint, and where a detector finds none in a probe whose
    size says that its pixels may not be square."""
    image, face, why = load(source, color=config.color, most=most), None, ""
    height, width = image.shape[:2]
    mode = hint if isinstance(hint, str) else "given"
    if mode is hint and mode not in FACE_MODES:
        raise InputError(f"faces expects one of {', '.join(FACE_MODES)} or an array, got {hint!r}")
    seen = Squared(image) if mode == "crop" else squared(image, aspect, most)
    is_small = mode == "auto" and max(height, width) <= CROP_SIDE
    if is_small:
        aligns = config.crop == "arcface5" and aspect == 1  # of what is squared no crop need be
        face, why = _face_of_small(seen.picture, detector, TEMPLATES[alignment] if aligns else None)
    if mode == "crop" or (is_small and face is None):
        whole = joined(image) if joins else Joined(image)
        return FoundCrop(whole.picture, float(np.sqrt(height * width)), whole.repeats)
    if mode == "landmarks" and max(height, width) > LONGEST * min(height, width):
        raise InputError(f"a face crop is expected to be at most {LONGEST} times as long as wide, got {width} x {height} px")
    if mode == "given":
        given = given_faces(hint, seen.across, seen.down)
        face = most_prominent(given, seen.picture.shape[:2]) if given else None
    elif face is None:
        face = (_face_of_crop if mode == "landmarks" else _main_face)(seen.picture, detector)
    told = recorded((width, height)) if is_probe and aspect == 1 else ""
    if face is None:
        if told and mode != "given":
            raise InputError(f"no face found in {told}")
        return None
    own = seen.back(face)
    whole, its = joined_around(image, own) if joins else (Joined(image), own)
    if whole.repeats != (1, 1):  # so many rows and columns of the picture are one of what is joined
        seen = squared(whole.picture, aspect * whole.repeats[1] / whole.repeats[0], most)
        face = seen.face(its)
    crop, fine = cut(seen.picture, face, how=config.crop, template=TEMPLATES[alignment], is_fine=is_fine)
    is_aligned = can_align(face, config.crop)
    return FoundCrop(crop, own.size, whole.repeats, why, fine, recorded=told, is_aligned=is_aligned)


def _face_of_small(
    image: NDArray[np.uint8], detector: Detector, template: AlignmentTemplate | None
) -> tuple[Face | None, str]:
    """The face to cut out of a picture as small as a crop and why, where the library's own finder sees that it is none, or none
    that is aligned by the ``template``, if one is given."""
    if not isinstance(detector, Finder):
        return None, ""
    loose = _face_of_loose(image, detector)
    if loose is not None:
        return loose, MUCH_MORE
    face = _face_of_crop(image, detector) if template is not None else None
    if template is None or face is None or is_aligned(face, image.shape[:2], template):
        return None, ""
    return face, UNALIGNED


def _face_of_loose(image: NDArray[np.uint8], detector: Finder) -> Face | None:
    """The face of a supposed crop that the finder sees take little of it, without the doubt that it grants tiny ones: in a crop
    whose face is hidden or turned, what it takes for one is no reason to cut."""
    found = [face for face in _detected(image, detector) if face.score >= detector.threshold]
    face = most_prominent(found, image.shape[:2]) if found else None
    if face is None or face.size >= LOOSE * float(np.sqrt(image.shape[0] * image.shape[1])):
        return None
    return detector.pointed(image, face)


def _main_face(image: NDArray[np.uint8], detector: Detector) -> Face | None:
    """The most prominent of the faces found: the library's own finder need not find the points of the others."""
    found = _detected(image, detector)
    if not found:
        return None
    face = most_prominent(found, image.shape[:2])
    return detector.pointed(image, face) if isinstance(detector, Finder) else face


def _detected(image: NDArray[np.uint8], detector: Detector) -> list[Face]:
    """The faces found, by the library's own finder with rough points; a detector that breaks on one picture fails that picture,
    not the batch."""
    try:
        if isinstance(detector, Finder):
            return detector.rough(image)
        return [_sound(face) for face in detector.detect(image)]
    except MeetmidError:
        raise
    except Exception as error:
        raise InputError(f"the face finder failed on a {image.shape[1]} x {image.shape[0]} px picture: {error}") from error


def _sound(face: Any) -> Face:
    """A detector's face; raises ValueError where it is none."""
    if not isinstance(face, Face):
        raise ValueError(f"it should give faces, not {type(face).__name__}")
    box, score = np.array(face.box, float), np.array(face.score, float)
    points = np.zeros((5, 2)) if face.points is None else np.array(face.points, float)
    sound = (box.shape, points.shape, score.shape) == ((4,), (5, 2), ())
    if not (sound and all(np.isfinite(its).all() for its in (box, points, score)) and (box[2:] > 0).all()):
        raise ValueError(f"it should give boxes with an area, five points or None, and a score, all finite, not {face}")
    return face


def _face_of_crop(image: NDArray[np.uint8], detector: Detector) -> Face | None:
    """The face, if one is found, that a picture which is a face crop shows around its centre.

    Finders expect surroundings: the crop is framed by its own edges. A doubtful face counts, since there is one."""
    seeker = detector.at(LEAST_OF_CROPS) if isinstance(detector, Finder) else detector
    height, width = image.shape[:2]
    margin = round(FRAME * max(height, width))
    framed = np.asarray(cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_REPLICATE), np.uint8)
    middle = np.array([margin + width / 2, margin + height / 2])
    around = [f for f in _detected(framed, seeker) if (np.abs(middle - f.box[:2] - np.array(f.box[2:]) / 2) < f.size / 2).all()]
    if not around:
        return None
    return _shifted(seeker.pointed(framed, around[0]) if isinstance(seeker, Finder) else around[0], -margin)


def _shifted(face: Face, by: float) -> Face:
    x, y, w, h = face.box
    points = None if face.points is None else tuple((a + by, b + by) for a, b in face.points)
    return Face((x + by, y + by, w, h), points, face.score)


def hints_of_sides(faces: Hint | None) -> dict[str, Hint | None]:
    """The hints of a match's two sides: a mode for both, a mapping by side, or boxes or points of the probe side, whose
    gallery is then found by the configured mode. Raises ConfigError for an unknown side or mode."""
    if faces is None or isinstance(faces, str):
        _check_mode(faces)
        return {"probe": faces, "gallery": faces}
    if isinstance(faces, Mapping):
        unknown = sorted(set(faces) - {"probe", "gallery"}, key=str)
        if unknown:
            raise ConfigError(f"faces expects the keys 'probe' and 'gallery', got {unknown}")
        for its in faces.values():
            _check_mode(its)
        return {"probe": faces.get("probe"), "gallery": faces.get("gallery")}
    return {"probe": faces, "gallery": None}


def _check_mode(hint: Hint | None) -> None:
    if isinstance(hint, str) and hint not in FACE_MODES:
        raise ConfigError(f"faces expects one of {', '.join(FACE_MODES)}, boxes or points, got {hint!r}")


def may_look(faces: Hint | None, default: str) -> bool:
    """Whether a side's hint may have a detector look for faces in some of its pictures."""
    if faces is None or isinstance(faces, str):
        return (faces or default) != "crop"
    items = [default, *faces.values()] if isinstance(faces, Mapping) else faces
    modes = (its for item in items for its in (item if isinstance(item, list | tuple) else [item]) if isinstance(its, str))
    return any(mode != "crop" for mode in modes)


def hints_for(faces: Hint | None, entries: Sequence[Entry], default: str) -> list[list[Hint]]:
    """One hint per picture: a mode for all, one array for the only picture, or one item per entry, in order or by id: a mode,
    an array, or for a group one of these per picture (an array with as many rows as the group has pictures is one, any other
    holds for all of them). Raises ConfigError when counts, ids or modes do not fit."""
    if faces is None or isinstance(faces, str):
        _check_mode(faces)
        return [[faces or default] * len(entry.sources) for entry in entries]
    if isinstance(faces, Mapping):
        unknown = sorted(set(faces) - {entry.id for entry in entries}, key=str)
        if unknown:
            raise ConfigError(f"faces expects the ids of the side's entries as keys, got {unknown[:5]}, which it does not have")
        return [_per_entry(faces.get(entry.id, default), entry) for entry in entries]
    if not hasattr(faces, "__len__"):
        raise ConfigError(f"faces expects a mode, an array, or one item per entry, got {type(faces).__name__}")
    is_array = isinstance(faces, np.ndarray)
    if len(entries) == 1 and len(entries[0].sources) == 1 and (is_array or len(faces) != 1):
        return [[faces]]
    if len(faces) != len(entries):
        raise ConfigError(f"faces expects one item per entry ({len(entries)}), got {len(faces)}")
    return [_per_entry(item, entry) for item, entry in zip(faces, entries, strict=True)]


def looks(hints: Sequence[Sequence[Hint]]) -> bool:
    """Whether one of :func:`hints_for` has a detector look for a face."""
    return any(isinstance(hint, str) and hint != "crop" for its in hints for hint in its)


def hints_by_id(entries: Iterable[tuple[Entry, Sequence[Hint]]]) -> dict[str, Hint]:
    """Entries with one hint per picture, as :func:`hints_for` takes them."""
    return {e.id: hints[0] if len(e.sources) == 1 else list(hints) for e, hints in entries}


def _are_faces(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is a picture's boxes or points: (4,), (N, 4), (5, 2) or (N, 5, 2)."""
    return (shape[-1:] == (4,) and len(shape) <= 2) or (shape[-2:] == (5, 2) and len(shape) <= 3)


def _per_entry(item: Hint, entry: Entry) -> list[Hint]:
    count = len(entry.sources)
    _check_mode(item)
    if item is None or (np.isscalar(item) and not isinstance(item, str)):
        raise ConfigError(f"faces of {entry.id!r} expects a mode, boxes or points, got {item!r}")
    if isinstance(item, np.ndarray) and count > 1 and item.shape[:1] == (count,) and _are_faces(item.shape[1:]):
        return list(item)
    is_one = isinstance(item, list) and len(item) == 1 and (isinstance(item[0], str) or not np.isscalar(item[0]))
    if count == 1 and not is_one:
        return [item]
    if isinstance(item, list | tuple):
        if len(item) != count:
            raise ConfigError(f"faces of {entry.id!r} expects one item per picture ({count}), got {len(item)}")
        for its in item:
            _check_mode(its)
            if its is None:
                raise ConfigError(f"faces of {entry.id!r} expects modes, boxes or points, got {item!r}")
        return list(item)
    return [item] * count
