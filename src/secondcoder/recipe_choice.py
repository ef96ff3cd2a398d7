"""With few labels, the recipe of a run: compared on train, and written down.

In: a run that has begun, its train part. Out: the settings that it is trained with.
"""

import shutil
from dataclasses import replace

from secondcoder.corpus.corpus import Corpus
from secondcoder.progress import Progress
from secondcoder.run_folder import RunFolder
from secondcoder.settings import TrainSettings
from secondcoder.training.recipes import compare_recipes

RECIPES = "recipes"
"""Key of what was compared in ``run.json``, and folder in the run while it goes on."""


def choose_recipe(
    run: RunFolder, train: Corpus, settings: TrainSettings, *, seed: int, progress: Progress
) -> TrainSettings:
    """Return the settings with the recipe that does best on train; the run's settings become those.

    What was asked for stays under ``"asked"``. A run that goes on keeps the recipe that it has.

    Raises
    ------
    InterruptedRunError
        If the user stopped it; everything is saved.
    """
    if "recipe" not in run.info["settings"]["train"]:
        return settings  # begun when there were no recipes
    folder = run.folder / RECIPES
    if RECIPES not in run.info:
        found = compare_recipes(train, settings, seed=seed, folder=folder, progress=progress)
        if found is None:
            return settings
        stored = run.info["settings"]
        asked = {name: stored["train"][name] for name in found.settings}
        run.update(
            recipes=found.to_dict() | {"asked": asked},
            settings=stored | {"train": stored["train"] | found.settings},
        )
        progress.say(found.sentence)
    shutil.rmtree(folder, ignore_errors=True)
    return replace(settings, **run.info[RECIPES]["settings"])
