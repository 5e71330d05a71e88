"""``python docs/pictures.py [ID ...]``: make the pictures of the environments again, all of them or some."""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sb3_hyper import contact_sheet
from sb3_hyper.envs.mine_maze_frames import FRAMES, Frame, frame_image

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images" / "environments"
RANDOM = ["--baseline", "random"]
TRAINED = ["-f", str(ROOT / "trained_agents")]
ROW = [*RANDOM, "--frames", "6"]
CORRIDOR = [*RANDOM, "--frames", "5", "--env-kwargs", "n_episodes_per_trial:1"]
ONE_ROOM = [*RANDOM, "--env-kwargs", "rooms:1"]

PICTURES = {
    "TMazeLS-v0": [*TRAINED, "--frames", "3", "--gif", "--env-kwargs", "corridor_length:40"],
    "TMazeAgreement-v0": CORRIDOR,
    "TMazeLatent-v0": CORRIDOR,
    "TMazeOrder-v0": CORRIDOR,
    "TMazeChecks-v0": CORRIDOR,
    "MineMaze-v0": ONE_ROOM,
    "MineMazeOrder-v0": ONE_ROOM,
    "MineMazeHidden-v0": ONE_ROOM,
    "GridNavi-v0": RANDOM,
    "PointNav-v0": ROW,
    "PointNavSparse-v0": ROW,
    "PlanningGame-v0": RANDOM,
    "PlanningGame3x3-v0": RANDOM,
    "Bandit-v0": RANDOM,
    "TabularMDP-v0": [*RANDOM, "--frames", "5", "--env-kwargs", "n_episodes_per_trial:3"],
    "HalfCheetahDir-v0": ROW,
    "HalfCheetahVel-v0": ROW,
    "HalfCheetahHop-v0": ROW,
    "AntDir-v0": ROW,
    "AntDir2D-v0": ROW,
    "AntGoal-v0": RANDOM,
    "Walker2DRandParams-v0": RANDOM,
    "HopperRandParams-v0": RANDOM,
    "HumanoidDir-v0": ROW,
}
"""Arguments of ``python -m sb3_hyper.contact_sheet`` for each picture."""

LOOKS_LIKE = {
    "GridNaviDense-v0": "GridNavi-v0",
    "GridNaviShow-v0": "GridNavi-v0",
    "PlanningGameJustGoal-v0": "PlanningGame3x3-v0",
    "MineMazeNoise-v0": "MineMaze-v0",
    "MineMazePixels-v0": "MineMaze-v0",
    "MineMazePixelsOrder-v0": "MineMazeOrder-v0",
    "MineMazePixelsNoise-v0": "MineMaze-v0",
    "MineMazePixelsHidden-v0": "MineMazeHidden-v0",
    "HalfCheetahDirSparse-v0": "HalfCheetahDir-v0",
    "AntGoalSparse-v0": "AntGoal-v0",
}
"""Environments that differ in what is observed or paid, not in what is drawn."""


VIEWS, COLUMNS, EDGE = "mine_maze", 5, 128
"""Name of the picture of all views in a mine, how many stand side by side, and their size."""


def view_name(frame: Frame) -> str:
    """Say where a view is seen; the pillar only where it is in sight."""
    if frame.place != "room":
        return {"emerald": "indicator: up", "redstone": "indicator: down", "dark": "hidden indicator"}.get(
            frame.place, "end"
        )
    return f"{frame.cell}" + (f", {frame.pillar} pillar" if frame.cell[1] < 3 else "")


def draw_mine_views() -> None:
    """Draw every view in a mine, as 64 x 64 and as 10 x 10 pixels."""
    views = {view_name(frame): frame for frame in FRAMES}
    width, height = 2 * EDGE + 8, EDGE + 18
    picture = Image.new("RGB", (COLUMNS * width + 8, -(-len(views) // COLUMNS) * height + 8), "white")
    for index, (name, frame) in enumerate(views.items()):
        row, column = divmod(index, COLUMNS)
        left, top = 8 + column * width, row * height
        ImageDraw.Draw(picture).text((left, top + 2), name, fill="black", font=ImageFont.load_default(13))
        for place, n_pixels in enumerate((64, 10)):
            view = Image.fromarray(frame_image(frame, n_pixels)).resize((EDGE, EDGE), Image.Resampling.NEAREST)
            picture.paste(view, (left + place * EDGE, top + 18))
    path = ROOT / "docs" / "images" / f"{VIEWS}.png"
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"Saved {path}")


def main(env_ids: list[str]) -> int:
    """Make the pictures of these environments, or all where none is named; 0, or 1 where one could not be made."""
    status = 0
    if not env_ids:
        draw_mine_views()
    for env_id in env_ids or PICTURES:
        arguments = ["--env", env_id, "-o", str(FOLDER / f"{env_id}.png"), "--num-threads", "1"]
        status |= contact_sheet.main([*arguments, *PICTURES[env_id]])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
