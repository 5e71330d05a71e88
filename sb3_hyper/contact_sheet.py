"""``python -m sb3_hyper.contact_sheet``: play one trial and draw it, as a sheet of pictures or as a moving one."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_hyper.command_line import run_command
from sb3_hyper.evaluate import add_agent_options, prepare
from sb3_hyper.recording import Frame, Recording, no_images, record_trial

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

_SHEET_WIDTH, _CELL_SIZE, _ANIMATION_SIZE = 1040, 160, 320
_GAP, _MARGIN, _LINE = 8, 14, 18
_TITLE_WIDTH, _TITLE_HEIGHT = 480, 30
_FONT_SIZE, _TITLE_FONT_SIZE = 12, 16
_TEXT, _MUTED = "#3a3f47", "#6f757e"
_MOST_COLORS, _N_PALETTE_IMAGES = 256, 16
_SHORTEST = 20
"""Milliseconds of a picture in a moving one; programs show shorter ones longer."""


def contact_sheet(recording: Recording, n_frames: int | None = None) -> npt.NDArray[np.uint8]:
    """
    Lay out pictures of a trial, one row for each episode, or several rows where one does not hold them.

    Over each row stands the episode and its return, under each picture its step and the episode's return so far.
    The pictures of an episode are evenly spread over its steps, the first and the last state among them.
    Those larger than about 160 pixels are shrunk (wide ones: to the width of the sheet), small ones enlarged by a whole
    factor.

    :param recording: what :func:`~sb3_hyper.recording.record_trial` gave
    :param n_frames: pictures of each episode, at least 1; None: 6, or 12 where the trial is one episode
    :return: uint8, shape ``(height, width, 3)``
    :raises ValueError: when the number is less than 1
    :raises ImportError: when Pillow is missing (``pip install "sb3-hyper[plots]"``)
    """
    if n_frames is None:
        n_frames = 12 if len(recording.episodes) == 1 else 6
    if n_frames < 1:
        raise ValueError(f"n_frames={n_frames}: wanted at least 1 picture of each episode.")
    episodes = [evenly_spread(frames, n_frames) for frames in recording.episodes]
    images = [[_fit(frame.image, _CELL_SIZE) for frame in frames] for frames in episodes]
    width = max(image.width for row in images for image in row) + _GAP
    height = max(image.height for row in images for image in row) + _LINE + _GAP
    n_columns = _even_columns(max(map(len, images)), (_SHEET_WIDTH - 2 * _MARGIN + _GAP) // width)
    strips = []
    for number, (frames, row) in enumerate(zip(episodes, images, strict=True), start=1):
        heading = f"episode {number} of {len(episodes)}, return {_number(frames[-1].episode_return)}"
        strips.append(_draw_episode(heading, frames, row, n_columns, (width, height)))
    widest = max(strips[0].width, _TITLE_WIDTH)
    sheet = _blank(widest + 2 * _MARGIN, sum(strip.height for strip in strips) + _TITLE_HEIGHT + 2 * _MARGIN)
    trial_return = sum(frames[-1].episode_return for frames in episodes)
    title = f"{recording.environment}, {recording.policy}: return {_number(trial_return)}"
    _write(sheet, (_MARGIN, _MARGIN - 4), title, size=_TITLE_FONT_SIZE)
    top = _MARGIN + _TITLE_HEIGHT
    for strip in strips:
        sheet.paste(strip, (_MARGIN, top))
        top += strip.height
    return np.asarray(sheet)


def _even_columns(n: int, n_most: int) -> int:
    """Columns of ``n`` pictures in as few rows as ``n_most`` columns would need."""
    n_rows = math.ceil(n / max(1, n_most))
    return math.ceil(n / n_rows)


def _draw_episode(
    heading: str, frames: Sequence[Frame], images: Sequence[Image.Image], n_columns: int, cell: tuple[int, int]
) -> Image.Image:
    """Draw the pictures of one episode in cells of that size, gaps included."""
    strip = _blank(n_columns * cell[0] - _GAP, _LINE + math.ceil(len(images) / n_columns) * cell[1])
    _write(strip, (0, 0), heading)
    for index, (frame, image) in enumerate(zip(frames, images, strict=True)):
        row, column = divmod(index, n_columns)
        left, top = column * cell[0], _LINE + row * cell[1]
        strip.paste(image, (left, top))
        below = top + image.height + 2
        _write(strip, (left, below), f"step {frame.step}", _MUTED)
        _write(strip, (left + image.width, below), _number(frame.episode_return), _MUTED, anchor="ra")
    return strip


def save_contact_sheet(path: str | PathLike[str], recording: Recording, n_frames: int | None = None) -> None:
    """
    Write :func:`contact_sheet` into a PNG of 256 colors, which stay near the sheet's own.

    :param path: the file
    :param recording: what :func:`~sb3_hyper.recording.record_trial` gave
    :param n_frames: pictures of each episode
    """
    from PIL import Image

    image = Image.fromarray(contact_sheet(recording, n_frames))
    _with_palette(image).save(path, format="PNG", optimize=True)


def save_animation(path: str | PathLike[str], recording: Recording, fps: float | None = None) -> None:
    """
    Write a trial as an endless moving picture (GIF), each episode, step and return below.

    :param path: the file
    :param recording: what :func:`~sb3_hyper.recording.record_trial` gave
    :param fps: steps per second, above 0; None: those of the environment
    :raises ValueError: when ``fps`` is not above 0
    :raises ImportError: when Pillow is missing (``pip install "sb3-hyper[plots]"``)
    """
    from PIL import Image

    fps = recording.fps if fps is None else fps
    if not fps > 0:
        raise ValueError(f"fps={fps}: wanted more than 0 steps per second.")
    images, durations = [], []
    for number, frames in enumerate(recording.episodes, start=1):
        for frame, n_steps in zip(frames, _steps_until_next(frames), strict=True):
            images.append(_captioned(frame, f"episode {number} of {len(recording.episodes)}"))
            durations.append(max(_SHORTEST, round(1000 * n_steps / fps)))
    # With one palette for all, a picture needs to store only what is new in it.
    some = np.concatenate([np.asarray(image) for image in evenly_spread(images, _N_PALETTE_IMAGES)])
    palette = _with_palette(Image.fromarray(some))
    pictures = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    pictures[0].save(path, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def evenly_spread(items: Sequence[T], n: int) -> list[T]:
    """
    Choose items at equal distances.

    :param items: not empty
    :param n: how many at most; of one, the last is taken
    :return: in their order, the first and the last among them
    """
    if n == 1:
        return [items[-1]]
    return [items[i] for i in dict.fromkeys(np.linspace(0, len(items) - 1, n).round().astype(int).tolist())]


def _steps_until_next(frames: Sequence[Frame]) -> Iterator[int]:
    """Steps between pictures; the last one stays for five times as long as the first."""
    steps = [frame.step for frame in frames]
    yield from (later - earlier for earlier, later in pairwise(steps))
    yield 5 * (steps[1] - steps[0])


def _fit(image: npt.NDArray[np.uint8], size: int) -> Image.Image:
    """Shrink large pictures, and enlarge small ones so that every pixel becomes a square."""
    from PIL import Image

    picture = Image.fromarray(image)
    factor = size // max(picture.size)
    if factor > 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    scale = min(1.0, size / picture.height, (_SHEET_WIDTH - 2 * _MARGIN) / picture.width)
    if scale == 1.0:
        return picture
    shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(shape, Image.Resampling.LANCZOS)


def _captioned(frame: Frame, episode: str) -> Image.Image:
    image = _fit(frame.image, _ANIMATION_SIZE)
    picture = _blank(max(image.width, 240), image.height + _LINE + 4)
    picture.paste(image, ((picture.width - image.width) // 2, 0))
    text = f"{episode}, step {frame.step}, return {_number(frame.episode_return)}"
    _write(picture, (4, image.height + 2), text)
    return picture


def _blank(width: int, height: int) -> Image.Image:
    from PIL import Image

    return Image.new("RGB", (width, height), "white")


def _write(
    image: Image.Image,
    place: tuple[int, int],
    text: str,
    color: str = _TEXT,
    size: int = _FONT_SIZE,
    anchor: str = "la",
) -> None:
    from PIL import ImageDraw

    ImageDraw.Draw(image).text(place, text, fill=color, font=_font(size), anchor=anchor)


@lru_cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _number(value: float) -> str:
    # Sums of float32 rewards end in digits that mean nothing, and -0.0 is 0.
    return f"{round(value, 2) + 0.0:g}" if abs(value) < 1000 else f"{value:.0f}"


def _with_palette(image: Image.Image) -> Image.Image:
    from PIL import Image

    # Rare colors matter too: a mark is small, a floor is large.
    return image.quantize(_MOST_COLORS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)


def make_parser() -> argparse.ArgumentParser:
    """The command line; options that ``sb3_hyper.evaluate`` has too mean the same here."""
    parser = argparse.ArgumentParser(
        prog="python -m sb3_hyper.contact_sheet",
        description="Play one trial and draw it: pictures of each episode on one sheet.",
    )
    add_agent_options(parser)
    parser.add_argument("--frames", help="pictures of each episode (default: 6, or 12 of a single one)", type=int)
    parser.add_argument("--gif", help="write a moving picture beside the sheet", action="store_true")
    parser.add_argument("--fps", help="steps per second of the moving picture (default: the environment's)", type=float)
    parser.add_argument(
        "-o", "--output", help="the PNG (default: ENV.png in the run's folder, else in the working folder)", type=Path
    )
    parser.set_defaults(n_trials=1, n_envs=1)
    return parser


def run(options: argparse.Namespace) -> None:
    """
    Play and draw what the command line says.

    :param options: what :func:`make_parser` parsed
    :raises ImportError: when Pillow is missing
    :raises ValueError: when the environment draws no images, the output is no PNG, or as in ``sb3_hyper.evaluate``
    """
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError('Pictures need Pillow: pip install "sb3-hyper[plots]".') from error
    if options.output is not None and options.output.suffix != ".png":
        raise ValueError(f"--output {options.output}: wanted a file that ends in .png.")
    recording, folder = _record(options)
    sheet: Path = options.output or folder / f"{options.env.replace('/', '-').replace(':', '-')}.png"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    save_contact_sheet(sheet, recording, options.frames)
    print(f"Saved {sheet}")
    if options.gif:
        save_animation(sheet.with_suffix(".gif"), recording, options.fps)
        print(f"Saved {sheet.with_suffix('.gif')}")


def _record(options: argparse.Namespace) -> tuple[Recording, Path]:
    """The trial, and the folder for its pictures where none is named."""
    changes: dict[str, Any] = {"env_kwargs": {**options.env_kwargs, "render_mode": "rgb_array"}, "output": None}
    try:
        setting = prepare(argparse.Namespace(**{**vars(options), **changes}), DummyVecEnv)
    except TypeError as error:
        if "keyword argument 'render_mode'" not in str(error):
            raise
        raise ValueError(no_images(options.env, [])) from error
    try:
        return record_trial(setting.model, setting.env, not options.stochastic, options.seed), setting.output
    finally:
        setting.env.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the command line; None: this process's
    :return: exit status: 0, or 1 where something that the user gave was wrong
    """
    return run_command(make_parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
