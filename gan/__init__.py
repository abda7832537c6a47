"""DCGANs: architectures, training, sampling, checkpoints and the authors' released weights (arXiv 1511.06434)."""

from gan.architectures import PRESETS, Architecture, Discriminator, Generator, architecture, initialise
from gan.checkpoint import load, load_state, save, save_state
from gan.conditional import CONDITIONAL_PRESETS, ConditionalArchitecture, ConditionalDiscriminator, ConditionalGenerator
from gan.config import TrainingConfig
from gan.frozen import draw, drop_maps, freeze
from gan.ports import Port, load_port
from gan.sampling import analogy, around, interpolate, interpolate_on_sphere, sample, sample_z
from gan.state import TrainingState, new_state
from gan.theano_weights import load_theano
from gan.training import Step, train
from gan.views import full_view

__all__ = [
    "CONDITIONAL_PRESETS",
    "PRESETS",
    "Architecture",
    "ConditionalArchitecture",
    "ConditionalDiscriminator",
    "ConditionalGenerator",
    "Discriminator",
    "Generator",
    "Port",
    "Step",
    "TrainingConfig",
    "TrainingState",
    "analogy",
    "architecture",
    "around",
    "draw",
    "drop_maps",
    "freeze",
    "full_view",
    "initialise",
    "interpolate",
    "interpolate_on_sphere",
    "load",
    "load_port",
    "load_state",
    "load_theano",
    "new_state",
    "sample",
    "sample_z",
    "save",
    "save_state",
    "train",
]
