"""``catenary plan``."""

from __future__ import annotations

from catenary.cli.options import (
    Data,
    Epochs,
    Group,
    Minutes,
    ModelName,
    RecipeName,
    Seed,
    Settings,
    Steps,
    seeded,
)

__all__ = ["plan"]


def plan(
    data: Data,
    recipe: RecipeName = "default",
    model: ModelName = None,
    minutes: Minutes = 0.0,
    epochs: Epochs = 0,
    steps: Steps = 0,
    settings: Settings = None,
    group: Group = None,
    seed: Seed = None,
) -> None:
    """What a run would do, and why; trains nothing.

    Fields that --set or the recipe fixed are kept; the others are chosen from the data and the budget.

    Examples:
        catenary plan lesions --minutes 30
        catenary plan lesions --set model.depth=6
    """
    from catenary import workflow
    from catenary.cli import show
    from catenary.cli.progress import show_progress
    from catenary.recipes import with_model

    recipe, chosen = with_model(recipe, model)
    with show_progress() as progress:
        made = workflow.plan(
            data,
            recipe=recipe,
            minutes=minutes,
            epochs=epochs,
            steps=steps,
            settings=[*chosen, *seeded(settings, seed)],
            group=group,
            progress=progress,
        )
    show.plan(made)
