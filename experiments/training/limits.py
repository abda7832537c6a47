"""What a run needs, from its recipe alone: refused before anything is allocated if there is not as much."""

from experiments.networks.sizes import sizes
from experiments.run.context import Run
from experiments.run.memory import check_memory
from experiments.training.recipe import Recipe
from gan import parallel

COPIES = 4  # of each weight: itself, its gradient and Adam's two moments


def check_limits(recipe: Recipe, run: Run) -> None:
    """Raise UserError if the networks and a minibatch need more memory than is free on the run's device.

    The estimate is a lower bound: a backward pass needs at least half of the outputs of one network's layers, because
    activations overwrite their inputs.
    """
    config = recipe.training
    discriminator, generator = sizes(recipe.architecture)
    batch = config.batch_size // parallel.processes()
    maps = max(discriminator.maps, generator.maps) // (4 if config.precision == "bfloat16" else 2)
    check_memory(
        COPIES * (discriminator.weights + generator.weights) + batch * maps,
        f"training {recipe.name} with width {recipe.architecture.width} and batch_size {config.batch_size}",
        "lower width or batch_size with --set",
        run.device,
    )
